"""An edit as hooks: the same model function as the edited weights, with no weight touched."""

from collections.abc import Callable, Mapping

import torch

from lens_rome._typing import FwdHooks, Tensor
from lens_rome.editing.delta import Delta, DenseDelta, LowRankDelta, Place
from lens_rome.errors import EditError, SurfaceError
from lens_rome.surface import HOOKED_BIASES, HOOKED_MATRICES, AbstractSurface, MatrixHooks


def hooks_of(surface: AbstractSurface, deltas: Mapping[Place, Delta]) -> tuple[FwdHooks, FwdHooks]:
    """Hooks that add each change, and hooks that read what the adding needs.

    To equal edited weights, adders come first at their hook points and readers last.

    Raises:
        EditError: a change has no hook form.
    """
    adders: FwdHooks = []
    readers: FwdHooks = []
    for place, delta in deltas.items():
        check_hook_form(place, delta)
        weight = surface.parameter(*place)
        if isinstance(delta, LowRankDelta):
            hook = MatrixHook(surface.matrix_hooks(*place), place[1], _product(delta, weight))
            adders.append(hook.adder)
            readers.append(hook.reader)
        elif isinstance(delta, DenseDelta):
            adders.append(adding_hook(surface.bias_hook(*place), always(wide(delta.change, weight))))
    return adders, readers


def check_hook_form(place: Place, delta: Delta) -> None:
    """Raise `EditError` unless there are hooks for such a change: low-rank of a matrix of the MLP, or of its bias."""
    name = place[1]
    matrix = isinstance(delta, LowRankDelta) and name in HOOKED_MATRICES
    if not matrix and not (isinstance(delta, DenseDelta) and name in HOOKED_BIASES):
        raise EditError(f"a {delta.kind} change of {name} has no hook form; use applied(model).")


def has_hook_form(surface: AbstractSurface, deltas: Mapping[Place, Delta]) -> bool:
    """Whether all the changes have a hook form, and this model the hook points for it."""
    try:
        for place, delta in deltas.items():
            check_hook_form(place, delta)
            (surface.matrix_hooks if place[1] in HOOKED_MATRICES else surface.bias_hook)(*place)
    except (EditError, SurfaceError):
        return False
    return True


class MatrixHook:
    """Reads the input of a matrix and adds `change(input)` at its output. Indifferent to positions.

    The change is computed in float32 at least and only its sum with the output is rounded: one factor may be huge and
    the other tiny (a moment's scale goes into one of them), so that in float16 `input @ left` overflows.
    """

    def __init__(self, places: MatrixHooks, name: str, change: Callable[[Tensor], Tensor]) -> None:
        self.adder = (places.adds, _Bound(self._add))
        self.reader = (places.reads, _Bound(self._read))
        self._name, self._input, self._of = name, places.input, change
        self._change: Tensor | None = None

    def _read(self, activation: Tensor) -> None:
        self._change = self._of(self._input(activation))

    def _add(self, activation: Tensor) -> Tensor:
        if self._change is None or self._change.shape != activation.shape:
            raise EditError(
                f"the hook at the output of {self._name} ran without the one at its input; attach both hooks of the "
                "edit."
            )
        change, self._change = self._change, None
        return _sum(activation, change)


def _product(delta: LowRankDelta, weight: Tensor) -> Callable[[Tensor], Tensor]:
    left, right = (wide(factor, weight) for factor in (delta.left, delta.right))
    return lambda key: (key.to(left.dtype) @ left) @ right


def always(change: Tensor) -> Callable[[Tensor], Tensor]:
    """The same change whatever is read."""
    return lambda _: change


def adding_hook(name: str, change: Callable[[Tensor], Tensor]) -> tuple[str, "_Bound"]:
    """A hook that adds `change(activation)` at the hook point `name`; indifferent to positions."""
    return name, _Bound(lambda activation: _sum(activation, change(activation)))


def wide(change: Tensor, weight: Tensor) -> Tensor:
    """Where the weight is, in its precision but float32 at least."""
    return change.to(weight.device, torch.promote_types(weight.dtype, torch.float32))


def _sum(activation: Tensor, change: Tensor) -> Tensor:
    """Rounded once, to the activation's precision."""
    return (activation + change).to(activation.dtype)


class _Bound:
    """A hook function that carries the mark of being indifferent to positions (bound methods cannot)."""

    position_free = True

    def __init__(self, function) -> None:
        self._function = function

    def __call__(self, activation: Tensor, hook: object = None) -> Tensor | None:  # noqa: ARG002 - TransformerLens's
        return self._function(activation)
