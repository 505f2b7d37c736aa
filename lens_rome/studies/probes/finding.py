"""What a probe found: the rows, their summary, and the number that answers its question."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens_rome._files import load_json, save_json

if TYPE_CHECKING:
    import pandas as pd

_KIND = "probe"
Value = str | int | float | bool | None
"""A cell of a table. NaN and infinities are kept in files too."""


@dataclass(frozen=True)
class Answer:
    """The one number that answers a probe's question."""

    name: str
    """What it is, such as "reverse change over forward change"."""
    value: float
    """NaN where it cannot be told."""
    low: float
    """Lower end of its 95% interval over cases; NaN where there are too few."""
    high: float
    n: int
    """Cases that it is of."""
    reading: str
    """The sentence that the number stands for, in words that hold for this value."""

    def __str__(self) -> str:
        interval = "" if math.isnan(self.low) else f" [{self.low:.3g}, {self.high:.3g}]"
        cases = "1 case" if self.n == 1 else f"{self.n} cases"
        return f"{self.name}: {self.value:.3g}{interval} ({cases}). {self.reading}"


@dataclass(frozen=True)
class Missing:
    """A case, or a part of one, that has no rows."""

    case: str
    reason: str

    @classmethod
    def unsaid(cls, case: str, wanted: str, prompt: str, told: str, share: str = "") -> "Missing":
        """What does not count (`share`, such as `2 of 3 prompts: `): the unedited model says `told`, not `wanted`."""
        return cls(case, f"{share}the unedited model does not say {wanted!r} after {prompt!r}, but {told.strip()!r}")


@dataclass(frozen=True)
class Finding:
    """What a probe found."""

    probe: str
    """Its name, such as `"direction"`."""
    question: str
    """What it asks, in one sentence."""
    answer: Answer
    rows: tuple[Mapping[str, Value], ...] = field(repr=False)
    """One a prompt, target and phase (`"before"`, `"after"` the edit), with the same keys in each. See the probe."""
    summary: tuple[Mapping[str, Value], ...] = field(default=(), repr=False)
    """Means with `low` and `high`, ends of their 95% intervals."""
    missing: tuple[Missing, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What the rows depend on: model, editor, seeds, BOS; and how large the edits are (`changes`). JSON-able."""

    def to_dataframe(self) -> "pd.DataFrame":
        """The rows."""
        import pandas as pd

        return pd.DataFrame([dict(row) for row in self.rows])

    def to_summary_dataframe(self) -> "pd.DataFrame":
        """The summary."""
        import pandas as pd

        return pd.DataFrame([dict(row) for row in self.summary])

    def save(self, path: str | Path) -> Path:
        """Write the finding to a JSON file, which appears whole or not at all; returns the path."""
        return save_json(path, _KIND, asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> "Finding":
        """Read what `save` wrote.

        Raises:
            FileFormatError: no such file, truncated, of another kind, or of a newer format.
        """
        return load_json(path, _KIND, "finding of a probe", cls._made)

    @classmethod
    def _made(cls, content: dict[str, Any]) -> "Finding":
        content["answer"] = Answer(**content["answer"])
        content["missing"] = tuple(Missing(**each) for each in content["missing"])
        for name in ("rows", "summary"):
            content[name] = tuple(content[name])
        return cls(**content)

    def __str__(self) -> str:
        lines = [self.question, f"  {self.answer}"]
        if self.missing:
            first = self.missing[0]
            lines.append(f"  {len(self.missing)} without a result, the first is {first.case}: {first.reason}")
        return "\n".join(lines)
