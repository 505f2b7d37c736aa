"""Records with their edits: given ones, or made by an editor, some at a time."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from lens_rome._typing import Model
from lens_rome.editing import Edit
from lens_rome.errors import EditError, EditMismatchError
from lens_rome.facts import EditRequest, EvalRecord
from lens_rome.moments import SecondMoment, SecondMoments

_TOGETHER = 32
"""Edits that are made in one batch and held at a time; editors whose `makes_dense_edits` is True make one at a time."""
_SCORED = 256
"""Records that are scored together where the edits are there already; they are sorted by length among each other."""

Moments = SecondMoments | SecondMoment | str | None


@runtime_checkable
class Editor(Protocol):
    """Anything that makes independent edits, such as `ROME(...)`."""

    def edit_each(self, model: Model, requests: Sequence[EditRequest], *, moments: Moments = None) -> list[Edit]:
        """One edit a request."""
        ...


Edits = Edit | Editor | Mapping[int, Edit] | None


def check_given(edits: object, records: Sequence[EvalRecord]) -> None:
    """Look whether these are edits of these records, or an editor.

    Raises:
        EditError: neither, or a record without an edit.
    """
    if isinstance(edits, Mapping):
        missing = [record.case_id for record in records if record.case_id not in edits]
        if missing:
            raise EditError(
                f"{len(missing)} records have no edit, the first is case {missing[0]}. Give one for each case id, or "
                "leave these records out."
            )
    elif isinstance(edits, type) or not (edits is None or isinstance(edits, Edit | Editor)):
        what = f"the class {edits.__name__}" if isinstance(edits, type) else f"a {type(edits).__name__}"
        raise EditError(
            f"edits is None, an Edit, a mapping from case id to Edit, or an editor such as ROME(layer=5); got {what}."
        )


@dataclass(frozen=True, eq=False)
class Made:
    """A record with its edit and what making it took."""

    record: EvalRecord
    edit: Edit | None
    seconds: float | None = None
    """By the clock; the share of one record where edits are made together. None where the edit was given."""
    refused: str = ""
    """Why the editor made none."""


@dataclass(frozen=True, eq=False)
class Maker:
    """Gives records their edits.

    Args:
        unedited: leave a record that the editor refuses without an edit; it is an error otherwise.
    """

    model: Model
    edits: Edits
    moments: Moments
    unedited: bool

    @property
    def given(self) -> bool:
        """Whether the edits are there already, or none are wanted."""
        return self.edits is None or isinstance(self.edits, Edit | Mapping)

    def given_to(self, record: EvalRecord) -> Edit | None:
        """The edit of a record where it is there already; None where it is still to be made, or none is wanted."""
        if isinstance(self.edits, Mapping):
            return self.edits[record.case_id]
        return self.edits if isinstance(self.edits, Edit) else None

    def of(self, records: Sequence[EvalRecord]) -> Iterator[list[Made]]:
        """The records in their order, some at a time, so that not all edits are held.

        Raises:
            EditError: the editor refuses a record, unless `unedited`.
        """
        step = _SCORED if self.given else 1 if getattr(self.edits, "makes_dense_edits", False) else _TOGETHER
        for start in range(0, len(records), step):
            yield self._some(records[start : start + step])

    def _some(self, records: Sequence[EvalRecord]) -> list[Made]:
        if self.edits is None or isinstance(self.edits, Edit | Mapping):
            return [Made(record, self.given_to(record)) for record in records]
        try:
            return self._made(self.edits, records)
        except EditError:
            if not self.unedited:
                raise
        return [self._attempted(self.edits, record) for record in records]

    def _made(self, editor: Editor, records: Sequence[EvalRecord]) -> list[Made]:
        begun = time.perf_counter()
        edits = editor.edit_each(self.model, [record.request for record in records], moments=self.moments)
        seconds = (time.perf_counter() - begun) / len(records)
        return [Made(record, edit, seconds) for record, edit in zip(records, edits, strict=True)]

    def _attempted(self, editor: Editor, record: EvalRecord) -> Made:
        """The edit of one record, or why there is none."""
        begun = time.perf_counter()
        try:
            return self._made(editor, [record])[0]
        except EditMismatchError:  # Of the model, not of a record.
            raise
        except EditError as error:
            return Made(record, None, time.perf_counter() - begun, str(error))
