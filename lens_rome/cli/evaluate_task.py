"""What `lens-rome evaluate` was asked to do, as a value that another process can be handed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lens_rome.cli.editors import EditorOptions, moments_for
from lens_rome.cli.evaluate_data import DataOptions, references_of
from lens_rome.cli.models import Loaded, load
from lens_rome.cli.options import Precision
from lens_rome.cli.reporting import CommandError
from lens_rome.editing import (
    Edit,
    EditingProblem,
    ErrorInjection,
    FactAmplification,
    FactErasure,
    FactForcing,
    TracingReversal,
)
from lens_rome.editing.describe import title
from lens_rome.evaluation import Asked, Evaluation, TextSettings
from lens_rome.facts import EditRequest, EvalRecord
from lens_rome.moments import SecondMoments
from lens_rome.runs.chunk import Compute

PROBLEMS: dict[str, type[EditingProblem]] = {
    "error-injection": ErrorInjection,
    "tracing-reversal": TracingReversal,
    "fact-erasure": FactErasure,
    "fact-amplification": FactAmplification,
    "fact-forcing": FactForcing,
}
_NOISED = ("tracing-reversal", "fact-forcing")


def problem_of(name: str | None, noise: float | None) -> EditingProblem | None:
    """The editing problem of `--problem` and `--noise`.

    Raises:
        CommandError: no such problem, or noise for one without, or none for one with.
    """
    if name is not None and name not in PROBLEMS:
        raise CommandError(f"--problem takes one of {', '.join(PROBLEMS)}; got {name!r}.")
    if (noise is not None) != (name in _NOISED):
        raise CommandError(f"--noise is of --problem {' and '.join(_NOISED)}: these need it, others have none.")
    if name is None:
        return None
    return PROBLEMS[name]() if noise is None else PROBLEMS[name](noise)  # pyright: ignore[reportCallIssue]


@dataclass(frozen=True)
class EvaluateTask:
    """The model, the records, the editor, and what is asked; nothing of it is loaded.

    Raises:
        CommandError: options that do not go together.
    """

    model: str
    data: DataOptions = field(default_factory=DataOptions)
    editor: EditorOptions | None = None
    """None for the unedited model, or for an edit."""
    edit: Path | None = None
    moments: str | None = None
    surface: str | None = None
    device: str = "cpu"
    dtype: Precision = Precision.float32
    bos: bool | None = None
    texts: TextSettings | None = None
    references: str | None = None
    tfidf: Path | None = None
    essence: bool = False
    before: bool = True
    refused: str = "raise"
    metrics: tuple[str, ...] = ()
    """Empty for what the other fields ask for."""
    problem: EditingProblem | None = None
    contexts: tuple[str, ...] | None = None
    """Context prefixes of the editor that another process has sampled; None to sample them where it asks for some."""

    def __call__(self) -> Compute:
        """What a worker computes, with the model loaded there."""
        return self.evaluation().rows

    def __post_init__(self) -> None:
        if self.texts is None and (self.references is not None or self.essence):
            raise CommandError("--references and --essence score texts; add --texts.")
        if self.tfidf is not None and self.references is None:
            raise CommandError("--tfidf tells how rare the words of --references are; give these too.")
        if self.refused not in ("raise", "unedited"):
            raise CommandError(f"--refused takes raise or unedited; got {self.refused!r}.")
        if self.moments is not None and self.editor is None:
            raise CommandError("--moments are for an editor; leave them out.")

    @property
    def is_plain(self) -> bool:
        """Whether the model is scored as it is."""
        return self.editor is None and self.edit is None

    def evaluation(self, device: str | None = None) -> Evaluation:
        """The job, with the model loaded. The same in every process.

        Args:
            device: instead of the task's own.

        Raises:
            CommandError, LensRomeError: a model, editor or file that cannot be used.
        """
        edit = None if self.edit is None else Edit.load(self.edit)
        editor = None if self.editor is None else self.editor.make(self.model)
        if editor is not None and self.contexts is not None:
            editor = replace(editor, contexts=self.contexts)  # pyright: ignore[reportArgumentType, reportCallIssue]
        given = None if self.moments in (None, "identity") else SecondMoments.load(str(self.moments))
        loaded = load(self.model, self.surface, device or self.device, self.dtype)
        records = self._records(loaded, edit)
        moments = None if editor is None else moments_for(editor, loaded, given or self.moments)
        changes: Any = editor if edit is None else edit
        return Evaluation(loaded.model, records, changes, moments=moments, asked=self._asked(loaded, records))

    @property
    def label(self) -> str:
        """What the report calls itself where no other name is given."""
        if self.edit is not None:
            return title(Edit.load(self.edit).provenance)
        return "unedited" if self.editor is None else self.editor.make(self.model).name

    def _records(self, loaded: Loaded, edit: Edit | None) -> list[EvalRecord]:
        records = self.data.records(loaded.world)
        return records if edit is None else _of_edit(records, edit)

    def _asked(self, loaded: Loaded, records: Sequence[EvalRecord]) -> Asked:
        references = self.references and references_of(self.references, self.tfidf, records, loaded.world)
        asked = Asked(
            None if self.editor is not None else self.bos,  # An editor has its own.
            before=self.before and not self.is_plain,
            texts=self.texts,
            references=references or None,
            essence=self.essence,
            refused=self.refused,
            problem=self.problem,
        )
        return asked.for_metrics(self.metrics) if self.metrics else asked


def _of_edit(records: Sequence[EvalRecord], edit: Edit) -> list[EvalRecord]:
    """The records whose request is one of the edit's."""
    requests = edit.provenance.get("requests", [])
    made = {(told.get("subject"), told.get("template"), told.get("target_new")) for told in requests}
    found = [record for record in records if _key(record.request) in made]
    if not found:
        raise CommandError(
            f"none of the {len(records)} records asks for what the edit does ({len(made)} requests; subject, template "
            "and new object are compared). Give the --data that it was made of."
        )
    return found


def _key(request: EditRequest) -> tuple[str, str, str]:
    return request.subject, request.template, request.target_new
