"""As much of Ray as a run uses, in this process: work is done when its answer is fetched, and deaths are arranged."""

from collections.abc import Callable, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any


class RayError(Exception):
    """What Ray raises in the place of an answer."""


class RayTaskError(RayError):
    """An exception that got out of an actor."""

    cause: Exception | None = None


class FakeRay(ModuleType):
    """A cluster of `cpus` and `gpus` on one machine; `dies(method, argument, number of the actor)` says who dies."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(
        self,
        dies: Callable[[str, Any, int], bool] = lambda *_: False,
        *,
        cpus: float = 2.0,
        gpus: float = 0.0,
        room: int = 10**6,
    ) -> None:
        super().__init__("ray")
        self.dies, self.cpus, self.gpus, self.room = dies, cpus, gpus, room
        self.up, self.made, self.killed, self.shut = False, 0, set(), 0
        self.asked: list[tuple[int, tuple[str, ...]]] = []
        self.calls: list[tuple[Any, ...]] = []

    def is_initialized(self) -> bool:
        return self.up

    def init(self, *args: Any, **options: Any) -> None:
        self.up = True
        self.calls.append((*args, options))

    def shutdown(self) -> None:
        self.up = False
        self.shut += 1

    def nodes(self) -> list[dict[str, Any]]:
        gpus = {"GPU": self.gpus} if self.gpus else {}
        return [{"Alive": True, "Resources": {"CPU": self.cpus, **gpus}}, {"Alive": False, "Resources": {"CPU": 64.0}}]

    def put(self, value: object) -> object:
        return value

    def kill(self, actor: "_Actor") -> None:
        self.killed.add(actor.number)

    def remote(self, kind: type) -> Any:
        def make(**options: Any) -> Any:
            return SimpleNamespace(remote=lambda: _Actor(self, kind, options))

        return SimpleNamespace(options=make)

    def wait(self, refs: Sequence["_Ref"], num_returns: int, timeout: float) -> tuple[list["_Ref"], list["_Ref"]]:
        assert timeout < 60
        ready = [ref for ref in refs if ref.actor.number < self.room][:num_returns]
        return ready, [ref for ref in refs if ref not in ready]

    def get(self, ref: "_Ref") -> Any:
        actor = ref.actor
        if self.dies(ref.method, ref.argument, actor.number):
            raise RayError("The actor is dead.")
        if ref.method == "answer":
            self.asked.append((actor.number, tuple(ref.argument)))
        return getattr(actor.hand, ref.method)(ref.argument, *ref.others)


class _Actor:
    def __init__(self, ray: FakeRay, kind: type, options: dict[str, Any]) -> None:
        self.number, self.hand, self.options = ray.made, kind(), options
        ray.made += 1
        ray.calls.append((options,))
        for method in ("start", "answer"):
            setattr(self, method, SimpleNamespace(remote=lambda *given, name=method: _Ref(self, name, *given)))


class _Ref:
    def __init__(self, actor: _Actor, method: str, argument: Any, *others: Any) -> None:
        self.actor, self.method, self.argument, self.others = actor, method, argument, others
