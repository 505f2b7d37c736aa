"""Text in Plotly figures: shown literally, with room made for it."""

import html
from collections.abc import Sequence
from typing import Any

from lens_rome.plotting._labels import wrap

LINE = 17
"""Pixels of a line of text."""
_CHARACTER = 7.5
"""Pixels of a character of a heading."""


def safe(text: str) -> str:
    """`text` as Plotly shows it literally: it would read `<|endoftext|>` as markup and dollar signs as formulas.

    >>> safe("<b> $5")
    '&lt;b&gt; &#36;5'
    """
    return html.escape(text, quote=False).replace("$", "&#36;")


def heading_lines(texts: Sequence[str], width: float) -> list[str]:
    """The texts, broken so that each line fits a figure of `width` pixels."""
    return [line for text in texts for line in wrap(text, int(width / _CHARACTER)).split("\n")]


def heading_layout(lines: Sequence[str], height: float) -> dict[str, Any]:
    """The title of a figure of `height` pixels, at its top; Plotly itself makes no room for several lines."""
    return {
        "text": "<br>".join(map(safe, lines)),
        "font_size": 13,
        "x": 0.5,
        "xanchor": "center",
        "y": 1 - 1.3 * LINE / height,
        "yanchor": "top",
    }
