"""ROME as its definition reads: every step a full forward of every prompt, one by one, unpadded, nothing shared.

Uses TransformerLens's own `run_with_hooks` and hook names, nothing of the package. The loss is that of the released
code (kmeng01/rome), which differs from the paper's in weights and in where the divergence is measured.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

Hook = tuple[str, Callable[..., Any]]


@dataclass(frozen=True)
class Row:
    """A prompt of the optimisation: its tokens, where the subject is looked up, the target's tokens after it, and what
    is added to the embeddings of the subject's tokens (`subject` is their half-open range).
    """

    prompt: tuple[int, ...]
    lookup: int
    target: tuple[int, ...] = ()
    subject: tuple[int, int] = (0, 0)
    noise: torch.Tensor | None = None


@dataclass(frozen=True)
class Outcome:
    """What the optimisation found; `totals` and the parts are those of every step."""

    delta: torch.Tensor
    initial: torch.Tensor
    totals: list[float]
    nlls: list[float]
    kls: list[float]
    decays: list[float]
    prob_before: float


def row_of(
    tokenizer: Any, before: str, template: str, subject: str, target: str, lookup: str, prepend_bos: bool
) -> Row:
    """Tokenise context, prompt and target as one text, and find the subject by characters."""
    text = before + template.replace("{}", subject)
    bos = [tokenizer.bos_token_id] if prepend_bos else []
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    start = len(before) + template.index("{}")
    inside = [
        len(bos) + i
        for i, (first, after) in enumerate(encoded["offset_mapping"])
        if first < start + len(subject) and after > start
    ]
    ids = [*bos, *encoded["input_ids"]]
    last = len(ids) - 1
    places = {
        "subject_last": inside[-1],
        "subject_first": inside[0],
        "subject_first_after_last": min(inside[-1] + 1, last),
        "last": last,
    }
    both = [*bos, *tokenizer(f"{text} {target}", add_special_tokens=False)["input_ids"]] if target else ids
    assert both[: len(ids)] == ids
    return Row(tuple(ids), places[lookup], tuple(both[len(ids) :]), (inside[0], inside[-1] + 1))


def with_noise(rows: Sequence[Row], level: float, seed: int, d_model: int) -> list[Row]:
    """Each row with the next numbers of one stream, in the order given."""
    stream = torch.Generator().manual_seed(seed)
    return [
        replace(row, noise=level * torch.randn(row.subject[1] - row.subject[0], d_model, generator=stream))
        for row in rows
    ]


def value_by_loop(
    model: Any,
    layer: int,
    rows: Sequence[Row],
    kl_row: Row,
    *,
    steps: int = 20,
    lr: float = 0.5,
    weight_decay: float = 0.5,
    kl_factor: float = 0.0625,
    clamp: float = 4.0,
    stop_loss: float = 0.05,
    owner_hooks: Sequence[Hook] = (),
    erase: bool = False,
    place: str = "hook_mlp_out",
) -> Outcome:
    """δ for the value at `place` of `layer`; the first of `rows` is the bare prompt. To `erase` is to minimise the
    target's probability per token in place of its negative logarithm, and never to stop early.
    """
    site = f"blocks.{layer}.{place}"
    initial = _output_at(model, site, rows[0], owner_hooks)
    delta = torch.zeros_like(initial, requires_grad=True)
    optimizer = torch.optim.Adam([delta], lr=lr)
    totals: list[float] = []
    parts: list[tuple[float, float, float]] = []
    reference, prob_before = None, 0.0
    for step in range(steps):
        losses = []
        for row in rows:
            logprobs = _logprobs(model, site, row, delta, owner_hooks)
            first = len(row.prompt) - 1
            picked = [logprobs[first + i, token] for i, token in enumerate(row.target)]
            losses.append(-sum(picked) / len(picked))
            if step == 0 and row is rows[0]:
                prob_before = float(sum(picked).detach().exp())
        current = _logprobs(model, site, kl_row, delta, owner_hooks)[kl_row.lookup]
        reference = current.detach() if reference is None else reference
        nll = sum(losses) / len(losses)
        kl = kl_factor * (current.exp() * (current - reference)).sum()
        decay = weight_decay * delta.norm() / initial.norm() ** 2
        loss = (torch.exp(-nll) if erase else nll) + kl + decay
        totals.append(loss.item())
        parts.append((nll.item(), kl.item(), decay.item()))
        if (loss.item() < stop_loss and not erase) or step == steps - 1:
            break
        (delta.grad,) = torch.autograd.grad(loss, [delta])
        optimizer.step()
        with torch.no_grad():
            if delta.norm() > clamp * initial.norm():
                delta.copy_(delta / delta.norm() * clamp * initial.norm())
    nlls, kls, decays = (list(part) for part in zip(*parts, strict=True))
    return Outcome(delta.detach(), initial, totals, nlls, kls, decays, prob_before)


def rome_by_inverse(
    weight: torch.Tensor, bias: torch.Tensor, moment: torch.Tensor, keys: torch.Tensor, target: torch.Tensor, kind: str
) -> torch.Tensor:
    """The dense change of `weight` with an explicit inverse: `Λ (C⁻¹k̄)ᵀ`, transposed to TransformerLens's orientation.

    Args:
        keys: `[context, d_mlp]`, the bare prompt's first.
        target: v* = v0 + δ, bias included.
        kind: "ROME", "bare" (the bare key throughout) or "R-ROME" (the averaged key throughout).
    """
    average, bare = keys.mean(0), keys[0]
    from_key = bare if kind == "bare" else average
    at_key = average if kind == "R-ROME" else bare
    direction = torch.linalg.inv(moment) @ from_key
    missing = target - (at_key @ weight + bias)
    return torch.outer(direction, missing / (direction @ at_key))


@torch.no_grad()
def _output_at(model: Any, site: str, row: Row, owner_hooks: Sequence[Hook]) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    hook = (site, lambda activation, hook: seen.append(activation))  # noqa: ARG005
    model.run_with_hooks(torch.tensor([row.prompt]), fwd_hooks=[*owner_hooks, *noise_hooks(row), hook])
    return seen[0][0, row.lookup].clone()


def noise_hooks(row: Row) -> list[Hook]:
    """What adds a row's noise to the word embeddings."""
    if row.noise is None:
        return []
    noise, (first, after) = row.noise, row.subject

    def add(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
        changed = activation.clone()
        changed[0, first:after] += noise.to(activation.dtype)
        return changed

    return [("hook_embed", add)]


def _logprobs(model: Any, site: str, row: Row, delta: torch.Tensor, owner_hooks: Sequence[Hook]) -> torch.Tensor:
    """Log-probabilities `[pos, d_vocab]` of a full run with `delta` added at the row's lookup."""

    def add(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
        place = torch.zeros(activation.shape[1], dtype=delta.dtype)
        place[row.lookup] = 1
        return activation + place[None, :, None] * delta

    tokens = torch.tensor([[*row.prompt, *row.target[:-1]]])
    logits = model.run_with_hooks(tokens, fwd_hooks=[*owner_hooks, *noise_hooks(row), (site, add)])
    return logits[0].log_softmax(-1)
