"""What a metric is called, in which unit it is, and which way its colours run."""

from dataclasses import dataclass

from lens_rome.plotting._labels import shorten, visible
from lens_rome.tracing import TraceSettings

_CHARACTERS = 20
"""Of an answer in a label."""


@dataclass(frozen=True)
class Measure:
    """One metric of one answer, in words."""

    name: str
    """With the answer, such as `p(Paris)`."""
    short: str
    """Without the answer, such as `p`."""
    unit: str = ""

    @property
    def label(self) -> str:
        """Name and unit, for a colour bar."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


def measure_of(settings: TraceSettings, answer: str) -> Measure:
    """What a trace with these settings measured of `answer`; another metric goes by its own name."""
    shown = shorten(visible(answer.strip()), _CHARACTERS)
    against = shorten(visible(settings.against.strip()), _CHARACTERS)
    known = {
        "prob": Measure(f"p({shown})", "p"),
        "prob_per_token": Measure(f"p({shown}) per token", "p per token"),
        "logprob": Measure(f"log p({shown})", "log p", "nats"),
        "logprob_per_token": Measure(f"log p({shown}) per token", "log p per token", "nats"),
        "logit": Measure(f"logit of {shown}", "logit"),
        "logit_diff": Measure(f"logit difference {shown} \u2212 {against or 'other'}", "logit difference"),
        "kl": Measure("KL to the clean run", "KL", "nats"),
    }
    return known.get(settings.metric, Measure(visible(settings.metric), visible(settings.metric)))


def effects_are_falls(settings: TraceSettings) -> bool:
    """Whether a state that matters lowers the metric, so that the dark end of the colours is the small one.

    A restored state raises the answer; a corrupted or zeroed one lowers it. A divergence from the clean run does the
    opposite of both.
    """
    return (settings.direction != "denoise") != (settings.metric == "kl")


def darker_means(settings: TraceSettings) -> str:
    """What dark cells are, where it is not what people expect (more of the answer)."""
    if settings.direction == "denoise":
        return "Darker: closer to the clean run." if settings.metric == "kl" else ""
    return (
        "Darker: further from the clean run." if settings.metric == "kl" else "Darker: takes more of the answer away."
    )
