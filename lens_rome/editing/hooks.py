"""An edit as hooks: the same model function as the edited weight, with no weight touched."""

from lens_rome._typing import FwdHooks, Tensor
from lens_rome.editing.delta import LowRankDelta
from lens_rome.errors import EditError
from lens_rome.surface import AbstractSurface, Site


class LowRankHook:
    """Reads the key at the input of `W_out` and adds `(key @ left) @ right` at its output. Indifferent to positions."""

    def __init__(self, delta: LowRankDelta, surface: AbstractSurface, layer: int) -> None:
        weight = surface.weight(layer)
        self.left, self.right = (factor.to(weight) for factor in (delta.left, delta.right))
        self.pair: FwdHooks = [
            (surface.hook_name(Site(layer, "value")), _Bound(self._add)),
            (surface.hook_name(Site(layer, "key")), _Bound(self._read)),
        ]
        self._change: Tensor | None = None

    def _read(self, activation: Tensor, hook: object = None) -> None:  # noqa: ARG002 - TransformerLens's signature
        self._change = (activation.to(self.left.dtype) @ self.left) @ self.right

    def _add(self, activation: Tensor, hook: object = None) -> Tensor:  # noqa: ARG002 - TransformerLens's signature
        if self._change is None or self._change.shape != activation.shape:
            raise EditError(
                "the hook at the output of W_out ran without the one at its input; attach both hooks of the edit."
            )
        change, self._change = self._change, None
        return activation + change.to(activation.dtype)


class _Bound:
    """A hook function that carries the mark of being indifferent to positions (bound methods cannot)."""

    position_free = True

    def __init__(self, function) -> None:
        self._function = function

    def __call__(self, activation: Tensor, hook: object = None) -> Tensor | None:
        return self._function(activation, hook)
