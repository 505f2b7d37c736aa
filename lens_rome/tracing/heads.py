"""Which attention head carries a fact: the effect of each head of each layer, at one place of the prompt.

The clean and the corrupted run are shared by all heads; each head's cells are then those of `trace` with the kind
`"head"`, exactly. Heads matter most at the last token, where they bring the answer in (ROME's "late site",
https://arxiv.org/abs/2202.05262, §2.2; head by head: https://arxiv.org/abs/2304.14767).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isnan
from typing import TYPE_CHECKING, SupportsIndex, Unpack

import torch
from jaxtyping import Float

from lens_rome._typing import Model, Tensor
from lens_rome.errors import TraceError
from lens_rome.facts import Fact, show_tokens
from lens_rome.tracing.comparable import gain_sign
from lens_rome.tracing.compute import compute
from lens_rome.tracing.options import TraceOptions, check_fact
from lens_rome.tracing.plan import Batch
from lens_rome.tracing.result import TraceResult, TraceSettings, check_count
from lens_rome.tracing.trace import Tracer

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class HeadTrace:
    """The metric after putting one head's state (its output before `W_O`) of one run into another, for all heads.

    Layers that were not asked for are NaN.
    """

    results: tuple[TraceResult, ...]
    """The trace of each head, in order of heads: what `trace(…, "head", head=h, together=True)` returns."""
    positions: tuple[int, ...]
    """Where, together."""

    @property
    def sample_scores(self) -> Float[Tensor, "layer head sample"]:
        """The metric for each sample of the corruption, float64."""
        return torch.stack([result.sample_scores[:, self.positions[0]] for result in self.results], 1)

    @property
    def scores(self) -> Float[Tensor, "layer head"]:
        """The metric, mean over samples."""
        return self.sample_scores.mean(-1)

    @property
    def indirect_effects(self) -> Float[Tensor, "layer head"]:
        """Score minus baseline: what a head's restored state brings back, or what a corrupted or zeroed one takes
        away.
        """
        return self.scores - self.results[0].baseline

    @property
    def clean_score(self) -> float:
        """The metric in the clean run."""
        return self.results[0].clean_score

    @property
    def corrupted_score(self) -> float:
        """The metric in the corrupted run, mean over samples."""
        return self.results[0].corrupted_score

    @property
    def answer(self) -> str:
        """The text whose score was traced."""
        return self.results[0].answer

    @property
    def settings(self) -> TraceSettings:
        """What determined the trace; those of `trace`, with no single head."""
        return replace(self.results[0].settings, head=None)

    def to_dataframe(self) -> "pd.DataFrame":
        """One row a head of a traced layer: layer, head, effect."""
        import pandas as pd

        return pd.DataFrame(list(self._cells()), columns=["layer", "head", "effect"])

    def top(self, k: SupportsIndex = 5) -> list[tuple[int, int, float]]:
        """The `k` heads that matter most, as `(layer, head, indirect effect)`, in the sense of `TraceResult.top`."""
        count, sign = check_count(k), gain_sign(self.settings)
        return sorted(self._cells(), key=lambda cell: -sign * cell[2])[:count]

    def _cells(self) -> Iterator[tuple[int, int, float]]:
        """Layer, head and indirect effect of each traced head."""
        for layer, effects in enumerate(self.indirect_effects.tolist()):
            for head, effect in enumerate(effects):
                if not isnan(effect):
                    yield layer, head, effect

    def __repr__(self) -> str:
        example = self.results[0]
        where = ", ".join(repr(example.token_strings[position]) for position in self.positions)
        lines = [
            f"HeadTrace({self.settings.summary()})",
            f"  {show_tokens(example.token_strings, example.subject_span)} → {self.answer!r}; heads at {where}",
            f"  {self.settings.metric}: clean {self.clean_score:.3f}, corrupted {self.corrupted_score:.3f}",
        ]
        return "\n".join([*lines, *(f"  L{layer}H{head}: {effect:+.3f}" for layer, head, effect in self.top(3))])


@torch.no_grad()
def trace_heads(model: Model, fact: Fact, **options: Unpack[TraceOptions]) -> HeadTrace:
    """Trace every attention head of every layer at the given positions, together.

    Each head equals `trace(model, fact, "head", head=h, together=True, …)`; all share the two base runs. The model is
    not changed.

    Args:
        options: those of `trace` without `head`, `together`, `severed` and `original`. `positions` defaults to
            `"last"`; several are restored at once. `window` restores the same head number in neighbouring layers; the
            default is 1.

    Raises:
        TraceError: as `trace`; no position, or an option that leaves no grid of heads.
        SurfaceError, SubjectSpanError: as `trace`.
    """
    for name in ("head", "severed", "original"):
        if options.get(name) not in (None, False):
            raise TraceError(f"trace_heads traces every head in its own right; leave out {name}=, or use `trace`.")
    if options.get("together") is False:
        raise TraceError(
            "trace_heads gives one number a head, so positions are restored together. Call it for each position."
        )
    asked: TraceOptions = {"positions": "last", **options, "head": 0, "together": True}
    tracer = Tracer.make(model, ["head"], asked, [check_fact(fact).subject])
    question = tracer.pose(fact)
    if not question.positions:
        raise TraceError("no positions to trace heads at; leave out positions= for the last token.")
    plans = [replace(tracer.plans[0], head=head) for head in range(tracer.surface.n_heads)]
    found = compute(tracer.surface, Batch((question,)), plans, tracer.ways)
    results = [tracer.result(question, plan, each, 0) for plan, each in zip(plans, found, strict=True)]
    results[0].warn_if_weak()
    return HeadTrace(tuple(results), question.positions)
