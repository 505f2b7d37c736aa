"""Effects by named parts of a prompt."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from lens_rome.errors import TraceError
from lens_rome.tracing import TraceResult, TraceSettings, segment_effects

STRINGS = ("<bos>", "The", " Eiffel", " Tower", " is", " in", " the", " city")
PROMPT = "The Eiffel Tower is in the city"


def made(direction: str = "denoise", prepend_bos: bool = True) -> TraceResult:
    """A result of 2 layers whose effects are known: `10 · layer + position`, against the direction's sign."""
    strings = STRINGS if prepend_bos else STRINGS[1:]
    sign = 1 if direction == "denoise" else -1
    layer, pos = torch.arange(2.0).double()[:, None], torch.arange(float(len(strings))).double()
    settings = TraceSettings(
        "mlp", 1, "3σ", 0.1, 2, 1, prepend_bos, "m", "hooked", False, "torch.float64", direction=direction
    )
    return TraceResult(
        (sign * (10 * layer + pos))[..., None].expand(-1, -1, 2).clone(),
        torch.zeros(2).double(),
        0.0,
        PROMPT,
        "Eiffel Tower",
        tuple(range(len(strings))),
        strings,
        (1 + prepend_bos, 3 + prepend_bos),
        "Paris",
        (5,),
        "Paris",
        settings,
    )


def test_a_segment_has_its_tokens_mean_and_its_largest_effect() -> None:
    frame = segment_effects(made(), {"subject": "Eiffel Tower", "rest": slice(4, None)})
    assert list(frame.columns) == ["segment", "layer", "n_tokens", "effect", "max_effect", "pos_of_max"]
    assert frame.values.tolist() == [
        ["subject", 0, 2, 2.5, 3.0, 3],
        ["subject", 1, 2, 12.5, 13.0, 3],
        ["rest", 0, 4, 5.5, 7.0, 7],
        ["rest", 1, 4, 15.5, 17.0, 7],
    ]


@pytest.mark.parametrize("direction", ["noise", "zero"])
def test_where_states_are_taken_away_the_largest_effect_is_the_most_negative(direction: str) -> None:
    frame = segment_effects(made(direction), {"rest": (4, 8)})
    assert frame["effect"].tolist() == [-5.5, -15.5]
    assert frame["max_effect"].tolist() == [-7.0, -17.0] and frame["pos_of_max"].tolist() == [7, 7]


@pytest.mark.parametrize("segment", ["fel Tow", (2, 4), slice(2, 4), slice(-6, -4), " Eiffel Tower"])
def test_a_text_a_pair_and_a_slice_name_the_same_tokens(segment: Any) -> None:
    frame = segment_effects(made(), {"it": segment})
    assert frame["n_tokens"].tolist() == [2, 2] and frame["pos_of_max"].tolist() == [3, 3]


def test_positions_count_bos_only_where_there_is_one() -> None:
    frame = segment_effects(made(prepend_bos=False), {"it": "Eiffel Tower"})
    assert frame["pos_of_max"].tolist() == [2, 2]


def test_segments_that_cover_the_prompt_average_to_its_mean() -> None:
    result = made()
    frame = segment_effects(result, {"a": (0, 2), "b": "Eiffel Tower", "c": slice(4, None)})
    for layer, rows in frame.groupby("layer"):
        total = (rows["effect"] * rows["n_tokens"]).sum()
        assert total == pytest.approx(float(result.indirect_effects[layer].sum()))


def test_only_traced_tokens_and_layers_count() -> None:
    result = made()
    scores = result.sample_scores.clone()
    scores[1] = torch.nan
    scores[:, 3] = torch.nan
    frame = segment_effects(replace(result, sample_scores=scores), {"subject": "Eiffel Tower"})
    assert frame.values.tolist() == [["subject", 0, 1, 2.0, 2.0, 2]]


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ({}, "no segments; give"),
        ({"a": "Rome"}, "'Rome' of the segment 'a' occurs 0 times in the prompt 'The Eiffel"),
        ({"a": "i"}, "'i' of the segment 'a' occurs 4 times .*, where once is needed. Give more of it"),
        ({"a": ""}, "occurs 0 times"),
        ({"a": (2, 9)}, r"the segment 'a' \(2, 9\) is empty or outside the prompt, which has positions 0 to 7"),
        ({"a": (3, 3)}, "is empty or outside"),
        ({"a": slice(5, 2)}, "is empty or outside"),
        ({"a": slice(0, None, 2)}, "skips tokens; give a slice without a step"),
        ({"a": (True, 2)}, "must be a text, a slice or a pair"),
        ({"a": (1, 4), "b": "Tower"}, r"'a' \(1, 4\) and 'b' \(3, 4\) overlap in .*a token would count twice"),
    ],
)
def test_segments_that_are_not_clear_are_refused(segments: dict[str, Any], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        segment_effects(made(), segments)


def test_a_segment_without_a_traced_token_is_refused() -> None:
    result = made()
    scores = result.sample_scores.clone()
    scores[:, 4:] = torch.nan
    with pytest.raises(TraceError, match=r"no token of the segment 'rest' \(positions 4 to 7\) was traced"):
        segment_effects(replace(result, sample_scores=scores), {"rest": slice(4, None)})


def test_a_text_that_no_token_shows_is_refused() -> None:
    """A tokenizer may show other characters than the text has."""
    result = replace(made(), token_strings=tuple("?" * len(text) for text in STRINGS))
    with pytest.raises(TraceError, match="shows the text 'Tower' of the segment 'a'; give positions instead"):
        segment_effects(result, {"a": "Tower"})
