"""Attaching hooks for the length of a `with`, and telling our hooks from the owner's."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from lens_rome._typing import FwdHooks, HookFunction, Model, Tensor
from lens_rome.errors import SurfaceError


def position_free(function: HookFunction) -> HookFunction:
    """Mark a hook as indifferent to which positions its activation holds.

    A run may then hand it only the last positions of a sequence. Hooks without the mark force full-length runs.
    """
    function.position_free = True  # type: ignore[attr-defined]
    return function


def is_position_free(function: object) -> bool:
    """Whether a hook function carries the mark of `position_free`."""
    return bool(getattr(function, "position_free", False))


@contextmanager
def attached(model: Model, hooks: Iterable[tuple[str, HookFunction]], *, first: bool = False) -> Iterator[None]:
    """Attach `hooks` to the model's hook points and take exactly these away again, also after an exception.

    Hooks that were there before stay and run before ours (after ours with `first=True`).

    Raises:
        SurfaceError: the model has no hook point of that name.
    """
    added, wanted = [], list(hooks)
    points = model.hook_dict if wanted else {}  # once: a bridge puts it together anew each time it is asked
    try:
        for name, function in wanted:
            point = points.get(name)
            if point is None:
                raise SurfaceError(f"the model has no hook point {name!r}. See model.hook_dict for the names it has.")
            point.add_hook(function, prepend=first)
            added.append((point, point.fwd_hooks[0 if first else -1]))
        yield
    finally:
        for point, handle in added:
            handle.hook.remove()
            if handle in point.fwd_hooks:
                point.fwd_hooks.remove(handle)


def owner_hooks(model: Model) -> list[str]:
    """Names of places where the model's owner has attached hooks that may look at positions.

    Hooks marked by `position_free` do not count; nor do those TransformerLens needs for itself. Plain torch forward
    hooks on any module count.
    """
    found = []
    for name, module in model.named_modules():
        handles = getattr(module, "fwd_hooks", [])
        known = {handle.hook.id for handle in handles}
        if any(not is_position_free(handle.user_hook) for handle in handles):
            found.append(name)
        found += [name for hook_id, hook in _torch_hooks(module) if hook_id not in known and not _is_internal(hook)]
    return sorted(set(found))


def _torch_hooks(module: nn.Module) -> Iterator[tuple[int, object]]:
    yield from module._forward_hooks.items()
    yield from module._forward_pre_hooks.items()


def _is_internal(hook: object) -> bool:
    package = str(getattr(hook, "__module__", "")).split(".")[0]
    return package in ("transformer_lens", "transformers", "lens_rome")


@contextmanager
def silenced(model: Model) -> Iterator[None]:
    """No hook on a hook point fires inside (plain torch hooks on modules do): for runs that only look how the model is
    built.
    """
    points = {id(point): point for point in model.hook_dict.values()}
    saved = [(point, point._forward_hooks.copy()) for point in points.values() if point._forward_hooks]
    for point, _ in saved:
        point._forward_hooks.clear()
    try:
        yield
    finally:
        for point, hooks in saved:
            point._forward_hooks.update(hooks)


class Reader:
    """Collects activations by hook name: `reader.hooks` go into a run, `reader[name]` is what the hook saw last."""

    def __init__(self, names: Iterable[str]) -> None:
        self._seen: dict[str, Tensor] = {}
        self.hooks: FwdHooks = [(name, self._store_as(name)) for name in dict.fromkeys(names)]

    def _store_as(self, name: str) -> HookFunction:
        def store(activation: Tensor, hook: object) -> None:  # noqa: ARG001 - the name TransformerLens calls by
            # A copy: the owner's hooks may write into the tensor further on.
            self._seen[name] = activation.clone()

        return position_free(store)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._seen:
            raise SurfaceError(f"hook point {name!r} did not fire in the run; the model computes without it.")
        return self._seen[name]


@contextmanager
def frozen_parameters(model: Model) -> Iterator[None]:
    """Gradients do not reach the parameters inside the `with`; every `requires_grad` is as before after it."""
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        with torch.enable_grad():
            yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)
