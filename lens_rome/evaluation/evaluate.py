"""Score edits on CounterFact-style records."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lens_rome._typing import Model
from lens_rome.editing.problems import EditingProblem
from lens_rome.errors import EditError
from lens_rome.evaluation.asked import Asked
from lens_rome.evaluation.job import CHUNK_SIZE, Evaluation
from lens_rome.evaluation.likelihood import likelihoods
from lens_rome.evaluation.making import Edits, Moments
from lens_rome.evaluation.questions import ASKED_GROUPS, asked_prompts
from lens_rome.evaluation.report import EvalReport, PromptScore
from lens_rome.evaluation.run_folder import check_ways, load_run, open_run, work_on
from lens_rome.evaluation.settings import TextSettings
from lens_rome.evaluation.texts import ReferenceTexts
from lens_rome.facts import EvalRecord
from lens_rome.surface import AbstractSurface


def evaluate(
    model: Model,
    records: Iterable[EvalRecord],
    edits: Edits = None,
    *,
    moments: Moments = None,
    metrics: Sequence[str] | None = None,
    problem: EditingProblem | None = None,
    prepend_bos: bool | None = None,
    label: str = "",
    progress: bool = False,
    before: bool = False,
    attributes: bool = False,
    weights: bool = False,
    batch_tokens: int | None = None,
    texts: TextSettings | None = None,
    references: ReferenceTexts | None = None,
    essence: bool = False,
    refused: str = "raise",
    out: str | Path | None = None,
    chunk_size: int = CHUNK_SIZE,
    shard: str | None = None,
    retry_errors: bool = False,
) -> EvalReport:
    """Efficacy, paraphrase, neighbourhood and text scores of edits, each record under its own edited model.

    Prompts of many records run together, each row with its own edit as hooks; the values are those of `score_record`
    record by record under `edit.applied(model)`, up to rounding. Edits without hook form (dense changes, rows of
    embeddings) are written into the weights one after the other instead. The model comes back bit for bit.

    `report.settings` tells how it was made: model, editors with their settings, and what was asked; `report.cases` what
    was asked of each record and how its edit was made.

    Args:
        edits: None for the unedited model; one `Edit` for all records; a mapping from case id to `Edit`; or an
            editor, which then makes one independent edit a record (with `moments`).
        metrics: names of `METRICS`: what they need is asked, and no more; None for the prompts of the rewrite, of
            paraphrases and of neighbours, and what the options below add. NS+, NM+, NKL and NKL+ (CounterFact+) are
            asked for by name only.
        problem: one of `editing.editing_problems`: the records' requests become that problem's, an editor is adapted to
            it, and scores are of its target on its input. Neighbours are asked for the false object, without noise.
        prepend_bos: None for the setting an edit was made with, and the model's own without an edit.
        label: what the report calls itself.
        before: score the unedited model too, into `before_new` and `before_true` of each score. A prompt of several
            records is asked only once.
        attributes: score the attribute prompts too; no published score is made of them.
        weights: write every edit into the weights. It matters in half precision: a weight is stored rounded, a hook
            adds the change as it is, so that an edited checkpoint may score a little differently. Much slower.
        batch_tokens: positions of one forward, padding included; None for 1024 on a CPU and 16384 elsewhere. The
            memory of activations grows with it, the scores do not depend on it.
        texts: let each edited model write after the generation prompts, and score that (GE; `TextSettings()` are the
            papers' settings). It takes much longer than all else. With `before` the unedited model writes too, from
            the same streams of chance.
        references: what the texts are compared with (RS), such as `lens_rome.datasets.References`.
        essence: score too how likely the unedited model's texts about each subject still are (Hase et al.).
        refused: what becomes of a record of which the editor makes no edit: `"raise"`, or `"unedited"` to score it
            without one, with the reason in its `RecordCase`.
        out: a folder that every finished chunk is written to at once. Called again with the same arguments after an
            interruption, it continues; it can be divided over processes that write to one folder. A record that fails
            is a row with its error there, and the others go on.
        chunk_size: records that are done and written together in a folder; what an interruption costs at most.
        shard: this process's share, such as `"2/8"`; None to take it from torchrun's or SLURM's environment.
        retry_errors: try records again that failed in an earlier call.

    Returns:
        With `out` all that is there so far, including what other processes have written; an `UnfinishedRunWarning`
        tells what is missing.

    Raises:
        EditError: no records, no edit for one of them, settings out of range, scores of texts without settings or
            generation prompts, a problem that has no target for a record, or an editor that refuses a record (the last
            two not with `out`).
        ReportError: no such metric.
        DatasetError: no reference texts for a record.
        EditMismatchError: an edit was made for other weights.
        FactError, SubjectSpanError, SurfaceError: a prompt or target that cannot be used, or is too long (not with
            `out`).
        RunError: `out` holds a run of another model, other records or other settings; nothing is written then. Or every
            record failed.
    """
    check_ways(out, chunk_size, shard, retry_errors)
    groups = (*ASKED_GROUPS, "attribute") if attributes else ASKED_GROUPS
    asked = Asked(prepend_bos, before, weights, batch_tokens, texts, references, essence, refused, problem, (), groups)
    asked = asked if metrics is None else asked.for_metrics(metrics)
    if isinstance(records, EvalRecord):
        raise EditError("records is one record; give a list of them, [record].")
    job = Evaluation(model, list(records), edits, moments=moments, asked=asked)
    if out is None:
        return job.report(label, progress=progress)
    run = open_run(out, job, label, chunk_size)
    work_on(run, job, chunk_size=chunk_size, shard=shard, retry_errors=retry_errors, progress=progress)
    return load_run(out, label=label or None)


def score_record(
    surface: AbstractSurface, record: EvalRecord, prepend_bos: bool | None = None, *, attributes: bool = False
) -> list[PromptScore]:
    """Both objects' likelihoods after every prompt of one record, under the model as it is now: the straightforward
    way, whole runs with a row for each prompt and object. `evaluate` gives the same, faster.

    Raises:
        FactError: as `evaluate`.
    """
    groups = (*ASKED_GROUPS, "attribute") if attributes else ASKED_GROUPS
    prompts = asked_prompts(record, surface.prepends_bos(prepend_bos), groups)
    questions = [question for prompt in prompts for question in prompt.questions]
    told = likelihoods(surface, [(question.prompt, question.target) for question in questions], prepend_bos)
    found = dict(zip(questions, told, strict=True))
    return [prompt.score(found) for prompt in prompts]
