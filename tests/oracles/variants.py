"""Every variant of causal tracing as its definition reads: full forwards, one cell at a time, nothing shared.

Works on TransformerLens's own `run_with_hooks` and hook names, with nothing of the package. States of a run are read
by hooks and written by hooks; embeddings are written at `hook_embed`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil
from typing import Any

import torch

Hook = tuple[str, Callable[..., Any]]
NAMES = {
    "resid": "hook_resid_post",
    "resid_pre": "hook_resid_pre",
    "mlp": "hook_mlp_out",
    "attn": "hook_attn_out",
    "head": "attn.hook_z",
    "post": "mlp.hook_post",
}


def _logits(model: Any, rows: torch.Tensor, hooks: Sequence[Hook]) -> torch.Tensor:
    with torch.no_grad():
        return model.run_with_hooks(rows, fwd_hooks=list(hooks))


def read_states(model: Any, rows: torch.Tensor, names: Iterable[str], hooks: Sequence[Hook]) -> dict[str, torch.Tensor]:
    """Activations at hook points in a full run."""
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Hook:
        return name, lambda activation, hook: seen.__setitem__(name, activation.detach().clone())  # noqa: ARG005

    _logits(model, rows, [*hooks, *(keep(name) for name in names)])
    return seen


def writing(name: str, values: torch.Tensor, positions: Sequence[int], head: int | None = None, heads: int = 1) -> Hook:
    """A hook that writes `values` at `positions` (of one head)."""

    def write(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
        activation = activation.clone()
        for position in positions:
            if head is None:
                activation[:, position] = values[:, position]
            elif activation.ndim == 4:
                activation[:, position, head] = values[:, position, head]
            else:
                width = activation.shape[-1] // heads
                part = slice(head * width, (head + 1) * width)
                activation[:, position, part] = values[:, position, part]
        return activation

    return name, write


def mid_by_attention(layer: int, values: torch.Tensor, positions: Sequence[int]) -> list[Hook]:
    """The residual between attention and MLP made equal `values` by choosing attention's output."""
    entered: list[torch.Tensor] = []

    def keep(activation: torch.Tensor, hook: Any) -> None:  # noqa: ARG001
        entered[:] = [activation]

    def write(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
        activation = activation.clone()
        for position in positions:
            activation[:, position] = values[:, position] - entered[0][:, position]
        return activation

    return [(f"blocks.{layer}.hook_resid_pre", keep), (f"blocks.{layer}.hook_attn_out", write)]


def measure(metric: str, logits: torch.Tensor, clean: torch.Tensor, answer: Sequence[int], other: int, at: int) -> Any:
    """The metric of each row from the logits of all positions; `clean` are the clean row's."""
    rows = []
    for row in logits:
        logprobs = [row[at + i].log_softmax(-1)[token] for i, token in enumerate(answer)]
        joint = torch.stack(logprobs).sum()
        first = row[at].log_softmax(-1)
        reference = clean[at].log_softmax(-1)
        values = {
            "prob": joint.exp(),
            "logprob": joint,
            "prob_per_token": (joint / len(answer)).exp(),
            "logprob_per_token": joint / len(answer),
            "logit": torch.stack([row[at + i][token] for i, token in enumerate(answer)]).mean(),
            "logit_diff": row[at][answer[0]] - row[at][other],
            "kl": sum(reference.exp()[i] * (reference[i] - first[i]) for i in range(len(first))),
        }
        rows.append(values[metric])
    return torch.stack(rows).double()


def variant_by_loop(
    model: Any,
    tokens: Sequence[int],
    kind: str,
    window: int,
    embed: Hook | None,
    samples: int,
    answer: Sequence[int],
    *,
    positions: Sequence[Sequence[int]],
    direction: str = "denoise",
    metric: str = "prob",
    other: int = 0,
    severed: str | None = None,
    frozen_embed: Hook | None = None,
    head: int | None = None,
) -> tuple[float, torch.Tensor, Mapping[tuple[int, tuple[int, ...]], torch.Tensor]]:
    """Clean score, corrupted scores `[sample]`, and the scores `[sample]` of each (layer, set of positions).

    Args:
        embed: the hook at `hook_embed` that corrupts `samples` rows.
        positions: sets of positions that are restored together.
        frozen_embed: the corruption of the run that frozen values come from, where it is another (released code).
    """
    row = torch.tensor([[*tokens, *answer[:-1]]])
    rows, at, n_layers = row.repeat(samples, 1), len(tokens) - 1, model.cfg.n_layers
    corrupt = [] if embed is None else [embed]
    clean_logits = _logits(model, row, [])

    def score(hooks: Sequence[Hook]) -> torch.Tensor:
        return measure(metric, _logits(model, rows, hooks), clean_logits[0], answer, other, at)

    kinds = [f"blocks.{i}.{'hook_resid_mid' if kind == 'resid_mid' else NAMES[kind]}" for i in range(n_layers)]
    donor_hooks = corrupt if direction == "noise" else []
    donors = read_states(model, rows, kinds, donor_hooks)
    if direction == "zero":
        donors = {name: torch.zeros_like(value) for name, value in donors.items()}
    base = corrupt if direction == "denoise" else []
    frozen_names = [f"blocks.{i}.{NAMES[severed]}" for i in range(n_layers)] if severed else []
    held = read_states(model, rows, frozen_names, [frozen_embed] if frozen_embed else corrupt) if severed else {}

    found = {}
    for layer in range(n_layers):
        first, last = max(0, layer - window // 2), min(n_layers, layer + ceil(window / 2))
        for where in positions:
            # States put in have the last word where both write at one place.
            hooks = [writing(name, held[name], where) for name in frozen_names]
            for i in range(first, last):
                if kind == "resid_mid" and type(model).__name__ == "HookedTransformer":
                    hooks.append(writing(kinds[i], donors[kinds[i]], where))
                elif kind == "resid_mid":
                    hooks += mid_by_attention(i, donors[kinds[i]], where)
                else:
                    hooks.append(writing(kinds[i], donors[kinds[i]], where, head, model.cfg.n_heads))
            found[layer, tuple(where)] = score([*base, *hooks])
    clean = float(measure(metric, clean_logits, clean_logits[0], answer, other, at)[0])
    return clean, score(corrupt), found
