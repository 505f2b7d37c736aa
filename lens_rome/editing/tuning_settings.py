"""What fine-tuning as an editor is told: which weights, which loss, which bounds."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from lens_rome.editing.objective import Objective
from lens_rome.errors import EditError

EMBEDDINGS = -1
"""The layer under which the token embeddings are named."""
LOSSES, REDUCTIONS = ("all", "last"), ("mean", "sum")


@dataclass(frozen=True)
class TuningSettings:
    """Settings of a fit. Defaults are the released ones of ROME's baseline FT but for the layers, the loss and the
    bound; the released names stand in brackets.
    """

    layers: tuple[int, ...]
    """Blocks whose parameters are fitted together, from 0, rising; or -1 alone, the token embeddings."""
    parameters: tuple[str, ...] = ("W_out", "b_out")
    """Parameters of each of these blocks by TransformerLens's names; nothing else changes. Models without biases
    (Llama) need `("W_out",)`.
    """
    lr: float = 5e-4
    """Adam's learning rate."""
    steps: int = 25
    """Passes over all requests at most, one update a minibatch (num_steps)."""
    batch: int = 128
    """Requests in a minibatch, in the order given (batch_size)."""
    stop_loss: float = 1e-2
    """A minibatch whose loss is below this makes no update; see also `patience`. 0 for neither."""
    patience: int = 1
    """The fit ends after this many passes in a row whose loss is below `stop_loss`: 1 in ROME's baseline, 5 in Hase
    et al. An erasing objective never ends early.
    """
    norm_bound: float | None = None
    """ε: no number of a weight may move further than this from where it was (norm_constraint; the "L" of FT+L). None
    for no bound.
    """
    weight_decay: float = 0.0
    """Adam's decay of the fitted weights, towards zero and not towards where they were."""
    loss: str = "all"
    """`"all"`: every token of the target is scored after the prompt and the target's tokens before it. `"last"`: all
    are scored right after the prompt, as the released baseline does; the same for targets of one token, wrong for
    longer ones.
    """
    reduction: str = "mean"
    """`"mean"` over the target's tokens and the minibatch's rows (ROME's baseline), or the `"sum"` (Hase et al.)."""
    prepend_bos: bool | None = None
    """None follows the model."""
    objective: Objective = field(default_factory=Objective)
    """What the weights are fitted to. Unlike other editors, a noised objective draws anew at each update."""
    repeats: int = 10
    """Rows a request has under a noised objective, each with a draw of its own."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", _listed("layers", self.layers, int))
        object.__setattr__(self, "parameters", _listed("parameters", self.parameters, str))
        _check_layers(self.layers, self.parameters)
        _check_numbers(self)
        if self.loss not in LOSSES:
            raise EditError(f"unknown loss {self.loss!r}; choose one of {', '.join(LOSSES)}.")
        if self.reduction not in REDUCTIONS:
            raise EditError(f"unknown reduction {self.reduction!r}; choose one of {', '.join(REDUCTIONS)}.")

    @property
    def of_embeddings(self) -> bool:
        """Whether the fitted weights are rows of the token embeddings."""
        return self.layers == (EMBEDDINGS,)


def _listed(name: str, found: object, kind: type) -> tuple:
    """A list of layers or names as a tuple."""
    several = tuple(found) if isinstance(found, Iterable) and not isinstance(found, str) else ()
    if not several or not all(isinstance(each, kind) and not isinstance(each, bool) for each in several):
        example = "(5,)" if kind is int else '("W_out",)'
        raise EditError(f"{name} must be a tuple such as {example}, got {found!r}.")
    if len(set(several)) != len(several):
        raise EditError(f"{name} must not repeat: {several}.")
    return several


def _check_layers(layers: tuple[int, ...], parameters: tuple[str, ...]) -> None:
    if list(layers) != sorted(layers):
        raise EditError(f"layers must rise: give {tuple(sorted(layers))}, got {layers}.")
    if layers[0] < EMBEDDINGS:
        raise EditError(f"layers count from 0 (-1 for the token embeddings), got {layers}.")
    if (layers[0] == EMBEDDINGS or "W_E" in parameters) and (layers, parameters) != ((EMBEDDINGS,), ("W_E",)):
        raise EditError(
            f"the token embeddings are fitted alone, as layers (-1,) and parameters ('W_E',): use "
            f"FineTune.embeddings(). Got layers {layers} and parameters {parameters}."
        )


def _check_numbers(settings: TuningSettings) -> None:
    counts = {name: getattr(settings, name) for name in ("steps", "batch", "patience", "repeats")}
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise EditError(f"{name} must be a whole number ≥ 1, got {count!r}.")
    if not (math.isfinite(settings.lr) and settings.lr > 0):
        raise EditError(f"lr must be a number > 0, got {settings.lr!r}.")
    for name in ("stop_loss", "weight_decay"):
        number = getattr(settings, name)
        if not (math.isfinite(number) and number >= 0):
            raise EditError(f"{name} must be a number ≥ 0, got {number!r}.")
    bound = settings.norm_bound
    if bound is not None and (isinstance(bound, bool) or not (math.isfinite(bound) and bound > 0)):
        raise EditError(f"norm_bound must be a number > 0, or None for no bound; got {bound!r}.")
