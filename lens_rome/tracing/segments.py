"""Effects by parts of a prompt: the words of a question, the relation, a second clause."""

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

from lens_rome.errors import TraceError
from lens_rome.facts import Prompt
from lens_rome.tracing.comparable import gain_sign
from lens_rome.tracing.places import is_whole, touched
from lens_rome.tracing.result import TraceResult

if TYPE_CHECKING:
    import pandas as pd

Segment = str | tuple[int, int] | slice
"""A text that occurs exactly once in the prompt (all tokens that it touches), or a half-open range of positions."""


def segment_effects(result: TraceResult, segments: Mapping[str, Segment]) -> "pd.DataFrame":
    """Indirect effects summed up by named parts of the prompt, one row a part and traced layer.

    Columns: `segment`; `layer`; `n_tokens`, the traced tokens of the segment; `effect`, their mean indirect effect;
    `max_effect` and `pos_of_max`, of the token that matters most (for the directions `noise` and `zero` the one whose
    replacement takes most away). Of positions restored together each token holds the joint effect.

    Args:
        segments: by name; positions count BOS, negative ends of a slice count from the end.

    Raises:
        TraceError: no segments; a text that is not in the prompt exactly once; a range that is empty or outside it;
            segments that overlap, or without any traced token.
    """
    import pandas as pd

    if not segments:
        raise TraceError("no segments; give e.g. {'subject': 'Eiffel Tower', 'rest': slice(4, None)}.")
    own = result.settings.prepend_bos
    prompt = Prompt(result.prompt, result.tokens, result.token_strings, result.subject, result.subject_span, own)
    spans = {name: _span(prompt, name, segment) for name, segment in segments.items()}
    _check_apart(prompt, spans)
    rows = [row for name, span in spans.items() for row in _rows(result, name, span)]
    return pd.DataFrame(rows, columns=["segment", "layer", "n_tokens", "effect", "max_effect", "pos_of_max"])


def _rows(result: TraceResult, name: str, span: tuple[int, int]) -> list[dict[str, object]]:
    sign, rows = gain_sign(result.settings), []
    effects = result.indirect_effects
    for layer in range(len(effects)):
        traced = {pos: float(effects[layer, pos]) for pos in range(*span) if not effects[layer, pos].isnan()}
        if traced:
            best = max(traced, key=lambda pos: sign * traced[pos])
            mean = sum(traced.values()) / len(traced)
            values = (name, layer, len(traced), mean, traced[best], best)
            columns = ("segment", "layer", "n_tokens", "effect", "max_effect", "pos_of_max")
            rows.append(dict(zip(columns, values, strict=True)))
    if not rows:
        raise TraceError(
            f"no token of the segment {name!r} (positions {span[0]} to {span[1] - 1}) was traced; trace with positions "
            "that include it, or leave the segment out."
        )
    return rows


def _span(prompt: Prompt, name: str, segment: Segment) -> tuple[int, int]:
    """The half-open range of positions of one segment."""
    if isinstance(segment, str):
        return _span_of_text(prompt, name, segment)
    if isinstance(segment, slice):
        if segment.step not in (None, 1):
            raise TraceError(f"the segment {name!r} is {segment}, which skips tokens; give a slice without a step.")
        first, last, _ = segment.indices(len(prompt))
    elif len(segment) == 2 and all(is_whole(end) for end in segment):
        first, last = segment
    else:
        raise TraceError(
            f"the segment {name!r} must be a text, a slice or a pair (first, last) of positions; got {segment!r}."
        )
    if not 0 <= first < last <= len(prompt):
        raise TraceError(
            f"the segment {name!r} ({first}, {last}) is empty or outside the prompt, which has positions 0 to "
            f"{len(prompt) - 1}: {prompt.marked()}."
        )
    return int(first), int(last)


def _span_of_text(prompt: Prompt, name: str, text: str) -> tuple[int, int]:
    starts = [at for at in range(len(prompt.text)) if text and prompt.text.startswith(text, at)]
    if len(starts) != 1:
        raise TraceError(
            f"the text {text!r} of the segment {name!r} occurs {len(starts)} times in the prompt {prompt.text!r}, "
            "where once is needed. Give more of it, or positions."
        )
    positions = touched(prompt, [(starts[0], starts[0] + len(text))])
    if not positions:
        raise TraceError(
            f"no token of {prompt.marked()} shows the text {text!r} of the segment {name!r}; give positions instead."
        )
    return positions[0], positions[-1] + 1


def _check_apart(prompt: Prompt, spans: Mapping[str, tuple[int, int]]) -> None:
    ordered = sorted(spans.items(), key=lambda item: item[1])
    for (one, (_, last)), (other, (first, _)) in pairwise(ordered):
        if first < last:
            raise TraceError(
                f"the segments {one!r} {spans[one]} and {other!r} {spans[other]} overlap in {prompt.marked()}: a token "
                "would count twice. Make them apart, or ask for each in a call of its own."
            )
