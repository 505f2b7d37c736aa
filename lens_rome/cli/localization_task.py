"""What `lens-rome study localization` was asked to do, as a value that another process can be handed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lens_rome.cli.evaluate_data import DataOptions
from lens_rome.cli.evaluate_task import PROBLEMS
from lens_rome.cli.models import Loaded, Recipe, load
from lens_rome.cli.reporting import CommandError
from lens_rome.editing import EditingProblem, editing_problems, problem_noise
from lens_rome.errors import EditError
from lens_rome.facts import EvalRecord
from lens_rome.moments import SecondMoments
from lens_rome.runs.chunk import Compute
from lens_rome.studies.localization import METHODS, LocalizationJob, Method, known_records, study_job, study_methods
from lens_rome.tracing import subject_deviation

_DEVIATIONS = 3
"""Of the subjects' embeddings: the noise of a model that the paper has none for."""


@dataclass(frozen=True)
class LocalizationTask:
    """The model, the records and the methods; nothing of it is loaded."""

    recipe: Recipe
    data: DataOptions = field(default_factory=DataOptions)
    methods: tuple[str, ...] = METHODS
    preset: str | None = None
    """The model whose settings the methods have; None for the model itself."""
    problems: tuple[str, ...] = tuple(PROBLEMS)
    layers: tuple[int, ...] | None = None
    noise: float | None = None
    moments: str | None = None
    essence: bool = True
    bos: bool | None = None
    seed: int = 0
    contexts: Mapping[str, tuple[str, ...]] | None = None
    """Context prefixes of the methods that another process has sampled."""
    known: tuple[int, ...] | None = None
    """Case ids of the facts that another process has found the model to know; None to ask it."""

    def __call__(self) -> Compute:
        """What a worker computes, with the model loaded there."""
        return self.job().rows

    def job(self, device: str | None = None) -> LocalizationJob:
        """The job, with the model loaded and its known records found. The same in every process.

        Args:
            device: instead of the task's own.

        Raises:
            CommandError, LensRomeError: options, a model or a file that cannot be used.
        """
        methods = self._methods()
        given = None if self.moments in (None, "identity") else SecondMoments.load(str(self.moments))
        recipe = self.recipe
        loaded = load(recipe.name, recipe.surface, device or recipe.device, recipe.dtype)
        records = self._known(loaded)
        noise = self._noise(loaded, records)
        return study_job(
            loaded.model,
            records,
            methods,
            noise=noise,
            moments=self._moments(loaded, given),
            problems=self._problems(noise),
            layers=self.layers,
            essence=self.essence,
            seed=self.seed,
        )

    def as_found(self, job: LocalizationJob) -> "LocalizationTask":
        """The task with what `job` has found out, so that no process finds anything else."""
        known = tuple(record.case_id for record in job.records)
        return replace(self, contexts=job.contexts, known=known, noise=job.noise)

    @property
    def marks(self) -> dict[str, Any]:
        """The layers that ROME and MEMIT edit by their own settings, for pictures: `edited` and `shade`, and what they
        are.
        """
        found: dict[str, Any] = {}
        for method in self._methods():
            if method.name == "ROME":
                found["edited"] = method.editor.layer
                found["edited_is"] = "the layer that ROME edits by its own settings"
            if method.name == "MEMIT":
                found["shade"] = (min(method.editor.layers), max(method.editor.layers))
                found["shade_is"] = "the layers that MEMIT edits by its own settings"
        return found

    def _methods(self) -> tuple[Method, ...]:
        try:
            methods = study_methods(self.preset or Path(self.recipe.name).name, self.methods)
        except EditError as error:
            raise CommandError(f"{error} On the command line: --preset NAME takes another model's.") from error
        return tuple(self._told(method) for method in methods)

    def _told(self, method: Method) -> Method:
        """The method with the BOS setting, seed and contexts of this task."""
        changes: dict[str, Any] = {} if self.bos is None else {"prepend_bos": self.bos}
        if hasattr(method.editor, "seed"):
            changes["seed"] = self.seed
        if self.contexts is not None and method.name in self.contexts:
            changes["contexts"] = self.contexts[method.name]
        others = {name: replace(editor, **changes) for name, editor in method.by_problem.items()}
        return replace(method, editor=replace(method.editor, **changes), by_problem=others)

    def _problems(self, noise: float) -> list[EditingProblem]:
        wanted = [PROBLEMS[name] for name in self.problems]
        return [problem for problem in editing_problems(noise) if type(problem) in wanted]

    def _known(self, loaded: Loaded) -> list[EvalRecord]:
        """The records that the model knows."""
        records = self.data.records(loaded.world)
        if self.known is None:
            return known_records(loaded.model, records, prepend_bos=self.bos)
        return [record for record in records if record.case_id in self.known]

    def _noise(self, loaded: Loaded, records: list[EvalRecord]) -> float:
        """The noise that was asked for, the paper's of the model, or three deviations of the subjects' embeddings."""
        if self.noise is not None:
            return self.noise
        try:
            return problem_noise(Path(self.recipe.name).name)
        except EditError:
            return _DEVIATIONS * subject_deviation(loaded.surface, [record.request.subject for record in records])

    def _moments(self, loaded: Loaded, given: SecondMoments | None) -> SecondMoments | str | None:
        if not {"ROME", "MEMIT"} & set(self.methods):
            return None
        if given is not None or self.moments is not None:
            return given or self.moments
        if loaded.world is not None:
            return loaded.world.moments
        raise CommandError(
            "ROME and MEMIT need second moments of all layers that they edit. Collect them: lens-rome moments --layers "
            "0,1,... --corpus FILE.txt --out moments.safetensors; then give --moments moments.safetensors, or "
            "--moments identity to edit without."
        )
