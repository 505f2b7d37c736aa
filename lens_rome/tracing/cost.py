"""What a trace will cost, before it runs: cells, rows and multiply-adds, ours and the plain loop's.

Counted in *row tokens through a block*: one row, one position, one block. Both counts are of what is really run; the
time follows from them and from a machine's rate only roughly (small matrices are slower, see `docs/cost.md`; and
`HookedTransformer` computes less of the last block than is counted here).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Unpack

from lens_rome._typing import Model
from lens_rome.errors import TraceError
from lens_rome.facts import Fact, Prompt, answer_tokens, tokenize_prompt
from lens_rome.surface import AbstractSurface
from lens_rome.tracing.grid import Window
from lens_rome.tracing.options import TraceOptions, check_fact
from lens_rome.tracing.places import find_positions, find_spans
from lens_rome.tracing.plan import KindPlan
from lens_rome.tracing.replacement import MeanEmbeddings, SwapSubject, ZeroEmbeddings
from lens_rome.tracing.trace import Tracer

_SHOWN_RATE = 100e9


@dataclass(frozen=True)
class TraceCost:
    """What one call of `trace_kinds` computes; see `trace_cost`."""

    kinds: tuple[str, ...]
    layers: int
    """Traced layers."""
    positions: int
    """Traced positions; 1 where they are restored together."""
    samples: int
    token_layers: int
    """Row tokens that go through a block, in all runs."""
    loop_token_layers: int
    """The same in the plain loop: one full run of all samples and a clean row for each cell."""
    multiply_adds: int
    """Of the dense products of blocks and unembedding; attention's own products are left out."""
    loop_multiply_adds: int

    @property
    def cells(self) -> int:
        """Cells of all kinds."""
        return len(self.kinds) * self.layers * self.positions

    @property
    def rows(self) -> int:
        """Scores that are measured: cells times samples."""
        return self.cells * self.samples

    @property
    def speedup(self) -> float:
        """How many times fewer multiply-adds than the plain loop."""
        return self.loop_multiply_adds / self.multiply_adds

    def seconds(self, multiply_adds_per_second: float) -> float:
        """Seconds at a machine's rate, e.g. that of a float32 matrix product; a lower bound in practice.

        Raises:
            TraceError: a rate that is not above 0.
        """
        if not multiply_adds_per_second > 0:
            raise TraceError(f"the rate must be multiply-adds a second, above 0; got {multiply_adds_per_second!r}.")
        return self.multiply_adds / multiply_adds_per_second

    def __str__(self) -> str:
        kinds = f"{len(self.kinds)} kind" + "s" * (len(self.kinds) != 1)
        return (
            f"{kinds} × {self.layers} layers × {self.positions} positions = {self.cells} cells × {self.samples} "
            f"samples; about {_short(self.multiply_adds)} multiply-adds, {self.speedup:.1f} times less than the plain "
            f"loop; about {self.seconds(_SHOWN_RATE):.2g} s at {_SHOWN_RATE / 1e9:.0f} G/s"
        )


def trace_cost(
    model: Model, fact: Fact, kinds: Sequence[str] = ("resid", "mlp", "attn"), **options: Unpack[TraceOptions]
) -> TraceCost:
    """What `trace_kinds(model, fact, kinds, **options)` will compute. The model is not run; the fact is tokenised.

    Options and their checks are those of `trace`. Where the answer is left to the model it counts as one token. Samples
    of `SwapSubject` are counted as if all of its subjects fitted.

    Raises:
        TraceError, SurfaceError, SubjectSpanError: as `trace`.
    """
    tracer = Tracer.make(model, kinds, options)
    return _Count(tracer, tokenize_prompt(tracer.surface, check_fact(fact), tracer.options.get("prepend_bos"))).cost()


class _Count:
    """The runs of one call, counted."""

    def __init__(self, tracer: Tracer, prompt: Prompt) -> None:
        self.tracer, self.ways, self.surface = tracer, tracer.ways, tracer.surface
        options, answer = tracer.options, tracer.options.get("answer")
        if self.ways.original:
            answer = None  # the released code traces the model's own
        self.asked_model = answer is None
        self.read = 1 if answer is None else len(answer_tokens(self.surface, prompt.text, answer, prompt.prepend_bos))
        self.prompt_length, self.length = len(prompt), len(prompt) + self.read - 1
        self.first_corrupted = find_spans(prompt, options.get("corrupt"))[0][0]
        positions = find_positions(prompt, options.get("positions"))
        self.groups = [positions] if self.ways.together and positions else [[position] for position in positions]
        self.samples = _samples(tracer)

    def cost(self) -> TraceCost:
        """All counts."""
        through, unembedded = self._base()
        for plan in self.tracer.plans:
            for group in self.groups:
                more, ends = self._column(plan, group)
                through, unembedded = through + more, unembedded + ends
        layers = len(self.tracer.plans[0].windows)
        n_layers, block, unembed = self.surface.n_layers, *multiply_adds_per_token(self.surface)
        # The clean row stands in every batch; the two batches more are the clean and the corrupted run.
        rows = self.samples + (self.ways.direction != "zero")
        batches = len(self.tracer.plans) * (layers * len(self.groups) + 2)
        looped = batches * rows * self.length
        return TraceCost(
            kinds=tuple(plan.kind for plan in self.tracer.plans),
            layers=layers,
            positions=len(self.groups),
            samples=self.samples,
            token_layers=through,
            loop_token_layers=looped * n_layers,
            multiply_adds=through * block + unembedded * unembed,
            loop_multiply_adds=looped * (n_layers * block + unembed),
        )

    def _base(self) -> tuple[int, int]:
        """Row tokens through blocks, and row tokens unembedded, in the runs that all cells share."""
        n_layers, length = self.surface.n_layers, self.length
        through = unembedded = self.prompt_length * self.asked_model
        through, unembedded = n_layers * through, unembedded + length
        through += n_layers * length  # the clean run, for its score
        stops = [plan.layers.stop for plan in self.tracer.plans]
        through += length * (max(stops) if self.ways.full_length else n_layers)  # and once more, for its states
        unembedded += 0 if self.ways.full_length else self.read
        if self.ways.direction != "zero":
            rows = self.samples * length
            through += rows * n_layers
            unembedded += rows if self.ways.full_length else self.samples * self.read
            if self.ways.full_length:  # a run that is stopped behind the last state that is needed of it
                through += rows * (n_layers * bool(self.ways.severed) or max(stops) * (self.ways.direction == "noise"))
        return through, unembedded

    def _column(self, plan: KindPlan, group: Sequence[int]) -> tuple[int, int]:
        """The same for the cells of one kind at one position, or at positions together."""
        through, unembedded = self._released_base()
        if self.ways.direction != "zero" and max(group) < self.first_corrupted:
            return through, unembedded
        n_layers, site = self.surface.n_layers, plan.site_kind
        if self.ways.full_length:
            rows = len(set(plan.windows.values())) * self.samples * self.length
            return through + rows * n_layers, unembedded + rows
        reaching = max(group) >= self.prompt_length - 1 or site == "resid_pre"
        clipped = {(first, min(last, n_layers - (not reaching))) for first, last in plan.windows.values()}
        useful = [(first, last) for first, last in clipped if first < last]
        free = site in ("resid_post", "mlp_out") or (site == "attn_out" and self.surface.parallel)
        blocks = blocks_of_column(useful, n_layers, first_is_free=free)
        suffix = self.length - min(group)
        return through + self.samples * suffix * blocks, unembedded + self.samples * len(useful) * self.read

    def _released_base(self) -> tuple[int, int]:
        """With a severed path the released code has a base run of its own for each column."""
        if not (self.ways.original and self.ways.severed):
            return 0, 0
        rows = self.samples * self.length
        return rows * self.surface.n_layers, rows if self.ways.full_length else self.samples * self.read


def blocks_of_column(windows: Iterable[Window], n_layers: int, *, first_is_free: bool) -> int:
    """Blocks that one sample passes for all windows at one position, shared as in `tracing.grid`.

    Windows that begin at one layer share the blocks up to the end of the shorter one.

    Args:
        first_is_free: whether the state after the first restored block follows from the base runs by addition.

    >>> blocks_of_column([(0, 1), (1, 2)], 4, first_is_free=True), blocks_of_column([(0, 2), (0, 3)], 4,
    ...     first_is_free=False)
    (5, 6)
    """
    starts: dict[int, set[int]] = {}
    for first, last in windows:
        starts.setdefault(first, set()).add(last)
    return sum(
        max(ends) - first - first_is_free + sum(n_layers - end for end in ends) for first, ends in starts.items()
    )


def multiply_adds_per_token(surface: AbstractSurface) -> tuple[int, int]:
    """Multiply-adds of the dense products of one block, and of the unembedding, for one token of one row."""
    cfg, width = surface.cfg, surface.d_model
    heads = surface.n_heads * int(cfg.d_head)
    groups = int(getattr(cfg, "n_key_value_heads", None) or surface.n_heads) * int(cfg.d_head)
    matrices = 3 if getattr(cfg, "gated_mlp", False) else 2
    return width * (2 * heads + 2 * groups + matrices * surface.d_mlp), width * int(cfg.d_vocab)


def _samples(tracer: Tracer) -> int:
    """Samples of the corruption, without drawing any."""
    asked, corruption = int(tracer.options.get("samples", 10)), tracer.corruption
    if tracer.ways.direction == "zero" or isinstance(corruption, ZeroEmbeddings | MeanEmbeddings):
        return 1
    return min(asked, len(corruption.candidates)) if isinstance(corruption, SwapSubject) else asked


def _short(count: float) -> str:
    for size, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.3g}"
