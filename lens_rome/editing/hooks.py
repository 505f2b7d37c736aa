"""An edit as hooks: the same model function as the edited weights, with no weight touched."""

from collections.abc import Mapping

import torch

from lens_rome._typing import FwdHooks, Tensor
from lens_rome.editing.delta import Delta, DenseDelta, LowRankDelta, Place
from lens_rome.errors import EditError
from lens_rome.surface import HOOKED_BIASES, HOOKED_MATRICES, AbstractSurface, MatrixHooks


def hooks_of(surface: AbstractSurface, deltas: Mapping[Place, Delta]) -> tuple[FwdHooks, FwdHooks]:
    """Hooks that add each change, and hooks that read what the adding needs.

    To equal edited weights, adders come first at their hook points and readers last.

    Raises:
        EditError: a change has no hook form.
    """
    adders: FwdHooks = []
    readers: FwdHooks = []
    for (layer, name), delta in deltas.items():
        if isinstance(delta, LowRankDelta) and name in HOOKED_MATRICES:
            hook = _LowRankHook(delta, surface.parameter(layer, name), surface.matrix_hooks(layer, name), name)
            adders.append(hook.adder)
            readers.append(hook.reader)
        elif isinstance(delta, DenseDelta) and name in HOOKED_BIASES:
            adders.append((surface.bias_hook(layer, name), _bias_hook(delta, surface.parameter(layer, name))))
        else:
            raise EditError(f"a {delta.kind} change of {name} has no hook form; use applied(model).")
    return adders, readers


class _LowRankHook:
    """Reads the input of a matrix and adds `(input @ left) @ right` at its output. Indifferent to positions.

    The change is computed in float32 at least and only its sum with the output is rounded: one factor may be huge and
    the other tiny (a moment's scale goes into one of them), so that in float16 `input @ left` overflows.
    """

    def __init__(self, delta: LowRankDelta, weight: Tensor, places: MatrixHooks, name: str) -> None:
        self.left, self.right = (_wide(factor, weight) for factor in (delta.left, delta.right))
        self.adder = (places.adds, _Bound(self._add))
        self.reader = (places.reads, _Bound(self._read))
        self._name, self._input = name, places.input
        self._change: Tensor | None = None

    def _read(self, activation: Tensor) -> None:
        self._change = (self._input(activation).to(self.left.dtype) @ self.left) @ self.right

    def _add(self, activation: Tensor) -> Tensor:
        if self._change is None or self._change.shape != activation.shape:
            raise EditError(
                f"the hook at the output of {self._name} ran without the one at its input; attach both hooks of the "
                "edit."
            )
        change, self._change = self._change, None
        return _sum(activation, change)


def _bias_hook(delta: DenseDelta, bias: Tensor) -> "_Bound":
    change = _wide(delta.change, bias)
    return _Bound(lambda activation: _sum(activation, change))


def _wide(change: Tensor, weight: Tensor) -> Tensor:
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
