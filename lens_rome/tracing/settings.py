"""Everything that determined a trace besides the model's weights."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TraceSettings:
    """Everything that determined a trace besides the model's weights."""

    kind: str
    window: int
    """Layers restored together."""
    noise: str
    """How the subject was corrupted, as it was asked for."""
    noise_level: float | None
    """Size that was used, in embedding units (a normal's standard deviation, a uniform's half width); None where the
    corruption has none.
    """
    samples: int
    """1 in a trace read from a case file, which holds only the mean over its samples."""
    seed: int | None
    """None where it is not known: in a trace read from a case file."""
    prepend_bos: bool
    model: str
    surface: str
    full_length: bool
    """Whether runs were full length because the model's owner had attached hooks."""
    precision: str
    metric: str = "prob"
    """What was measured; see `tracing.metrics`."""
    against: str = ""
    """The second answer of a logit difference."""
    direction: str = "denoise"
    """`denoise`: clean states put into corrupted runs. `noise`: corrupted states put into the clean run. `zero`: zeros
    put into the clean run.
    """
    severed: str = ""
    """`mlp` or `attn` where that path was frozen to its corrupted values at the restored position."""
    together: bool = False
    """Whether all traced positions were restored at once; each of their cells then holds the joint score."""
    head: int | None = None
    """The attention head of a trace of one head."""
    original: bool = False
    """Whether the released code was followed in all that changes numbers."""
    approximate: bool = False
    """Whether scores are first-order estimates from gradients and not measured."""
    against_each: bool = False
    """Whether each fact of a set has a second answer of its own."""

    def summary(self) -> str:
        """What was done, in one line."""
        parts = [
            "approximate" if self.approximate else "",
            self.kind + (f" {self.head}" if self.head is not None else ""),
            f"window {self.window}" if self.window > 1 or self.kind not in ("resid", "resid_pre") else "",
            f"{self.severed} severed" if self.severed else "",
            self.direction if self.direction != "denoise" else "",
            "positions together" if self.together else "",
            self._measured(),
            "as released" if self.original else "",
            f"{self.samples} samples",
            f"noise {self.noise}" + (f" = {self.noise_level:.4g}" if self.noise_level is not None else ""),
        ]
        return ", ".join(part for part in parts if part)

    def _measured(self) -> str:
        """The metric, unless it is the answer's probability."""
        if self.against_each:
            return f"{self.metric} against each fact's own second answer"
        against = f" against {self.against!r}" if self.against else ""
        return self.metric + against if against or self.metric != "prob" else ""
