"""`trace`: where in a model, and at which token, is the recall of a fact decided?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from lens_rome._typing import Model, Residual, Tensor, Tokens
from lens_rome.errors import TraceError
from lens_rome.facts import Fact, Prompt, answer_tokens, tokenize_prompt
from lens_rome.surface import AbstractSurface, Site, as_surface, check_finite, check_logits, owner_hooks
from lens_rome.tracing.full_length import full_length_scores
from lens_rome.tracing.grid import GridRuns, Window, position_scores
from lens_rome.tracing.noise import CorruptSubject, GaussianNoise, draw_noise
from lens_rome.tracing.result import TraceResult, TraceSettings
from lens_rome.tracing.window import check_kind, check_window, window_layers

Positions = int | str | Iterable[int | str]


@torch.no_grad()
def trace(
    model: Model,
    fact: Fact,
    kind: str = "resid",
    *,
    noise: float | str | GaussianNoise = "3σ",
    samples: int = 10,
    window: int | None = None,
    positions: Positions | None = None,
    layers: int | Iterable[int] | None = None,
    answer: str | None = None,
    seed: int = 1,
    prepend_bos: bool | None = None,
) -> TraceResult:
    """Causal trace of one fact: corrupt the subject, restore one site at one position, see how much of the answer
    comes back.

    Every cell equals the plain loop over full runs; the work is shared (see `tracing.grid`). The model is not
    changed. Hooks that its owner attached take part; unless they are marked by `position_free` (as the hooks of an
    `Edit` are), runs are then full length and slower.

    Args:
        kind: `"resid"` (residual after a block), `"mlp"` or `"attn"` (their outputs).
        noise: a number for a fixed level, `"3σ"` for three standard deviations of the subject's token embeddings.
        samples: noise samples to average over.
        window: layers restored together, centred on the cell's layer; None for 1 (`resid`), 10 from 24 layers up,
            else a fifth of the depth.
        positions: positions to trace, as indices (BOS counts) or the names `"subject_first"`, `"subject_last"`,
            `"subject"`, `"last"`; None for all. Other cells are NaN, as are those of layers not in `layers`.
        answer: text whose probability is traced, of any number of tokens (their joint probability); None for the
            model's own top token.
        seed: of the noise, drawn from NumPy's legacy generator as in the released code.

    Raises:
        TraceError: unknown kind, layer, position or noise.
        SurfaceError: unsupported model, training mode, or weights that are not finite.
        SubjectSpanError: the subject or the answer has no tokens of its own.

    Reference: ROME, https://arxiv.org/abs/2202.05262, §2; `docs/fidelity.md` lists where the paper and its code differ.
    """
    surface = as_surface(model)
    prompt = tokenize_prompt(surface, fact, prepend_bos)
    spec = GaussianNoise.parse(noise)
    plan = _plan(surface, prompt, kind, window, positions, layers)
    question = _question(surface, prompt, answer)
    level = spec.resolve(surface, [fact.subject])
    corruption = _corruption(surface, prompt, level, samples, seed)
    foreign = owner_hooks(model)
    run = _full_length if foreign else _resumed
    clean_score, corrupted, scores = run(surface, question, plan, corruption)
    settings = TraceSettings(
        kind,
        plan.window,
        str(spec),
        level,
        samples,
        seed,
        prompt.prepend_bos,
        surface.model_name,
        surface.name,
        bool(foreign),
        str(surface.dtype),
    )
    return TraceResult(
        scores,
        corrupted,
        clean_score,
        prompt.text,
        fact.subject,
        prompt.tokens,
        prompt.token_strings,
        prompt.subject_span,
        question.answer,
        question.ids,
        fact.target,
        settings,
        (f"runs were full length: hooks at {', '.join(foreign[:3])}",) if foreign else (),
    ).warn_if_weak()


def _corruption(surface: AbstractSurface, prompt: Prompt, level: float, samples: int, seed: int) -> CorruptSubject:
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise TraceError(f"samples must be a whole number from 1 up, got {samples!r}.")
    return CorruptSubject(draw_noise(level, samples, prompt.subject_span, surface.d_model, seed), prompt.subject_span)


@dataclass(frozen=True)
class _Plan:
    """Which cells are asked for."""

    site_kind: str
    window: int
    windows: dict[int, Window]
    """By layer."""
    positions: list[int]
    n_layers: int
    n_positions: int
    subject_first: int

    def empty(self, samples: int) -> Float[Tensor, "layer pos sample"]:
        return torch.full((self.n_layers, self.n_positions, samples), torch.nan, dtype=torch.float64)


@dataclass(frozen=True)
class _Question:
    """The tokens to run and the answer to read."""

    tokens: Tokens
    """Prompt and all answer tokens but the last, one row."""
    read_from: int
    """Position whose logits give the first answer token."""
    answer: str
    ids: tuple[int, ...]

    def prob(self, logits: Float[Tensor, "row pos d_vocab"]) -> Float[Tensor, " row"]:
        """Joint probability of the answer from the logits at the positions that are read; float64."""
        logprobs = logits.log_softmax(-1)
        ids = torch.tensor(self.ids, device=logits.device)
        return (
            logprobs.gather(-1, ids[None, :, None].expand(logits.shape[0], -1, 1))
            .squeeze(-1)
            .double()
            .sum(-1)
            .exp()
            .cpu()
        )


def _plan(
    surface: AbstractSurface,
    prompt: Prompt,
    kind: str,
    window: int | None,
    positions: Positions | None,
    layers: int | Iterable[int] | None,
) -> _Plan:
    site_kind = check_kind(kind)
    width = check_window(window, kind, surface.n_layers)
    windows = {layer: window_layers(layer, width, surface.n_layers) for layer in find_layers(surface, layers)}
    return _Plan(
        site_kind,
        width,
        windows,
        find_positions(prompt, positions),
        surface.n_layers,
        len(prompt),
        prompt.subject_span[0],
    )


def find_layers(surface: AbstractSurface, layers: int | Iterable[int] | None) -> list[int]:
    """Layers in order, all for None; `TraceError` for one that the model does not have."""
    if layers is None:
        return list(range(surface.n_layers))
    found: set[int] = set()
    for layer in layers if isinstance(layers, Iterable) else [layers]:
        if not is_whole(layer) or not 0 <= layer < surface.n_layers:
            raise TraceError(f"layer {layer!r} does not exist: the model has layers 0 to {surface.n_layers - 1}.")
        found.add(int(layer))
    return sorted(found)


def is_whole(value: object) -> bool:
    """Whether `value` is a whole number, Python's or NumPy's, and not a truth value."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def find_positions(prompt: Prompt, positions: Positions | None) -> list[int]:
    """Indices for position names and numbers; `TraceError` for one that the prompt does not have."""
    if positions is None:
        return list(range(len(prompt)))
    first, last = prompt.subject_span
    names = {
        "subject_first": [first],
        "subject_last": [last - 1],
        "subject": list(range(first, last)),
        "last": [len(prompt) - 1],
    }
    found: set[int] = set()
    for position in positions if isinstance(positions, Iterable) and not isinstance(positions, str) else [positions]:
        if isinstance(position, str) and position in names:
            found.update(names[position])
        elif is_whole(position) and -len(prompt) <= position < len(prompt):
            found.add(int(position) % len(prompt))
        else:
            raise TraceError(
                f"position {position!r} does not exist: the prompt has positions 0 to {len(prompt) - 1} "
                f"({prompt.marked()}); "
                f"the names are {', '.join(names)}."
            )
    return sorted(found)


def _question(surface: AbstractSurface, prompt: Prompt, answer: str | None) -> _Question:
    tokens = torch.tensor([prompt.tokens], device=surface.device)
    if answer is not None:
        ids = answer_tokens(surface, prompt.text, answer, prompt.prepend_bos)
        tokens = torch.cat([tokens, torch.tensor([ids[:-1]], dtype=tokens.dtype, device=tokens.device)], 1)
        return _Question(tokens, len(prompt) - 1, answer.strip(), ids)
    logits = surface.run(tokens)[0, -1]
    check_finite(surface, logits)
    top = int(logits.argmax())
    return _Question(tokens, len(prompt) - 1, str(surface.tokenizer.decode([top])).strip(), (top,))


Found = tuple[float, Tensor, Tensor]
"""Clean probability, corrupted probability `[sample]`, scores `[layer, pos, sample]`."""


def _resumed(surface: AbstractSurface, question: _Question, plan: _Plan, corruption: CorruptSubject) -> Found:
    needed = (
        range(min(w[0] for w in plan.windows.values()), max(w[1] for w in plan.windows.values()))
        if plan.windows
        else ()
    )
    keep = [] if plan.site_kind == "resid_post" else [Site(layer, plan.site_kind) for layer in needed]
    samples = corruption.noise.shape[0]
    clean = surface.base_run(question.tokens, keep=keep)
    corrupted = surface.base_run(question.tokens.repeat(samples, 1), [("hook_embed", corruption)], keep)
    runs = GridRuns(clean, corrupted, question.read_from)

    def read(resid: Residual) -> Tensor:
        return question.prob(surface.logits(resid))

    logits = surface.logits(clean.resid[-1][:, question.read_from :])
    check_finite(surface, logits)
    check_logits(surface, logits, surface.run(question.tokens)[:, question.read_from :])
    clean_score = float(question.prob(logits))
    corrupted_probs = read(corrupted.resid[-1][:, question.read_from :])
    scores = plan.empty(samples)
    for position in plan.positions:
        scores[list(plan.windows), position] = corrupted_probs
        if position < plan.subject_first:
            continue  # The corrupted run equals the clean one there, at every layer: restoring changes nothing.
        found = position_scores(surface, runs, plan.site_kind, position, list(plan.windows.values()), read)
        for layer, cell in plan.windows.items():
            if cell in found:
                scores[layer, position] = found[cell]
    return clean_score, corrupted_probs, scores


def _full_length(surface: AbstractSurface, question: _Question, plan: _Plan, corruption: CorruptSubject) -> Found:
    samples = corruption.noise.shape[0]

    def read(logits: Tensor) -> Tensor:
        return question.prob(logits[:, question.read_from :])

    logits = surface.run(question.tokens)
    check_finite(surface, logits)
    clean_score = float(read(logits))
    corrupted_probs = read(surface.run(question.tokens.repeat(samples, 1), [("hook_embed", corruption)]))
    cells: Sequence[tuple[int, int]] = [(position, layer) for position in plan.positions for layer in plan.windows]
    scores = plan.empty(samples)
    if cells:
        asked = [(position, plan.windows[layer]) for position, layer in cells]
        found = full_length_scores(surface, question.tokens, plan.site_kind, asked, corruption, read)
        for (position, layer), score in zip(cells, found, strict=True):
            scores[layer, position] = score
    return clean_score, corrupted_probs, scores
