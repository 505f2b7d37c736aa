"""The rows of an evaluation: one a prompt, one a record for the texts that the model wrote about it, and one a record
for what was asked.
"""

import math
from dataclasses import dataclass, field, replace

from lens_rome.evaluation.likelihood import Likelihood

GROUPS = {
    "rewrite": "new",
    "paraphrase": "new",
    "neighborhood": "true",
    "distracting_neighborhood": "true",
    "attribute": "new",
}
"""Kinds of prompts, and which of the two objects is right there after the edit."""

TEXTS = "texts"
"""The group of `RecordTexts`."""

MEASURES = frozenset({"nll", "joint", "exact", "tokens"})
"""What can be known of a likelihood: the mean per token, the joint probability, whether every token is the most likely,
and the share of tokens that are.
"""


@dataclass(frozen=True)
class PromptScore:
    """One prompt of one record under one model."""

    case_id: int
    group: str
    """rewrite, paraphrase, neighborhood, distracting_neighborhood (the edit's sentence before a neighbour's prompt) or
    attribute.
    """
    prompt: str
    new: Likelihood
    """Of the new object."""
    true: Likelihood | None = None
    """Of the object that held before, or of a neighbour's own answer (zsRE); None where none is known."""
    before_new: Likelihood | None = None
    """Of the new object under the unedited model; None where it was not asked."""
    before_true: Likelihood | None = None
    relation: str = ""
    """Of the record's request; empty where none is known."""
    known: frozenset[str] = field(default=MEASURES, repr=False)
    """What its likelihoods can be asked for: everything, but for rows that were read from case files."""
    divergence: float | None = None
    """KL of the next token's distribution from that of the unedited model, in nats; None where it was not asked."""

    @property
    def before(self) -> "PromptScore | None":
        """The row of the unedited model; None where it was not asked."""
        if self.before_new is None:
            return None
        new, true = self.before_new, self.before_true
        return replace(self, new=new, true=true, before_new=None, before_true=None, divergence=None)

    @property
    def nll_new(self) -> float:
        """Mean negative log-likelihood per token of the new object, in nats."""
        return self.new.nll

    @property
    def nll_true(self) -> float:
        """The same of the object that held before; NaN without one."""
        return math.nan if self.true is None else self.true.nll

    @property
    def margin(self) -> float:
        """How much more likely the object that is right here is than the other: difference of per-token probabilities
        (geometric means).
        """
        sign = 1 if GROUPS[self.group] == "new" else -1
        return sign * (self.new.mean_prob - math.exp(-self.nll_true))

    @property
    def success(self) -> bool:
        """Whether the object that is right here is strictly more likely; a tie fails."""
        return self.nll_new < self.nll_true if GROUPS[self.group] == "new" else self.nll_true < self.nll_new


@dataclass(frozen=True)
class RecordTexts:
    """What the model wrote about one record's subject, and how it was judged. None for what was not asked or cannot be
    told.
    """

    case_id: int
    texts: tuple[str, ...] = ()
    """One for each generation prompt, which it begins with."""
    ngram_entropy: float | None = None
    """GE: mean over the texts, in bits. None without a generation prompt."""
    reference_score: float | None = None
    """RS: cosine of all texts together with the reference texts of the record's group. None also without a word that
    the reference's vocabulary knows.
    """
    essence: float | None = None
    """How little the perplexity of texts about the subject grew, from 0 to 1 (Hase et al.); 1 for an unchanged
    model.
    """
    perplexity: float | None = None
    """Of the unedited model's texts about the subject, the mean over them."""
    before_texts: tuple[str, ...] = ()
    """The same under the unedited model."""
    before_ngram_entropy: float | None = None
    before_reference_score: float | None = None
    before_perplexity: float | None = None
    relation: str = ""

    @property
    def group(self) -> str:
        """`"texts"`."""
        return TEXTS

    def with_before(self, before: "RecordTexts") -> "RecordTexts":
        """This row with `before`, a row of the unedited model, beside it."""
        return replace(
            self,
            before_texts=before.texts,
            before_ngram_entropy=before.ngram_entropy,
            before_reference_score=before.reference_score,
            before_perplexity=before.perplexity,
        )

    @property
    def before(self) -> "RecordTexts":
        """The row of the unedited model. It has no essence, which compares the two models."""
        return RecordTexts(
            self.case_id,
            self.before_texts,
            self.before_ngram_entropy,
            self.before_reference_score,
            perplexity=self.before_perplexity,
            relation=self.relation,
        )


@dataclass(frozen=True)
class RecordCase:
    """What was asked of one record, and how its edit was made."""

    case_id: int
    subject: str
    template: str
    target_new: str
    target_true: str = ""
    relation: str = ""
    editor: str = ""
    """Name of the method; empty for the unedited model."""
    seconds: float | None = None
    """Of making the edit, by the clock; the share of one record where edits are made together. None where it was given.
    """
    change: float | None = None
    """Frobenius norm of the change over that of the parameters it touches."""
    losses: tuple[float, ...] = ()
    """Of the search for the new value, by step; empty for methods that do not search."""
    refused: str = ""
    """Why the editor made no edit of this record, which was scored without one then; empty where it made one."""


Row = PromptScore | RecordTexts
