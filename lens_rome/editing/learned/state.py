"""The state of a training: network, optimiser, and what has been measured; saved whole and continued exactly."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lens_rome._files import load_tensors, save_tensors
from lens_rome._typing import Tensor
from lens_rome.editing.learned.network import EditorNetwork
from lens_rome.errors import EditError, FileFormatError

_KIND = "training of a learned editor"


@dataclass(eq=False)
class TrainingState:
    """Everything that the next step depends on, and the best network so far."""

    network: EditorNetwork
    optimizer: torch.optim.Adam
    identity: str
    """What is being trained: settings, model, facts and texts."""
    step: int = 0
    """Optimiser steps done."""
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    """One entry a validation: step, losses in nats."""
    best: dict[str, Tensor] = field(default_factory=dict)
    """The network at the best validation."""
    finished: bool = False

    @property
    def best_entry(self) -> dict[str, float]:
        """The validation with the smallest loss; the first of equals."""
        return min(self.history, key=lambda entry: entry["loss"])

    @property
    def waited(self) -> int:
        """Validations since the best one."""
        return len(self.history) - 1 - self.history.index(self.best_entry)

    def record(self, entry: dict[str, float]) -> None:
        """Add a validation; the network is copied if it is the best."""
        self.history.append(entry)
        if self.best_entry is entry:
            self.best = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}

    def save(self, path: str | Path) -> None:
        """Write the checkpoint, whole or not at all."""
        tensors = {f"now/{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        for name, parameter in self.network.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"adam/{key}/{name}"] = value
        told = {name: getattr(self, name) for name in ("identity", "step", "seconds", "history", "finished")}
        save_tensors(path, _KIND, tensors, told)

    def load(self, path: str | Path) -> None:
        """Go on from a checkpoint.

        Raises:
            FileFormatError: not a checkpoint.
            EditError: the checkpoint of another training.
        """
        tensors, told = load_tensors(path, _KIND)
        if told.get("identity") != self.identity:
            raise EditError(
                f"{path} is the checkpoint of another training: settings, model, facts or texts are not the same. "
                "Give what it was begun with, or another checkpoint."
            )
        try:
            self.network.load_state_dict(part_of(tensors, "now/"))
            self.best = part_of(tensors, "best/")
            parameters = dict(self.network.named_parameters())
            for name, value in part_of(tensors, "adam/").items():
                key, parameter = name.split("/", 1)
                own = parameters[parameter]
                self.optimizer.state[own][key] = value if key == "step" else value.to(own.device)
            for name in ("step", "seconds", "history", "finished"):
                setattr(self, name, told[name])
        except (KeyError, RuntimeError) as error:
            raise FileFormatError(f"{path} is not a complete checkpoint: {error}. Remove it to begin anew.") from error


def identity_of(parts: Iterable[Any]) -> str:
    """sha256 of JSON-able parts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(json.dumps(part, sort_keys=True).encode() + b"\0")
    return digest.hexdigest()


def part_of(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
