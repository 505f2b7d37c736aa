"""What an edit knows of the weights that it was made for and of those that it leaves, by their fingerprints."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Base:
    """The weight that a delta belongs to."""

    before: str
    """Fingerprint of the weight that the edit was made for."""
    after: str | None
    """Fingerprint of the weight that applying the edit writes; None where it is not known (scaled or added edits)."""
    dtype: str
    norm: float
    """Frobenius norm of the weight before."""
    in_steps: tuple[str, ...] = ()
    """Fingerprints of weights that hold this change although it was not written at once: a sum of edits made one after
    another rounds once where they round one by one.
    """
    rounding: float | None = None
    """What writing the change into the weight's precision loses: norm of the rounding error over that of the change;
    None where it was not measured (scaled or added edits, files of version 0.1.0).
    """

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> "Base":
        """From a file, which has lists for tuples; files of version 0.1.0 have no `in_steps` and no `rounding`.

        Raises:
            TypeError: a field is missing or unknown.
        """
        told: dict[str, Any] = {**fields, "in_steps": tuple(fields.get("in_steps", ()))}
        return cls(**told)

    @property
    def results(self) -> tuple[str, ...]:
        """Fingerprints of all weights that are known to hold the change."""
        return (*([] if self.after is None else [self.after]), *self.in_steps)

    def joined(self, other: "Base") -> "Base | None":
        """The base of the sum: of two changes of one weight, or of a second made where the first is in place. None
        if the two do not belong together.
        """
        if other.before in self.results:
            return Base(self.before, None, self.dtype, self.norm, other.results)
        if other.before == self.before:
            return Base(self.before, None, self.dtype, self.norm)
        return None
