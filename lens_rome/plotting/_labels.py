"""What the pictures say: the words and ticks that both backends share, as plain text."""

import math
import textwrap
from collections.abc import Sequence

from lens_rome.tracing import TraceResult

SITES = {"resid": "residual", "mlp": "MLP output", "attn": "attention output"}
"""What each kind of trace restores, in words."""


def token_labels(result: TraceResult) -> list[str]:
    """One label a token, top to bottom; the subject's carry a `*`.

    Line breaks and other invisible characters are shown as escapes: two rows must never look like one.
    """
    first, last = result.subject_span
    return [visible(text) + "*" * (first <= pos < last) for pos, text in enumerate(result.token_strings)]


def visible(text: str) -> str:
    r"""`text` with what cannot be seen written as an escape; spaces only where there is nothing else.

    >>> visible(" in\n"), visible("  "), visible("")
    (' in\\n', '␣␣', "''")
    """
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    if not shown.strip():
        return "␣" * len(shown) or "''"
    return shown


def layer_ticks(n_layers: int) -> list[int]:
    """Layers to label: all of a small model, every fifth (as in the papers) or tenth of a large one.

    >>> layer_ticks(6), layer_ticks(24)[:3], layer_ticks(48)[-2:]
    ([0, 1, 2, 3, 4, 5], [0, 2, 4], [40, 45])
    """
    step = next((step for limit, step in ((12, 1), (24, 2), (60, 5)) if n_layers <= limit), 10)
    return list(range(0, n_layers, step))


def what_was_restored(kind: str, window: int | None) -> str:
    """The title of a panel.

    >>> what_was_restored("resid", 1)
    'Restoring the residual after layer l at one token'
    >>> what_was_restored("mlp", 10)
    'Restoring the MLP output of a window of 10 layers around l at one token'
    """
    # A window of None: the caller does not know it, so nothing is claimed about it.
    joint = "after" if kind == "resid" else "of"
    where = f"a window of {window} layers around l" if window is not None and window > 1 else "layer l"
    return f"Restoring the {SITES.get(kind, kind)} {joint} {where} at one token"


def layer_caption(window: int) -> str:
    """The caption of the layer axis."""
    return "layer l" if window == 1 else "middle layer l of the window"


def conditions(result: TraceResult) -> str:
    """Clean and corrupted probability, samples and noise, in one line."""
    settings = result.settings
    count = "1\u00a0sample" if settings.samples == 1 else f"{settings.samples}\u00a0samples"
    # A multiple of sigma says how the level was chosen; a bare number would say the same thing twice.
    chosen = f"{settings.noise} = " if not _is_number(settings.noise) else ""
    return (
        f"p({visible(result.answer.strip())}): clean {result.clean_score:.3f}, corrupted {result.corrupted_score:.3f}; "
        f"{count} of noise {chosen}{settings.noise_level:.3g} on the subject*"
    )


def remarks(results: Sequence[TraceResult]) -> list[str]:
    """What a reader must know before believing the picture."""
    lines = []
    if any(result.is_weak for result in results):
        lines.append("Weak: noise hardly changes the answer, so the differences shown mean nothing.")
    lines += dict.fromkeys(
        f"The traced answer {_quoted(result.answer)} is not the fact's target {_quoted(result.target)}."
        for result in results
        if not result.answer_is_target
    )
    if any(bool(result.scores.isnan().any()) for result in results):
        lines.append("Grey: not traced.")
    return lines


def wrap(text: str, width: int) -> str:
    """`text` in as few lines of at most `width` characters as it takes, of about equal length.

    >>> print(wrap("Restoring the residual after layer l at one token", 48))
    Restoring the residual after
    layer l at one token
    """
    widest = max(16, width)
    lines = _broken(text, widest)
    balanced = -(-len(text) // max(1, len(lines)))
    # No last line of one word: the narrowest width that needs no further line.
    fits = (_broken(text, narrower) for narrower in range(balanced, widest))
    return "\n".join(next((found for found in fits if len(found) == len(lines)), lines)) or text


def _broken(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(1, width), break_on_hyphens=False)


def shorten(text: str, width: int) -> str:
    """`text` with its middle left out where it is longer than `width`; both ends say which prompt it is.

    >>> shorten("The Eiffel Tower is located in the city of", 22)
    'The Eiffel…the city of'
    """
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head].rstrip()}…{text[len(text) - (width - 1 - head) :].lstrip()}"


def _quoted(answer: str) -> str:
    return repr(visible(answer.strip()))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
