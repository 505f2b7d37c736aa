"""Which layers and token positions a trace is about, from what a user wrote."""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import SupportsIndex, TypeGuard

import numpy as np

from lens_rome.errors import TraceError
from lens_rome.facts import Prompt
from lens_rome.surface import AbstractSurface

Position = SupportsIndex | str | slice | re.Pattern[str]
Positions = Position | Iterable[Position]
"""Indices (BOS counts, negative ones from the end), names, slices such as `slice(0, None, 5)`, compiled patterns (all
tokens that a match touches), or several of these.
"""
Spans = Iterable[tuple[int, int] | str]
"""Half-open ranges of positions, or texts (all tokens that one of its occurrences touches)."""


def find_layers(surface: AbstractSurface, layers: SupportsIndex | Iterable[SupportsIndex] | None) -> list[int]:
    """Layers in order, all for None; `TraceError` for one that the model does not have."""
    if layers is None:
        return list(range(surface.n_layers))
    found: set[int] = set()
    for layer in layers if isinstance(layers, Iterable) else [layers]:
        if not is_whole(layer) or not 0 <= layer < surface.n_layers:
            raise TraceError(f"layer {layer!r} does not exist: the model has layers 0 to {surface.n_layers - 1}.")
        found.add(int(layer))
    return sorted(found)


def is_whole(value: object) -> TypeGuard[int]:
    """Whether `value` is a whole number, Python's or NumPy's, and not a truth value."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def find_positions(prompt: Prompt, positions: Positions | None) -> list[int]:
    """Indices for what was asked for, in order; all for None.

    Raises:
        TraceError: something that the prompt does not have.
    """
    if positions is None:
        return list(range(len(prompt)))
    found: set[int] = set()
    for position in _each(positions):
        chosen = _positions_of(prompt, position)
        if not chosen:
            raise TraceError(f"{position!r} chooses no position of the prompt {prompt.marked()}.")
        found.update(chosen)
    return sorted(found)


def _each(positions: Positions) -> Iterable[Position]:
    if isinstance(positions, str) or not isinstance(positions, Iterable):
        return [positions]
    return positions


def _positions_of(prompt: Prompt, position: Position) -> list[int]:
    first, last = prompt.subject_span
    names = {
        "subject_first": [first],
        "subject_last": [last - 1],
        "subject": list(range(first, last)),
        "last": [len(prompt) - 1],
    }
    if isinstance(position, re.Pattern):
        return touched(prompt, [match.span() for match in position.finditer(prompt.text)])
    if isinstance(position, slice):
        return list(range(len(prompt)))[position]
    if isinstance(position, str) and position in names:
        return names[position]
    if is_whole(position) and -len(prompt) <= position < len(prompt):
        return [int(position) % len(prompt)]
    raise TraceError(
        f"position {position!r} does not exist: the prompt has positions 0 to {len(prompt) - 1} ({prompt.marked()}); "
        f"the names are {', '.join(names)}; a slice or re.compile('text') chooses several."
    )


def touched(prompt: Prompt, characters: Sequence[tuple[int, int]]) -> list[int]:
    """Positions of the tokens that share a character with one of the half-open ranges of the prompt's text."""
    ends, found = character_ends(prompt), []
    for position, (start, end) in enumerate(ends):
        if any(start < last and end > first for first, last in characters):
            found.append(position)
    return found


def character_ends(prompt: Prompt) -> list[tuple[int, int]]:
    """The half-open range of characters that each token shows; empty for BOS."""
    ranges, done = [], 0
    for position, text in enumerate(prompt.token_strings):
        own = 0 if position == 0 and prompt.prepend_bos else len(text)
        own = own if prompt.text.startswith(text, done) else 0
        ranges.append((done, done + own))
        done += own
    return ranges


def find_spans(prompt: Prompt, spans: Spans | None) -> tuple[tuple[int, int], ...]:
    """Ranges of positions to corrupt, in order; the subject's own for None.

    Raises:
        TraceError: a text that does not occur; a range that is empty, outside the prompt, or overlaps another.
    """
    if spans is None:
        return (prompt.subject_span,)
    if isinstance(spans, str):
        spans = [spans]
    found: list[tuple[int, int]] = []
    for span in spans:
        found += _occurrences(prompt, span) if isinstance(span, str) else [_checked_range(prompt, span)]
    found.sort()
    for (_, last), (first, _) in pairwise(found):
        if first < last:
            raise TraceError(f"the spans to corrupt overlap: {found} in {prompt.marked()}. Join them.")
    if not found:
        raise TraceError("no spans to corrupt; leave out corrupt= for the subject.")
    return tuple(found)


def _occurrences(prompt: Prompt, text: str) -> list[tuple[int, int]]:
    matches = [match.span() for match in re.finditer(re.escape(text), prompt.text)] if text else []
    if not matches:
        raise TraceError(f"the text to corrupt {text!r} is not in the prompt {prompt.text!r}.")
    spans = [touched(prompt, [match]) for match in matches]
    return [(span[0], span[-1] + 1) for span in spans]


def _checked_range(prompt: Prompt, span: tuple[int, int]) -> tuple[int, int]:
    if not (isinstance(span, (tuple, list)) and len(span) == 2 and all(is_whole(end) for end in span)):
        raise TraceError(f"a span to corrupt is a pair (first, last) of positions or a text, got {span!r}.")
    first, last = int(span[0]), int(span[1])
    if not 0 <= first < last <= len(prompt):
        raise TraceError(
            f"the span ({first}, {last}) is empty or outside the prompt, which has positions 0 to {len(prompt) - 1}: "
            f"{prompt.marked()}."
        )
    return first, last
