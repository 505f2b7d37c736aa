"""What a study of editing in sequence found: figures at checkpoints, as a table, a data frame and a file."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens_rome._files import load_json, save_json

if TYPE_CHECKING:
    import pandas as pd

_KIND = "sequence"
_COLUMNS = ("edits", "efficacy", "retention", "neighborhood", "perplexity", "entropy", "relative_norm", "largest_step")


@dataclass(frozen=True)
class Checkpoint:
    """The model after a number of edits. NaN where there is nothing to measure, or the model is broken."""

    edits: int
    """Requests written so far."""
    norms: Mapping[str, float]
    """Frobenius norm of W - W₀ by parameter (`"W_out of layer 1"`)."""
    relative_norms: Mapping[str, float]
    """The same over the norm of W₀."""
    norm: float
    """Frobenius norm of all changes together."""
    relative_norm: float
    """The same over the norm of all changed parameters before the first edit."""
    largest_step: float
    """Largest norm of one step since the last checkpoint."""
    efficacy: float
    """Share of the edits since the last checkpoint whose new object was likelier than the true one right after their
    own step.
    """
    retention: float
    """Share of (a sample of) the edits of earlier steps of which that holds now."""
    retention_prob: float
    """Mean probability now of their new objects (geometric mean over an object's tokens)."""
    asked: int
    """How many earlier edits were asked for."""
    neighborhood: float
    """Share of neighbourhood prompts of records that are not edited for which the true object is likelier than the new
    one, averaged within each record first.
    """
    perplexity: float
    """On held-out texts."""
    entropy: float
    """Mean n-gram entropy (bits) of what the model writes after the given prompts."""


@dataclass(frozen=True)
class Skipped:
    """A step that was not written, of a model that still gives finite output."""

    step: int
    """From 0; its requests begin at `step * batch`."""
    reason: str


@dataclass(frozen=True)
class SequenceReport:
    """A run of edits, one on top of the other."""

    label: str
    settings: Mapping[str, Any]
    """Of the study and of the editor; everything that the figures depend on but the model and the moments themselves
    (JSON-able).
    """
    checkpoints: tuple[Checkpoint, ...]
    """The first is of the model before any edit."""
    steps: tuple[float, ...] = field(default=(), repr=False)
    """Frobenius norm of the change of each step that was written, all its parameters together."""
    disabling: int = 0
    """Steps of which the editor itself warned that they may ruin the model."""
    stopped: str | None = None
    """Why the run ended before its last request; None if it did not."""
    skipped: tuple[Skipped, ...] = ()
    """Steps that the editor could not make."""

    def to_dataframe(self) -> "pd.DataFrame":
        """One row a checkpoint: label, and the fields of `Checkpoint` but for the norms by parameter."""
        import pandas as pd

        rows = [{"label": self.label, **asdict(each)} for each in self.checkpoints]
        return pd.DataFrame(rows).drop(columns=["norms", "relative_norms"])

    def save(self, path: str | Path) -> Path:
        """Write the report to a JSON file; it appears whole or not at all."""
        return save_json(path, _KIND, _plain(asdict(self)))

    @classmethod
    def load(cls, path: str | Path) -> "SequenceReport":
        """Read what `save` wrote.

        Raises:
            FileFormatError: no such file, truncated, of another kind, or of a newer format.
        """
        return load_json(path, _KIND, "report of a sequence", cls._made)

    @classmethod
    def _made(cls, content: dict[str, Any]) -> "SequenceReport":
        content["checkpoints"] = tuple(Checkpoint(**_numbers(each)) for each in content["checkpoints"])
        content["steps"] = tuple(map(float, content["steps"]))
        content["skipped"] = tuple(Skipped(**each) for each in content.get("skipped", ()))
        return cls(**content)

    def __str__(self) -> str:
        lines = [self.label, "| " + " | ".join(_COLUMNS) + " |", "|---" * len(_COLUMNS) + "|"]
        lines += [
            "| " + " | ".join(_cell(getattr(each, name)) for name in _COLUMNS) + " |" for each in self.checkpoints
        ]
        if self.disabling:
            lines.append(f"The editor warned of {self.disabling} of {len(self.steps)} steps.")
        if self.skipped:
            first = self.skipped[0]
            lines.append(f"Skipped {len(self.skipped)} steps, the first is step {first.step}: {first.reason}")
        if self.stopped is not None:
            lines.append(f"Ended after {self.checkpoints[-1].edits} edits: {self.stopped}")
        return "\n".join(lines)


def _cell(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return "–" if math.isnan(value) else f"{value:.3g}"


def _plain(value: Any) -> Any:
    """The value as JSON can hold it: numbers that are not finite as text, which `float` reads again."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _numbers(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a checkpoint, as they were before `_plain`."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            found[name] = {key: float(each) for key, each in value.items()}
        else:
            found[name] = int(value) if name in ("edits", "asked") else float(value)
    return found
