"""What is asked of every record of an evaluation, checked before an edit is made."""

from collections.abc import Sequence
from dataclasses import dataclass

from lens_rome.errors import EditError
from lens_rome.evaluation.settings import TextSettings
from lens_rome.evaluation.texts import ReferenceTexts
from lens_rome.facts import EvalRecord


@dataclass(frozen=True)
class Asked:
    """Options of `evaluate`, which says what they are.

    Raises:
        EditError: options that are out of range or do not go together.
    """

    prepend_bos: bool | None = None
    before: bool = False
    attributes: bool = False
    weights: bool = False
    batch_tokens: int | None = None
    texts: TextSettings | None = None
    references: ReferenceTexts | None = None
    essence: bool = False
    refused: str = "raise"

    def __post_init__(self) -> None:
        if self.batch_tokens is not None and self.batch_tokens < 1:
            raise EditError(f"batch_tokens must be a whole number from 1, got {self.batch_tokens}.")
        if self.texts is None and (self.references is not None or self.essence):
            raise EditError("references and essence score texts; say how they are written: texts=TextSettings().")
        if self.refused not in ("raise", "unedited"):
            raise EditError(f"refused is 'raise' or 'unedited', got {self.refused!r}.")

    def check(self, records: Sequence[EvalRecord]) -> None:
        """Raise `EditError` if there are no records or nothing to write, `DatasetError` without a reference text."""
        if not records:
            raise EditError("no records to evaluate on.")
        prompted = [record for record in records if record.generation_prompts]
        if self.texts is not None and not (prompted or self.essence):
            raise EditError("no record has generation_prompts, so there is nothing to write. Leave texts out.")
        if self.references is not None:
            self.references.check([record.reference_group for record in prompted])
