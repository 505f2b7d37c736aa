"""What a trace's picture says about how it was made, as plain text."""

import math
from collections.abc import Sequence

from lens_rome.plotting._labels import visible
from lens_rome.plotting._measures import darker_means, measure_of
from lens_rome.tracing import TraceResult, TraceSettings

APPROXIMATE = "Approximate (gradient estimate):"
"""What the title of numbers that were estimated and not measured begins with."""
_PLACES = {
    "resid": "the residual after",
    "resid_pre": "the residual before",
    "resid_mid": "the residual between attention and MLP of",
    "mlp": "the MLP output of",
    "attn": "the attention output of",
    "post": "the MLP neurons of",
}
_DEEDS = {
    "denoise": ("Restoring", ""),
    "noise": ("Corrupting", " of the clean run"),
    "zero": ("Zeroing", " of the clean run"),
}
_PATHS = {"mlp": "MLP", "attn": "attention"}


def what_was_done(settings: TraceSettings) -> str:
    """The title of a panel: what was put where, and what was held back."""
    deed, run = _DEEDS.get(settings.direction, (visible(settings.direction), ""))
    where = f"a window of {settings.window} layers around\u00a0l" if settings.window > 1 else "layer\u00a0l"
    tokens = "all traced tokens at once" if settings.together else "one token"
    severed = _PATHS.get(settings.severed, visible(settings.severed)) if settings.severed else ""
    held = f", later {severed} outputs severed (held at corrupted values)" if severed else ""
    return f"{deed} {_place(settings)} {where} at {tokens}{run}{held}"


def _place(settings: TraceSettings) -> str:
    if settings.kind == "head":
        number = "" if settings.head is None else f" {settings.head}"
        return f"attention head{number} of"
    return _PLACES.get(settings.kind, f"{visible(settings.kind)} of")


def layer_caption(window: int) -> str:
    """The caption of the layer axis."""
    return "layer l" if window == 1 else "middle layer l of the window"


def conditions(result: TraceResult) -> str:
    """What was measured: clean and corrupted score, samples and noise, and what dark cells mean, in one line."""
    settings = result.settings
    measure = measure_of(settings, result.answer)
    unit = f" {measure.unit}" if measure.unit else ""
    clean = f"{measure.name}: clean {result.clean_score:.3f}{unit}"
    if settings.direction == "zero":
        scores = f"{clean}; nothing else corrupted"
    else:
        scores = f"{clean}, corrupted {result.corrupted_score:.3f}{unit}; {_corruption(result)}"
    return ". ".join(part for part in (scores, darker_means(settings)) if part)


def _corruption(result: TraceResult) -> str:
    settings = result.settings
    count = "1\u00a0sample" if settings.samples == 1 else f"{settings.samples}\u00a0samples"
    if settings.noise_level is None:
        noise = f"corruption {visible(settings.noise)!r}"
    else:
        # A multiple of sigma says how the level was chosen; a bare number would say the same thing twice.
        chosen = f"{visible(settings.noise)} = " if not _is_number(settings.noise) else ""
        noise = f"noise {chosen}{settings.noise_level:.3g}"
    place = "tokens marked † (subject: *)" if result.corrupted_spans else "the subject*"
    return f"{count} of {noise} on {place}"


def remarks(results: Sequence[TraceResult]) -> list[str]:
    """What a reader must know before believing the picture."""
    lines: list[str] = []
    if any(result.is_weak for result in results):
        lines.append("Weak: the corruption hardly changes what is measured, so the differences shown mean nothing.")
    lines += dict.fromkeys(
        f"The traced answer {_quoted(result.answer)} is not the fact's target {_quoted(result.target)}."
        for result in results
        if not result.answer_is_target
    )
    if any(bool(result.scores.isnan().any()) for result in results):
        lines.append("Grey: not traced.")
    return lines


def _quoted(answer: str) -> str:
    return repr(visible(answer.strip()))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
