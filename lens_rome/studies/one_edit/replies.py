"""What both models said: to each question, and in texts of their own."""

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lens_rome.editing import Edit
from lens_rome.studies.one_edit.questions import GROUPS, Question
from lens_rome.studies.probes.asking import Said, said
from lens_rome.studies.probes.texts import mentions
from lens_rome.surface import AbstractSurface


@dataclass(frozen=True)
class Reply:
    """Both models' answer to one question.

    Probabilities of two objects are geometric means over the tokens of each, ROME's measure, so that objects of
    different lengths can be compared; where one is asked for alone, it is its joint probability. NaN where it was not
    asked for.
    """

    question: Question
    new_before: float
    new_after: float
    old_before: float
    old_after: float
    old_rank_before: int
    """Of the old object's first token among all next tokens, 1 for the most likely; 0 where it was not asked for."""
    old_rank_after: int
    top_before: str
    """The most likely next token, without spaces around it."""
    top_after: str

    @property
    def right_before(self) -> bool | None:
        """Whether the unedited model said what is right after the edit; None where nothing is required."""
        return self._right(self.new_before, self.old_before, self.old_rank_before)

    @property
    def right(self) -> bool | None:
        """The same of the edited model: the right object is likelier than the other one, or, for answers of their own
        (`Group.first`), begins with the most likely token of all.
        """
        return self._right(self.new_after, self.old_after, self.old_rank_after)

    def _right(self, new: float, old: float, rank: int) -> bool | None:
        group = GROUPS[self.question.group]
        if group.first:
            return rank == 1
        return None if not group.wants else new > old if group.wants == "new" else old > new


@dataclass(frozen=True)
class Written:
    """What both models wrote after a prompt, from the same stream of chance. Both texts begin with the prompt."""

    prompt: str
    before: str
    after: str

    def mentions(self, words: str) -> tuple[bool, bool]:
        """Whether words stand in what was written after the prompt, before and after the edit: whole, in any case."""
        start = unicodedata.normalize("NFKD", self.prompt).replace("\n\n", " ")
        found = [mentions(text.removeprefix(start), [words]) > 0 for text in (self.before, self.after)]
        return found[0], found[1]


def ask(
    surface: AbstractSurface, questions: Sequence[Question], edit: Edit, prepend_bos: bool | None = None
) -> tuple[Reply, ...]:
    """Ask the model as it is and with the edit; it comes back as it was.

    Raises:
        FactError: an object without tokens of its own after its prompt.  SurfaceError: a prompt that is too long.
        EditMismatchError: the edit was made for other weights.
    """
    asked = [(each.prompt, target) for each in questions for target in (each.new, each.old) if target]
    before, after = (iter(said(surface, asked, each, prepend_bos=prepend_bos)) for each in (None, edit))
    return tuple(_reply(each, (next(before), next(after)), before, after) for each in questions)


def _reply(question: Question, new: tuple[Said, Said], before: Iterator[Said], after: Iterator[Said]) -> Reply:
    if not question.old:
        first, second = (math.exp(each.logprob) for each in new)
        return Reply(question, first, second, math.nan, math.nan, 0, 0, new[0].top, new[1].top)
    old = next(before), next(after)
    return Reply(
        question,
        new_before=_prob(new[0]),
        new_after=_prob(new[1]),
        old_before=_prob(old[0]),
        old_after=_prob(old[1]),
        old_rank_before=old[0].rank,
        old_rank_after=old[1].rank,
        top_before=new[0].top,
        top_after=new[1].top,
    )


def _prob(found: Said) -> float:
    """Geometric mean over the tokens."""
    return math.exp(found.logprob / found.tokens)
