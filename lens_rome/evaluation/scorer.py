"""Many records, each under its own edited model, in as few runs as it takes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from lens_rome.editing import Edit
from lens_rome.editing.hooks import has_hook_form
from lens_rome.editing.row_hooks import check_edits
from lens_rome.errors import LensRomeError
from lens_rome.evaluation.engine import needs_whole_runs, run_rows, run_stems
from lens_rome.evaluation.likelihood import Likelihood
from lens_rome.evaluation.questions import AskedPrompt, Question
from lens_rome.evaluation.report import PromptScore
from lens_rome.evaluation.score_rows import (
    Ask,
    ScoreRow,
    Tokenized,
    batches_of,
    parts_of,
    rows_of,
    stems_of,
    with_common_starts,
)
from lens_rome.facts import EvalRecord
from lens_rome.surface import AbstractSurface

_ON_CPU, _ON_GPU = 1024, 16384
"""Positions of one forward: what a processor's caches like, and what keeps a GPU busy."""

Found = dict[Question, Likelihood]


@dataclass(frozen=True)
class Job:
    """A record, its prompts, and the edit under which they are scored."""

    record: EvalRecord
    prompts: Sequence[AskedPrompt]
    edit: Edit | None
    prepend_bos: bool


class Scorer:
    """Scores records and remembers what the unedited model said; the model must stay as it is meanwhile.

    Args:
        expected: targets that will be asked about after each prompt, as far as known: the unedited model is asked
            about all of them when the prompt runs first.
        unedited: what the unedited model has said already; what it says from now on is added.
    """

    def __init__(
        self,
        surface: AbstractSurface,
        expected: Mapping[str, Iterable[str]],
        *,
        before: bool,
        weights: bool,
        batch_tokens: int | None,
        unedited: Found | None = None,
    ) -> None:
        self.surface, self.before, self.weights, self._expected = surface, before, weights, expected
        self.batch_tokens = batch_tokens or (_ON_CPU if surface.device.type == "cpu" else _ON_GPU)
        self._unedited: Found = {} if unedited is None else unedited
        self._known: dict[tuple[int, ...], list[Ask]] = {}
        self._whole: bool | None = None

    def score(self, jobs: Sequence[Job]) -> list[list[PromptScore]]:
        """The scores of each record, in the order of its prompts.

        Raises:
            EditMismatchError: the model's weights are not those that an edit was made for.
        """
        edits = list({id(job.edit): job.edit for job in jobs if job.edit is not None}.values())
        questions: dict[int, list[Question]] = {id(edit): [] for edit in edits}
        for job in jobs:
            asked = (question for prompt in job.prompts for question in prompt.questions)
            questions.setdefault(id(job.edit), []).extend(asked)
        asks = self._asks([question for asked in questions.values() for question in asked])
        if self._whole is None and asks:
            self._whole = needs_whole_runs(self.surface, next(iter(asks.values())).prompt)
        own = {key: [asks[question] for question in dict.fromkeys(asked)] for key, asked in questions.items()}
        self._ask_unedited(own.get(id(None), []))
        found = self._ask_edited(edits, own) | {id(None): self._unedited}
        before = self._unedited if self.before else None
        return [[prompt.score(found[id(job.edit)], before) for prompt in job.prompts] for job in jobs]

    def _asks(self, questions: Sequence[Question]) -> dict[Question, Ask]:
        """The questions in tokens, and those that are expected about the same prompts."""
        tokenized, own = Tokenized(self.surface), list(dict.fromkeys(questions))
        asks = dict(zip(own, tokenized.asks(own), strict=True))
        others = (
            Question(question.prompt, target, question.prepend_bos)
            for question in own
            for target in self._expected.get(question.prompt, ())
        )
        new = [other for other in dict.fromkeys(others) if other not in asks]
        asks |= {ask.question: ask for ask in _usable(tokenized, new)}
        self._known = {}
        for ask in asks.values():
            self._known.setdefault(ask.prompt, []).append(ask)
        return asks

    def _ask_unedited(self, asks: Iterable[Ask]) -> None:
        self._run(self._unedited_rows(asks), (), {-1: self._unedited})

    def _unedited_rows(self, asks: Iterable[Ask], like: Sequence[ScoreRow] = ()) -> list[ScoreRow]:
        """Rows for questions that the unedited model has not yet been asked, and for those that are expected about the
        same prompts, with rows that fit into the batch of `like` if one is given.
        """
        prompts = dict.fromkeys(ask.prompt for ask in asks if ask.question not in self._unedited)
        known = [ask for prompt in prompts for ask in self._known[prompt] if ask.question not in self._unedited]
        if not like:
            return self._rows(known)
        first, start, longest = like[0].first, like[0].start, max(len(row.tokens) for row in like)
        rows = self._rows([ask for ask in known if len(ask.row) <= longest], -1, first)
        return [replace(row, start=start) for row in rows]

    def _ask_edited(self, edits: Sequence[Edit], own: dict[int, list[Ask]]) -> dict[int, Found]:
        found: dict[int, Found] = {id(edit): {} for edit in edits}
        hooked = [edit for edit in edits if not self.weights and has_hook_form(self.surface, edit.deltas)]
        check_edits(self.surface, hooked)
        if self.before and self._whole:
            for edit in hooked:
                self._ask_unedited(own[id(edit)])
        rows = [
            row
            for owner, edit in enumerate(hooked)
            for row in self._rows(own[id(edit)], owner, min((layer for layer, _ in edit.deltas), default=0))
        ]
        self._run(rows, hooked, {-1: self._unedited, **{i: found[id(edit)] for i, edit in enumerate(hooked)}})
        for edit in edits:
            if edit not in hooked:
                if self.before:
                    self._ask_unedited(own[id(edit)])
                with edit.applied(self.surface.model):
                    self._run(self._rows(own[id(edit)]), (), {-1: found[id(edit)]})
        return found

    def _rows(self, asks: Sequence[Ask], owner: int = -1, first: int = 0) -> list[ScoreRow]:
        return rows_of(asks, owner, first, shared=not self._whole)

    def _run(self, rows: Sequence[ScoreRow], edits: Sequence[Edit], found: dict[int, Found]) -> None:
        """Answer all questions of the rows into the `found` of their owners, and with `before` the same questions to
        the unedited model in the same runs.
        """
        twice = bool(edits) and self.before and not self._whole
        size = self.batch_tokens // (1 + twice)
        for part in parts_of(with_common_starts(rows, size), size):
            stems = run_stems(self.surface, stems_of(part, unedited=twice), edits)
            for batch in batches_of(part, size, padded=not self._whole):
                both = list(batch)
                if twice:
                    both += self._unedited_rows((ask for row in batch for ask in row.asks), batch)
                answers = run_rows(self.surface, both, edits, stems, whole=bool(self._whole))
                for row, told in zip(both, answers, strict=True):
                    found[row.owner].update(zip((ask.question for ask in row.asks), told, strict=True))


def _usable(tokenized: Tokenized, questions: Sequence[Question]) -> list[Ask]:
    """The questions in tokens but for those that cannot be asked, which are an error of the records that ask them."""
    try:
        return tokenized.asks(questions)
    except LensRomeError:
        if len(questions) == 1:
            return []
    return [ask for question in questions for ask in _usable(tokenized, [question])]
