"""Fine-tuning as its released form reads: full forwards of every row, one by one, unpadded, `backward`, `Adam.step`,
clamp. Uses the model's own forward, hooks and parameters, nothing of the package.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from tests.oracles.editing import Hook


@dataclass(frozen=True)
class TuningRow:
    """Prompt and target as tokens; `subject` is the half-open range of the subject's positions."""

    prompt: tuple[int, ...]
    target: tuple[int, ...]
    subject: tuple[int, int]


@dataclass(frozen=True)
class Tuned:
    """Changes by (layer, name), the loss of every pass, and the largest change of a number after every update."""

    changes: dict[tuple[int, str], torch.Tensor]
    losses: list[float]
    furthest: list[float] = field(default_factory=list)


def tuning_row(tokenizer: Any, template: str, subject: str, target: str, prepend_bos: bool) -> TuningRow:
    """Tokenise prompt and target as one text, and find the subject by characters."""
    text = template.replace("{}", subject)
    bos = [tokenizer.bos_token_id] if prepend_bos else []
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    start = template.index("{}")
    inside = [
        len(bos) + i
        for i, (first, after) in enumerate(encoded["offset_mapping"])
        if first < start + len(subject) and after > start
    ]
    ids = [*bos, *encoded["input_ids"]]
    both = [*bos, *tokenizer(f"{text} {target}", add_special_tokens=False)["input_ids"]]
    assert both[: len(ids)] == ids
    return TuningRow(tuple(ids), tuple(both[len(ids) :]), (inside[0], inside[-1] + 1))


def tune_by_loop(
    model: Any,
    rows: Sequence[TuningRow],
    places: Sequence[tuple[int, str]],
    *,
    lr: float = 5e-4,
    steps: int = 25,
    batch: int = 128,
    stop_loss: float = 1e-2,
    patience: int = 1,
    norm_bound: float | None = None,
    weight_decay: float = 0.0,
    loss: str = "all",
    reduction: str = "mean",
    erase: bool = False,
    noise: float = 0.0,
    noise_seed: int = 1,
    repeats: int = 10,
    owner_hooks: Sequence[Hook] = (),
) -> Tuned:
    """The fit, on the model itself, which is put back at the end."""
    shown = {place: _shown(model, place) for place in places}
    leaves = {place: _leaf(model, tensor) for place, tensor in shown.items()}
    start = {place: leaf.detach().clone() for place, leaf in leaves.items()}
    optimizer = torch.optim.Adam(leaves.values(), lr=lr, weight_decay=weight_decay)
    draws = torch.Generator().manual_seed(noise_seed)
    subject_tokens = sorted({token for row in rows for token in row.prompt[slice(*row.subject)]})
    losses: list[float] = []
    furthest: list[float] = []
    small = 0
    for _ in range(steps):
        weighted = count = 0.0
        for first in range(0, len(rows), batch):
            optimizer.zero_grad()
            each = []
            for row in rows[first : first + batch]:
                for _ in range(repeats if noise else 1):
                    hooks = [*owner_hooks, *([_noise(row, noise, draws, int(model.cfg.d_model))] if noise else [])]
                    found = _logprobs(model, row, loss, hooks)
                    nll = -sum(found) / (len(found) if reduction == "mean" else 1)
                    each.append(torch.exp(-nll) if erase else nll)
            total = sum(each) / (len(each) if reduction == "mean" else 1)
            if total.item() >= stop_loss:
                total.backward()
                for place, leaf in leaves.items():
                    if place[1] == "W_E":
                        outside = torch.ones(len(leaf), dtype=torch.bool)
                        outside[subject_tokens] = False
                        leaf.grad[outside] = 0
                optimizer.step()
                with torch.no_grad():
                    for place, leaf in leaves.items():
                        if norm_bound is not None:
                            leaf.copy_(leaf.clamp(start[place] - norm_bound, start[place] + norm_bound))
                    furthest.append(max(float((leaf - start[place]).abs().max()) for place, leaf in leaves.items()))
            weighted, count = weighted + total.item() * len(each), count + len(each)
        losses.append(weighted / count)
        small = small + 1 if losses[-1] < stop_loss else 0
        if small >= patience and not erase:
            break
    changes = {}
    with torch.no_grad():
        for place, leaf in leaves.items():
            change = leaf - start[place]
            changes[place] = change if change.shape == shown[place].shape else change.T
            leaf.copy_(start[place])
    model.zero_grad(set_to_none=True)
    return Tuned(changes, losses, furthest)


def _shown(model: Any, place: tuple[int, str]) -> torch.Tensor:
    layer, name = place
    return model.embed.W_E if layer == -1 else getattr(model.blocks[layer].mlp, name)


def _leaf(model: Any, shown: torch.Tensor) -> torch.nn.Parameter:
    """The parameter in whose memory a tensor lies."""
    (leaf,) = [each for each in model.parameters() if each.data_ptr() == shown.data_ptr()]
    return leaf


def _noise(row: TuningRow, noise: float, draws: torch.Generator, d_model: int) -> tuple[str, Callable[..., Any]]:
    first, after = row.subject
    drawn = noise * torch.randn(after - first, d_model, generator=draws)

    def add(activation: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
        changed = activation.clone()
        changed[:, first:after] += drawn.to(activation.dtype)
        return changed

    return ("hook_embed", add)


def _logprobs(model: Any, row: TuningRow, loss: str, hooks: Sequence[Hook]) -> list[torch.Tensor]:
    tokens = row.prompt if loss == "last" else (*row.prompt, *row.target[:-1])
    logprobs = model.run_with_hooks(torch.tensor([tokens]), fwd_hooks=list(hooks))[0].log_softmax(-1)
    end = len(row.prompt) - 1
    return [logprobs[end if loss == "last" else end + i, token] for i, token in enumerate(row.target)]
