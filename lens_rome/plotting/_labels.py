"""Text that all pictures and both backends share: visible tokens, ticks, line breaks, names of kinds and roles."""

import textwrap

from lens_rome.tracing import KIND_NAMES, ROLE_NAMES, TraceResult


def kind_label(kind: str) -> str:
    """What a kind restores, in words; one that is not known keeps its own name.

    >>> kind_label("mlp"), kind_label("keys")
    ('MLP outputs', 'keys')
    """
    return KIND_NAMES.get(kind, visible(kind))


def role_label(role: str) -> str:
    """A role in words; one that is not known keeps its own name.

    >>> role_label("after_subject"), role_label("second_verb")
    ('first token after the subject', 'second verb')
    """
    return ROLE_NAMES.get(role, visible(role.replace("_", " ")))


def token_labels(result: TraceResult) -> list[str]:
    """One label a token, top to bottom; the subject's carry a `*`, corrupted ones that were chosen apart a `†`.

    Line breaks and other invisible characters are shown as escapes: two rows must never look like one.
    """
    first, last = result.subject_span
    corrupted = {pos for span in result.corrupted_spans for pos in range(*span)}
    return [
        visible(text) + "*" * (first <= pos < last) + "†" * (pos in corrupted)
        for pos, text in enumerate(result.token_strings)
    ]


def visible(text: str) -> str:
    r"""`text` with what cannot be seen written as an escape; spaces only where there is nothing else.

    >>> visible(" in\n"), visible("  "), visible("")
    (' in\\n', '␣␣', "''")
    """
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    if not shown.strip():
        return "␣" * len(shown) or "''"
    return shown


def visible_lines(text: str) -> str:
    """The same for a text whose line breaks are meant."""
    return "\n".join(visible(line) for line in text.split("\n"))


def titled(statement: str, title: str | None) -> str:
    """The statement of what is shown, and what the caller says of it."""
    return statement + (f": {visible(title)}" if title else "")


def layer_ticks(n_layers: int, first: int = 0) -> list[int]:
    """Layers to label, from `first` on: all of a small model, every fifth (as in the papers) or tenth of a large one.

    >>> layer_ticks(6), layer_ticks(24)[:3], layer_ticks(48)[-2:], layer_ticks(20, first=11)[:2]
    ([0, 1, 2, 3, 4, 5], [0, 2, 4], [40, 45], [12, 14])
    """
    step = next((step for limit, step in ((12, 1), (24, 2), (60, 5)) if n_layers <= limit), 10)
    return [layer for layer in range(first, first + n_layers) if layer % step == 0]


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
