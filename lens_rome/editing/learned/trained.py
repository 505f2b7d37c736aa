"""A trained editor: it makes edits, and is saved and loaded. It changes in no call."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Self

import torch

from lens_rome._files import load_tensors, save_tensors
from lens_rome._typing import Model
from lens_rome._warnings import warn_caller
from lens_rome.editing.delta import Delta, LowRankDelta, Place
from lens_rome.editing.edit import Edit
from lens_rome.editing.learned.fit import Learned, LearnedEditor, TrainingRecord
from lens_rome.editing.learned.gradients import gradient_factors
from lens_rome.editing.learned.network import Structure
from lens_rome.editing.learned.probe import difference, probe_of
from lens_rome.editing.learned.rows import TargetRows, token_pair
from lens_rome.editing.learned.state import part_of
from lens_rome.editing.requests import as_requests, warn_of_same_fact
from lens_rome.editing.rome import Moments
from lens_rome.editing.search import differentiable
from lens_rome.errors import EditMismatchError, FileFormatError
from lens_rome.facts import EditRequest
from lens_rome.surface import AbstractSurface, as_surface

_BATCH = 16  # requests of one backward pass; bounds memory


class SeenSubjectWarning(UserWarning):
    """A learned editor is asked to edit a subject that it was trained on: its scores there say little."""


@dataclass(frozen=True, eq=False)
class TrainedEditor:
    """An editor and its trained network. A request's change depends on the request and the model's weights alone: not
    on earlier edits by the same editor, not on other requests of the same call.
    """

    editor: LearnedEditor
    """Its settings."""
    learned: Learned

    editor_type: ClassVar[type[LearnedEditor]]

    @property
    def record(self) -> TrainingRecord:
        """How it was trained: on which model and subjects, and the losses on the way."""
        return self.learned.record

    @property
    def prepend_bos(self) -> bool:
        """Whether its edits are made with BOS: as it was trained."""
        return self.record.prepend_bos

    @property
    def name(self) -> str:
        """What the method is called in messages, files and tables."""
        return self.editor.name

    def edit(
        self,
        model: Model,
        requests: EditRequest | Sequence[EditRequest],
        *,
        moments: Moments = None,  # noqa: ARG002 - as all editors
    ) -> Edit:
        """One edit that holds all requests: the sum of what each would get alone, as the factors of all their tokens
        add up (the published batch). All are made for the model as it is; to make them one after another, edit the
        edited model.

        Args:
            model: the one that the editor was trained on, with or without edits of its MLPs in it.
            requests: one or several. The changes of two of the same fact add up like any, with a `SameFactWarning`.
            moments: not needed; taken since all editors take it.

        Raises:
            EditMismatchError: another model, or another weight processing.
            SurfaceError, FactError, EditError: unsupported model, unusable request.
        """
        wanted = as_requests(requests)
        warn_of_same_fact(wanted, self.name, "adds up what each would get alone")
        parts = self._parts(model, wanted)
        deltas: dict[Place, Delta] = dict(parts[0][0])
        for more, _ in parts[1:]:
            deltas = {place: deltas[place] + delta for place, delta in more.items()}
        return self._made(as_surface(model), deltas, wanted, [logprob for _, logprob in parts])

    def edit_each(
        self,
        model: Model,
        requests: Sequence[EditRequest],
        *,
        moments: Moments = None,  # noqa: ARG002 - as all editors
    ) -> list[Edit]:
        """An independent edit for each request, some in one backward pass. Arguments and errors as in `edit`."""
        wanted = as_requests(requests)
        parts = self._parts(model, wanted)
        surface = as_surface(model)
        return [
            self._made(surface, deltas, [request], [logprob])
            for request, (deltas, logprob) in zip(wanted, parts, strict=True)
        ]

    def _parts(self, model: Model, wanted: list[EditRequest]) -> list[tuple[dict[Place, LowRankDelta], float]]:
        """Each request's changes, and the joint log-probability of its target before."""
        surface = as_surface(model)
        self._check(surface)
        self._warn_of_seen(wanted)
        pairs = [token_pair(surface, r.prompt, r.target_new, self.record.prepend_bos) for r in wanted]
        found = []
        with differentiable(surface):
            for start in range(0, len(pairs), _BATCH):
                rows = TargetRows.of(pairs[start : start + _BATCH])
                factors = gradient_factors(surface, self.learned.structure.places, rows)
                with torch.no_grad():
                    changes = self.learned.network(factors)
                for i, logprob in enumerate(factors.logprobs):
                    found.append(({place: change.delta(i) for place, change in changes.items()}, logprob))
        return found

    def _made(
        self,
        surface: AbstractSurface,
        deltas: Mapping[Place, Delta],
        wanted: list[EditRequest],
        before: list[float],
    ) -> Edit:
        """The edit with its provenance."""
        edit = Edit.made_for(surface, deltas, {})
        after = self._logprobs(surface, edit, wanted)
        shares = [share for _, share in edit.norms().values()]
        diagnostics = [
            {"prob_before": math.exp(old), "prob_after": math.exp(new), "relative_norm": max(shares)}
            for old, new in zip(before, after, strict=True)
        ]
        provenance = {
            "editor": self.name,
            "settings": self.editor.jsonable(),
            "trained_on": {"model": self.record.model, "step": self.record.step, "seconds": self.record.seconds},
            "model": surface.model_name,
            "surface": surface.name,
            "prepend_bos": self.record.prepend_bos,
            "requests": [asdict(request) for request in wanted],
            "diagnostics": diagnostics,
        }
        return Edit(edit.deltas, edit.bases, provenance)

    @torch.no_grad()
    def _logprobs(self, surface: AbstractSurface, edit: Edit, wanted: list[EditRequest]) -> list[float]:
        """Joint log-probability of each target with the edit as hooks."""
        pairs = [token_pair(surface, r.prompt, r.target_new, self.record.prepend_bos) for r in wanted]
        found: list[float] = []
        with edit.hooked(surface.model):
            for start in range(0, len(pairs), _BATCH):
                rows = TargetRows.of(pairs[start : start + _BATCH])
                found += rows.joint(rows.logprobs(surface.run(rows.tokens)))
        return found

    def _check(self, surface: AbstractSurface) -> None:
        """Raise `EditMismatchError` unless the editor was trained on this model with this weight processing."""
        layers = self.learned.structure.layers
        fits = max(layers) < surface.n_layers
        other = difference(probe_of(surface, layers), self.learned.probe) if fits else "number of layers"
        if other is not None:
            raise EditMismatchError(
                f"this {self.name} was trained on {self.record.model!r}; {surface.model_name!r} differs from it: "
                f"{other}. Weight processing (folded norms, centring) makes such a difference too. Train one with "
                f"{self.name}(...).fit(model, ...)."
            )

    def _warn_of_seen(self, wanted: list[EditRequest]) -> None:
        seen = sorted({request.subject for request in wanted} & self.record.subjects)
        if seen:
            warn_caller(
                f"this {self.name} was trained on facts about {', '.join(map(repr, seen[:5]))}"
                f"{' and others' if len(seen) > 5 else ''}: its edits of them say little about other subjects. Score "
                "it on subjects that are not in trained.record.subjects.",
                SeenSubjectWarning,
            )

    # -- files -------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write network, settings and record to one safetensors file."""
        tensors = {f"network/{name}": tensor for name, tensor in self.learned.network.state_dict().items()}
        description = {
            "settings": self.editor.jsonable(),
            "structure": self.learned.structure.jsonable(),
            "record": self.record.jsonable(),
        }
        tensors |= {f"probe/{name}": tensor for name, tensor in self.learned.probe.items()}
        return save_tensors(path, _kind(self.name), tensors, description)

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> Self:
        """Read what `save` wrote.

        Raises:
            FileFormatError: truncated, corrupt, or not an editor of this kind.
        """
        tensors, told = load_tensors(path, _kind(cls.editor_type().name))
        try:
            editor = cls.editor_type.read(told["settings"])
            structure = Structure.read(told["structure"])
            with torch.random.fork_rng(devices=[]):
                network = editor.new_network(structure)
            network.load_state_dict(part_of(tensors, "network/"))
            probe = part_of(tensors, "probe/")
            if not probe:  # files of before the probe knew weight processing
                raise KeyError("probe")
            record = TrainingRecord.read(told["record"])
        except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            raise FileFormatError(f"{path} is not a complete file of a {cls.__name__}: {error}.") from error
        return cls(editor, Learned(network.requires_grad_(False).to(device), structure, record, probe))

    def __repr__(self) -> str:
        """Name, model, layers, and how it was trained."""
        best = min(self.record.history, key=lambda entry: entry["loss"])
        return (
            f"{type(self).__name__}(model {self.record.model!r}, layers {list(self.learned.structure.layers)}, "
            f"{len(self.record.training_subjects)} subjects, step {self.record.step}: validation NLL {best['nll']:.2f} "
            f"nats, KL {best['kl']:.3f} nats)"
        )


def _kind(name: str) -> str:
    return f"trained {name}"
