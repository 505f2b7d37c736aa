"""The edits of the study as a job: every record by every method at every layer for every problem."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from lens_rome._typing import Model
from lens_rome.editing import ROME, RROME, EditingProblem, FactErasure
from lens_rome.editing.spread import SpreadEditor
from lens_rome.errors import EditError, EditMismatchError, LensRomeError
from lens_rome.evaluation import Asked, Evaluation, PromptScore, TextSettings, identity
from lens_rome.evaluation.job import Memory, Scored
from lens_rome.evaluation.making import Moments
from lens_rome.evaluation.noised import check_noised, posed
from lens_rome.facts import EvalRecord
from lens_rome.moments import moment_for
from lens_rome.studies.localization.methods import Method
from lens_rome.studies.localization.scoring import CellScores
from lens_rome.surface import as_surface
from lens_rome.surface.digest import model_digest

TOGETHER = 32
"""Records of one method, layer and problem that are edited together, at most."""
LEAST_PROB = 0.02
"""Probability of the true object below which there is nothing to erase (their §4)."""


class Cell(NamedTuple):
    """What a row is of."""

    record: str
    problem: str
    method: str
    layer: int

    @property
    def id(self) -> str:
        """Names the row in the run."""
        return "|".join((self.record, self.problem, self.method, str(self.layer)))


@dataclass(frozen=True, eq=False)
class LocalizationJob:
    """The edits; an engine needs no more than `ids`, `settings` and `rows`. The model must stay as it is meanwhile.

    Raises:
        EditError: nothing to study, a record without true object, something named twice, or no such layer.
        MomentError: a method needs a moment that is not there, or not of this model.

    Args:
        layers: at which every method is put.
        noise: of the traces, and of the problems that have some.
        essence: how essence texts are written; None for no essence score.
    """

    model: Model
    records: Sequence[EvalRecord]
    problems: Sequence[EditingProblem]
    methods: Sequence[Method]
    layers: Sequence[int]
    noise: float
    moments: Moments = None
    essence: TextSettings | None = None

    def __post_init__(self) -> None:
        parts: dict[str, list[Any]] = {
            "records": [record.case_id for record in self.records],
            "problems": [problem.name for problem in self.problems],
            "methods": [method.name for method in self.methods],
            "layers": list(self.layers),
        }
        for what, names in parts.items():
            if not names:
                raise EditError(f"the study needs {what}, got none.")
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise EditError(f"the study has each of its {what} once; {twice!r} is there several times.")
        blank = next((record.case_id for record in self.records if not record.request.target_true), None)
        if blank is not None:
            raise EditError(f"the study is about true objects, and record {blank} has none. Leave it out.")
        strange = next((layer for layer in self.layers if not 0 <= layer < self._surface.n_layers), None)
        if strange is not None:
            raise EditError(f"layer {strange} does not exist: the model has layers 0 to {self._surface.n_layers - 1}.")
        self._check_moments()

    # -- a run -------------------------------------------------------------------------------------------------------

    @property
    def chunk_size(self) -> int:
        """Rows that are computed together: about equal numbers of records, `TOGETHER` at most."""
        n = len(self.records)
        return math.ceil(n / math.ceil(n / TOGETHER))

    @property
    def contexts(self) -> dict[str, tuple[str, ...]]:
        """The context prefixes that the edits of each method are made with, for methods that have some."""
        found = {method.name: self._editor(method, self.problems[0], self.layers[0]) for method in self.methods}
        told = {name: getattr(editor, "contexts", None) for name, editor in found.items()}
        return {name: tuple(contexts) for name, contexts in told.items() if contexts is not None}

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """All cells by their ids; those of a chunk differ in the record alone, unless the last group of records is
        smaller than the others.
        """
        found = [
            Cell(str(record.case_id), problem.name, method.name, layer)
            for start in range(0, len(self.records), self.chunk_size)
            for problem in self.problems
            for method in self.methods
            for layer in self.layers
            for record in self.records[start : start + self.chunk_size]
        ]
        return {cell.id: cell for cell in found}

    @property
    def ids(self) -> list[str]:
        """The ids of all cells."""
        return list(self.cells)

    def settings(self) -> dict[str, Any]:
        """Everything that the rows depend on, but for rounding."""
        asked = self._asked(self.problems[0])
        editors = {
            problem.name: {
                method.name: identity.describe_editor(self._editor(method, problem, self.layers[0]))
                for method in self.methods
            }
            for problem in self.problems
        }
        return {
            "model": self._surface.model_name,
            "weights_digest": model_digest(self._surface),
            "surface": self._surface.name,
            "dtype": str(self._surface.dtype).removeprefix("torch."),
            "records": identity.records_digest(self.records),
            "problems": {problem.name: asdict(problem) for problem in self.problems},
            "layers": list(self.layers),
            "widths": {method.name: method.width for method in self.methods},
            "editors": editors,
            "moments": identity.describe_moments(self.moments),
            "essence": None if self.essence is None else asdict(replace(self.essence, rows=None)),
            "metrics": list(asked.metrics),
            "chunk_size": self.chunk_size,
        }

    def rows(self, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        """A row for each id, for `execute`."""
        together: dict[tuple[str, str, int], list[Cell]] = {}
        for name in ids:
            cell = self.cells[name]
            together.setdefault(cell[1:], []).append(cell)
        for cells in together.values():
            yield from self._rows(cells)

    # -- one method at one layer for one problem ---------------------------------------------------------------------

    def _rows(self, cells: Sequence[Cell]) -> Iterator[dict[str, Any]]:
        problem, method = self._problem(cells[0].problem), self._method(cells[0].method)
        refused = {cell: self._refused(problem, self._records[cell.record]) for cell in cells}
        asked = [cell for cell in cells if not refused[cell]]
        told: dict[Cell, dict[str, Any]] = {cell: {"missing": why} for cell, why in refused.items() if why}
        if asked:
            editor = self._editor(method, problem, cells[0].layer)
            told |= dict(zip(asked, self._scored(problem, editor, asked), strict=True))
        for cell in cells:
            yield {"id": cell.id, **cell._asdict(), **told[cell]}

    def _scored(self, problem: EditingProblem, editor: Any, cells: Sequence[Cell]) -> list[dict[str, Any]]:
        records = [self._records[cell.record] for cell in cells]
        job = Evaluation(
            self.model, records, editor, moments=self.moments, asked=self._asked(problem), memory=self._memory
        )
        writer = job.writer()
        scored = list(job.scored(records, writer))
        essence = {row.case_id: row.essence for row in writer.rows(before=False)} if writer else {}
        return [_row(problem, each, essence.get(each.case.case_id)) for each in scored]

    def _refused(self, problem: EditingProblem, record: EvalRecord) -> str:
        """Why the problem cannot be posed for a record; empty if it can. Asked once."""
        key = (problem.name, record.case_id)
        if key not in self._why:
            self._why[key] = self._poses(problem, record)
        return self._why[key]

    def _poses(self, problem: EditingProblem, record: EvalRecord) -> str:
        try:
            as_posed = posed(problem, self._surface, record, self.prepend_bos)
            check_noised(problem, as_posed)
        except EditMismatchError:
            raise
        except LensRomeError as error:
            return str(error)
        if isinstance(problem, FactErasure):
            (prob,) = problem.probabilities(self.model, [as_posed.request], prepend_bos=self.prepend_bos)
            if prob < LEAST_PROB:
                return f"the true object has a probability of {prob:.3g}, below {LEAST_PROB}: there is nothing to erase"
        return ""

    # -- parts -------------------------------------------------------------------------------------------------------

    @cached_property
    def _surface(self) -> Any:
        return as_surface(self.model)

    @cached_property
    def _memory(self) -> Memory:
        return Memory()

    @cached_property
    def _why(self) -> dict[tuple[str, int], str]:
        return {}

    @cached_property
    def _records(self) -> dict[str, EvalRecord]:
        """By case id; without the prompts of texts, which the study does not score."""
        return {str(record.case_id): replace(record, generation_prompts=()) for record in self.records}

    @cached_property
    def prepend_bos(self) -> bool:
        """Of all methods, which must agree."""
        found = {
            self._surface.prepends_bos(getattr(editor, "prepend_bos", None))
            for method in self.methods
            for editor in (method.editor, *method.by_problem.values())
        }
        if len(found) > 1:
            raise EditError("some methods prepend BOS and some do not. Give all of them one prepend_bos.")
        return found.pop()

    def _check_moments(self) -> None:
        """Look for the moment of every layer now: a study traces for hours before its first edit."""
        bos, layers = self.prepend_bos, set[int]()
        for method in self.methods:
            for editor in (method.at(problem, at, self._n_layers) for problem in self.problems for at in self.layers):
                if isinstance(editor, SpreadEditor):
                    layers |= set(editor.layers)
                elif isinstance(editor, ROME | RROME):
                    layers.add(editor.layer)
        for layer in sorted(layers):
            moment_for(self._surface, layer, self.moments, bos)

    def _problem(self, name: str) -> EditingProblem:
        return next(problem for problem in self.problems if problem.name == name)

    def _method(self, name: str) -> Method:
        return next(method for method in self.methods if method.name == name)

    @cached_property
    def _with_contexts(self) -> dict[tuple[str, str], Any]:
        return {}

    def _editor(self, method: Method, problem: EditingProblem, layer: int) -> Any:
        """The editor at a layer, with contexts that are sampled once."""
        key = (method.name, problem.name)
        if key not in self._with_contexts:
            self._with_contexts[key] = identity.with_contexts(method.at(problem, layer, self._n_layers), self._surface)
        contexts = getattr(self._with_contexts[key], "contexts", None)
        editor = method.at(problem, layer, self._n_layers)
        return replace(editor, contexts=contexts) if contexts is not None else editor

    @property
    def _n_layers(self) -> int:
        return int(self._surface.n_layers)

    def _asked(self, problem: EditingProblem) -> Asked:
        names = ("RwS", "PaS", "NeS") if self.essence is None else ("RwS", "PaS", "NeS", "Ess")
        return Asked(texts=self.essence, refused="unedited", problem=problem).for_metrics(names)


def _row(problem: EditingProblem, scored: Scored, essence: float | None) -> dict[str, Any]:
    """Scores as the released code clips them, and as they are."""
    case, rows = scored.case, scored.scores
    if case.refused:
        return {"missing": case.refused, "seconds": case.seconds}
    told = {"missing": "", "seconds": case.seconds, "change": case.change}
    told |= {"clipped": _plain(CellScores.of(problem, rows, essence))}
    told |= {"scores": _plain(CellScores.of(problem, rows, essence, clipped=False))}
    return told | {"probs": _probs(rows)}


def _plain(scores: CellScores) -> Mapping[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in asdict(scores).items()}


def _probs(rows: Sequence[PromptScore]) -> list[float] | None:
    """The target's joint probability after the rewrite prompt, before and after the edit."""
    for row in rows:
        if row.group == "rewrite" and row.before_new is not None:
            return [row.before_new.prob, row.new.prob]
    return None
