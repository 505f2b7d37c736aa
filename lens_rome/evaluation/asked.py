"""What is asked of every record of an evaluation, checked before an edit is made."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lens_rome.editing.problems import EditingProblem, ErrorInjection
from lens_rome.errors import EditError
from lens_rome.evaluation.needs import Needs
from lens_rome.evaluation.noised import NOISED_GROUPS
from lens_rome.evaluation.questions import ASKED_GROUPS
from lens_rome.evaluation.settings import TextSettings
from lens_rome.evaluation.texts import ReferenceTexts
from lens_rome.facts import EvalRecord

_KINDS: tuple[tuple[str, type, str], ...] = (
    ("batch_tokens", int, "2048"),
    ("texts", TextSettings, "TextSettings()"),
    ("references", ReferenceTexts, "References.of(snippets)"),
    ("problem", EditingProblem, "FactErasure()"),
)


@dataclass(frozen=True)
class Asked:
    """Options of `evaluate`, which says what they are.

    Raises:
        EditError: options that are out of range or do not go together.
    """

    prepend_bos: bool | None = None
    before: bool = False
    weights: bool = False
    batch_tokens: int | None = None
    texts: TextSettings | None = None
    references: ReferenceTexts | None = None
    essence: bool = False
    refused: str = "raise"
    problem: EditingProblem | None = None
    metrics: tuple[str, ...] = ()
    """Empty for all that there is data for."""
    groups: tuple[str, ...] = ASKED_GROUPS
    """Kinds of prompts."""
    divergence: bool = False

    def __post_init__(self) -> None:
        for name, kind, example in _KINDS:
            found = getattr(self, name)
            if found is not None and not isinstance(found, kind):
                raise EditError(f"{name} is None or such as {example}, got {found!r}.")
        tokens = self.batch_tokens
        if tokens is not None and (isinstance(tokens, bool) or tokens < 1):
            raise EditError(f"batch_tokens must be a whole number from 1, got {tokens}.")
        if self.texts is None and (self.references is not None or self.essence):
            raise EditError("references and essence score texts; say how they are written: texts=TextSettings().")
        if self.references is not None and not isinstance(self.problem, ErrorInjection | None):
            raise EditError(
                f"references are texts about what the false object is true of, and {self.problem.name} has another "
                "target. Leave references out."
            )
        if self.refused not in ("raise", "unedited"):
            raise EditError(f"refused is 'raise' or 'unedited', got {self.refused!r}.")

    @property
    def plain_groups(self) -> tuple[str, ...]:
        """Kinds of prompts that are asked as they stand; the others with a noised subject."""
        noised = NOISED_GROUPS if self.problem is not None and self.problem.objective.noise else ()
        return tuple(group for group in self.groups if group not in noised)

    def for_metrics(self, names: Sequence[str]) -> "Asked":
        """All that these metrics need and no other prompts. Texts have the papers' settings where none are given.

        Raises:
            ReportError: no such metric.  EditError: RS without references.
        """
        needs = Needs.of(names)
        if "references" in needs.asks and self.references is None:
            raise EditError("RS compares texts with references; pass references=, such as References.of(snippets).")
        return replace(
            self,
            metrics=tuple(dict.fromkeys(names)),
            groups=(*needs.groups, *(group for group in self.groups if group not in ASKED_GROUPS)),
            before=self.before or "before" in needs.asks,
            divergence="divergence" in needs.asks,
            texts=self.texts or (TextSettings() if needs.texts else None),
            essence=self.essence or "essence" in needs.asks,
        )

    def check(self, records: Sequence[EvalRecord]) -> None:
        """Look whether there is something to ask.

        Raises:
            EditError: no records, two of one case id, or nothing to write.  DatasetError: no reference text of one.
        """
        if not records:
            raise EditError("no records to evaluate on.")
        strange = next((record for record in records if not isinstance(record, EvalRecord)), None)
        if strange is not None:
            raise EditError(f"records are EvalRecords, got {strange!r:.80}. EvalRecord.from_dict reads a mapping.")
        case_id, count = Counter(record.case_id for record in records).most_common(1)[0]
        if count > 1:
            raise EditError(
                f"{count} records have the case id {case_id}, by which scores are told apart. Give each its own."
            )
        prompted = [record for record in records if record.generation_prompts]
        if self.texts is not None and not (prompted or self.essence):
            raise EditError("no record has generation_prompts, so there is nothing to write. Leave texts out.")
        if self.references is not None:
            self.references.check([record.reference_group for record in prompted])
