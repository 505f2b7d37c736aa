"""From settings, facts and texts to a trained network."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lens_rome._typing import Model, Tensor
from lens_rome.editing.learned.examples import Example, check_disjoint, examples_of, texts_of
from lens_rome.editing.learned.network import EditorNetwork, Structure
from lens_rome.editing.learned.probe import probe_of
from lens_rome.editing.learned.settings import TrainingSettings
from lens_rome.editing.learned.state import TrainingState, identity_of
from lens_rome.editing.learned.training import Trainer, train
from lens_rome.editing.search import differentiable
from lens_rome.facts import EditRequest, EvalRecord
from lens_rome.surface import as_surface, check_layer
from lens_rome.surface.digest import model_digest

FactsToLearn = Iterable[EvalRecord | EditRequest]
"""Records, whose paraphrases are the other wordings, or plain requests, which have none."""


@dataclass(frozen=True)
class TrainingRecord:
    """How a learned editor was made."""

    model: str
    prepend_bos: bool
    training_subjects: tuple[str, ...]
    validation_subjects: tuple[str, ...]
    history: tuple[dict[str, float], ...]
    """Losses of each validation: step, loss, nll (nats a target token, after the edit), kl (nats a token of text)."""
    step: int
    """The step whose network was kept: the one of the smallest validation loss."""
    seconds: float
    texts: int

    @property
    def subjects(self) -> frozenset[str]:
        """Every subject that the editor has seen."""
        return frozenset((*self.training_subjects, *self.validation_subjects))

    def jsonable(self) -> dict[str, Any]:
        """For files."""
        return asdict(self)

    @classmethod
    def read(cls, told: dict[str, Any]) -> "TrainingRecord":
        """Inverse of `jsonable`, after a file has made lists of tuples."""
        lists = ("training_subjects", "validation_subjects", "history")
        fields: dict[str, Any] = {**told, **{name: tuple(told[name]) for name in lists}}
        return cls(**fields)


@dataclass(frozen=True, eq=False)
class Learned:
    """A trained network and all that belongs to it."""

    network: EditorNetwork
    structure: Structure
    record: TrainingRecord
    probe: Mapping[str, Tensor]
    """What tells the model and its weight processing again, also after edits of its MLPs; see `probe_of`."""


class LearnedEditor(TrainingSettings):
    """Settings of an editor that is trained before it edits."""

    @property
    def name(self) -> str:
        """What the method is called in messages, files and tables."""
        raise NotImplementedError

    def new_network(self, structure: Structure) -> EditorNetwork:
        """An untrained network; random numbers are drawn from torch's generator."""
        raise NotImplementedError

    def groups(self, network: EditorNetwork) -> list[dict[str, Any]]:
        """Adam's groups of parameters, each with its learning rate."""
        return [{"params": list(network.parameters()), "lr": self.lr}]


def learn(
    editor: LearnedEditor,
    model: Model,
    facts: FactsToLearn,
    validation: FactsToLearn,
    texts: Iterable[str],
    progress: bool,
    checkpoint: str | Path | None,
) -> Learned:
    """Train `editor`'s network on a model, which is unchanged; `MEND.fit` says more."""
    surface = as_surface(model)
    bos = surface.prepends_bos(editor.prepend_bos)
    places = editor.places(surface)
    for layer in sorted({layer for layer, _ in places}):
        check_layer(surface, layer)
    structure = Structure.of(surface, places)
    trainer = Trainer(
        surface,
        editor,
        places,
        examples_of(surface, facts, "training", bos),
        examples_of(surface, validation, "validation", bos),
        texts_of(surface, texts, editor.text_tokens, bos),
    )
    check_disjoint(trainer.training, trainer.validation)
    with differentiable(surface):
        state = _state(editor, trainer, structure)
        if checkpoint is not None and Path(checkpoint).is_file():
            state.load(checkpoint)
        train(trainer, state, checkpoint, progress)
    probe = probe_of(surface, structure.layers)
    return Learned(state.network.requires_grad_(False), structure, _record(trainer, bos, state), probe)


def _state(editor: LearnedEditor, trainer: Trainer, structure: Structure) -> TrainingState:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(editor.seed)
        network = editor.new_network(structure)
    network = network.to(trainer.surface.device)
    groups = [{**group, "highest": group["lr"]} for group in editor.groups(network)]
    identity = identity_of(
        [
            editor.name,
            editor.jsonable(),
            structure.jsonable(),
            trainer.surface.model_name,
            [asdict(example) for example in (*trainer.training, *trainer.validation)],
            trainer.texts,
            model_digest(trainer.surface),
        ]
    )
    return TrainingState(network, torch.optim.Adam(groups), identity)


def _record(trainer: Trainer, bos: bool, state: TrainingState) -> TrainingRecord:
    return TrainingRecord(
        trainer.surface.model_name,
        bos,
        _subjects(trainer.training),
        _subjects(trainer.validation),
        tuple(state.history),
        int(state.best_entry["step"]),
        state.seconds,
        len(trainer.texts),
    )


def _subjects(examples: tuple[Example, ...]) -> tuple[str, ...]:
    return tuple(sorted({example.subject for example in examples}))
