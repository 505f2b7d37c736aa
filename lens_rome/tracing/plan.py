"""What one call of `trace` is to compute, checked before anything runs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import SupportsIndex

import torch
from jaxtyping import Int

from lens_rome._typing import Tensor, Tokens
from lens_rome.errors import TraceError
from lens_rome.facts import Fact, Prompt, answer_tokens, tokenize_prompt
from lens_rome.surface import AbstractSurface, Site, check_finite
from lens_rome.tracing.corruption import AbstractCorruption, CorruptSubject, Target, check_drawn
from lens_rome.tracing.grid import Window
from lens_rome.tracing.places import Positions, Spans, find_layers, find_positions, find_spans
from lens_rome.tracing.window import RESIDUALS, check_kind, check_window, window_layers

DIRECTIONS = ("denoise", "noise", "zero")
SEVERABLE = {"mlp": "mlp_out", "attn": "attn_out"}


@dataclass(frozen=True)
class KindPlan:
    """The cells of one kind."""

    kind: str
    site_kind: str
    window: int
    windows: Mapping[int, Window]
    """By layer."""
    head: int | None = None

    @property
    def layers(self) -> range:
        """All layers that some window restores."""
        if not self.windows:
            return range(0)
        return range(min(w[0] for w in self.windows.values()), max(w[1] for w in self.windows.values()))


def plan_kind(
    surface: AbstractSurface,
    kind: str,
    window: int | None,
    layers: SupportsIndex | Iterable[SupportsIndex] | None,
    head: int | None,
) -> KindPlan:
    """Check kind, window, layers and head.

    Raises:
        TraceError: one that does not exist.  SurfaceError: a site that this architecture does not have.
    """
    site_kind = check_kind(kind)
    width = check_window(window, kind, surface.n_layers)
    wanted = find_layers(surface, layers)
    if (kind == "head") != (head is not None):
        raise TraceError("kind 'head' needs head=..., and no other kind takes one; trace_heads does all heads.")
    if head is not None and not 0 <= head < surface.n_heads:
        raise TraceError(f"head {head!r} does not exist: the model has heads 0 to {surface.n_heads - 1}.")
    windows = {layer: window_layers(layer, width, surface.n_layers) for layer in wanted}
    if site_kind == "resid_mid" and surface.parallel:
        raise TraceError(
            "attention and MLP run in parallel in this model, so there is no residual between them (resid_mid). Trace "
            "resid or resid_pre."
        )
    if site_kind == "resid_mid":
        _check_unwatched(surface)
    return KindPlan(kind, site_kind, width, windows, head)


def _check_unwatched(surface: AbstractSurface) -> None:
    """Raise `TraceError` where the owner's hooks act on the residual between attention and MLP.

    It is written through attention's output (a bridge's hook there does not reach the stream), so before such hooks.
    """
    points = surface.model.hook_dict
    for layer in range(surface.n_layers):
        name = surface.hook_name(Site(layer, "resid_mid"))
        if points[name].fwd_hooks:
            raise TraceError(f"resid_mid cannot be traced while hooks are attached to {name}. Trace resid or attn.")


def check_ways(direction: str, severed: str | None, kinds: Iterable[str]) -> None:
    """Raise `TraceError` for a direction or a severed path that does not exist or does not fit."""
    if direction not in DIRECTIONS:
        raise TraceError(f"unknown direction {direction!r}; choose one of {', '.join(DIRECTIONS)}.")
    if severed is None:
        return
    if severed not in SEVERABLE:
        raise TraceError(f"unknown path to sever {severed!r}; choose one of {', '.join(SEVERABLE)}.")
    if direction != "denoise":
        raise TraceError(f"paths are severed in corrupted runs; the direction {direction!r} has none to hold fixed.")
    others = [kind for kind in kinds if kind not in RESIDUALS]
    if others:
        raise TraceError(
            f"a severed path shows how a restored residual reaches the answer; kind {others[0]!r} is not a residual. "
            f"Trace one of {', '.join(RESIDUALS)}."
        )


@dataclass(frozen=True, eq=False)
class Question:
    """One prompt with its corruption, its answer and the positions to trace."""

    fact: Fact
    prompt: Prompt
    spans: tuple[tuple[int, int], ...]
    """What is corrupted."""
    positions: tuple[int, ...]
    answer: str
    ids: tuple[int, ...]
    """Tokens of the answer."""
    against: int | None
    values: Tensor | None
    """What the corruption drew, `[sample, token, d_model]`; None where nothing is corrupted."""
    replace: bool = False
    second: Tensor | None = None
    """A second draw from the same stream, for the released code's severed paths."""

    @property
    def corrupted(self) -> list[int]:
        """Corrupted positions."""
        return [position for first, last in self.spans for position in range(first, last)]

    @property
    def samples(self) -> int:
        """Samples of the corruption; 1 where nothing is corrupted."""
        return 1 if self.values is None else len(self.values)

    def hook(
        self, prompt: int = 0, prompts: int = 1, *, additive: bool = False, second: bool = False
    ) -> CorruptSubject:
        """The corruption as a hook, for the rows of prompt `prompt` in a batch of `prompts`."""
        values = self.second if second else self.values
        assert values is not None
        return CorruptSubject(
            values, self.corrupted, replace=self.replace and not additive, prompt=prompt, prompts=prompts
        )


def pose(
    surface: AbstractSurface,
    fact: Fact,
    corruption: AbstractCorruption | None,
    *,
    samples: int,
    seed: int,
    positions: Positions | None,
    corrupt: Spans | None,
    answer: str | None,
    against: str | None,
    prepend_bos: bool | None,
    two_draws: bool = False,
) -> Question:
    """Tokenise a fact and settle everything about it that does not need a traced run.

    Raises:
        TraceError, FactError, SubjectSpanError, SurfaceError: as `trace`.
    """
    prompt = tokenize_prompt(surface, fact, prepend_bos)
    spans = find_spans(prompt, corrupt)
    where = find_positions(prompt, positions)
    values = second = None
    if corruption is not None:
        corrupted = tuple(position for first, last in spans for position in range(first, last))
        target = Target(prompt, corrupted, fact.template)
        # The stream is read in the order of samples: the second half of twice as many is the second draw.
        drawn = corruption.draw(surface, target, samples * (1 + two_draws), seed)
        values = check_drawn(drawn, target, surface.d_model)
        if two_draws:
            values, second = values[:samples], values[samples:]
    shown, ids = _answer(surface, prompt, answer)
    other = None
    if against is not None:
        other = answer_tokens(surface, prompt.text, against, prompt.prepend_bos)[0]
        if other == ids[0]:
            raise TraceError(
                f"{shown!r} and {against!r} begin with the same token {_shown(surface, other)!r}, "
                "so their logits do not differ. Give a second answer with another beginning."
            )
    replace = corruption is not None and corruption.replaces
    return Question(fact, prompt, spans, tuple(where), shown, ids, other, values, replace, second)


def _answer(surface: AbstractSurface, prompt: Prompt, answer: str | None) -> tuple[str, tuple[int, ...]]:
    if answer is not None:
        return answer.strip(), answer_tokens(surface, prompt.text, answer, prompt.prepend_bos)
    logits = surface.run(torch.tensor([prompt.tokens], device=surface.device))[0, -1]
    check_finite(surface, logits)
    top = int(logits.argmax())
    return _shown(surface, top).strip(), (top,)


def _shown(surface: AbstractSurface, token: int) -> str:
    return str(surface.tokenizer.decode([token]))


@dataclass(frozen=True, eq=False)
class Batch:
    """Questions that run together: equal lengths, positions, and first corrupted position."""

    questions: tuple[Question, ...]

    @property
    def tokens(self) -> Tokens:
        """Each prompt and all tokens of its answer but the last."""
        return torch.tensor([[*each.prompt.tokens, *each.ids[:-1]] for each in self.questions])

    @property
    def answers(self) -> Int[Tensor, "prompt token"]:
        """Each prompt's answer tokens."""
        return torch.tensor([each.ids for each in self.questions])

    @property
    def against(self) -> Int[Tensor, " prompt"] | None:
        """Each prompt's second answer, if there is one."""
        others = [each.against for each in self.questions if each.against is not None]
        return torch.tensor(others) if others else None

    @property
    def samples(self) -> int:
        """Samples of each question."""
        return self.questions[0].samples

    @property
    def length(self) -> int:
        """Tokens of each prompt, without the answer."""
        return len(self.questions[0].prompt)

    @property
    def positions(self) -> tuple[int, ...]:
        """Positions to trace, the same in all."""
        return self.questions[0].positions

    @property
    def first_corrupted(self) -> int:
        """The first position at which a corrupted run can differ from the clean one."""
        return self.questions[0].corrupted[0]


def batch_key(question: Question) -> tuple[object, ...]:
    """Questions with equal keys can share a batch."""
    return (
        len(question.prompt),
        len(question.ids),
        question.positions,
        question.corrupted[0],
        question.samples,
    )
