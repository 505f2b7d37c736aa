"""Records whose effect is concentrated in few layers: the same from traces and from tables."""

import pytest

from lens_rome.errors import TraceError
from lens_rome.studies.localization import StudyError, concentrated_ids
from lens_rome.tracing.layer_effects import concentrated, layer_effects
from tests.studies.localization.frames import of_values
from tests.tracing.random_traces import random_set


@pytest.mark.parametrize("high", ["clean", "max"])
@pytest.mark.parametrize(("share", "at_most"), [(0.5, 3), (0.8, 1), (0.9, 0), (0.3, 2), (1.0, 0)])
def test_the_table_and_the_traces_tell_the_same_records(share: float, at_most: int, high: str) -> None:
    some = 0
    for seed in range(3):
        traces = random_set(seed, ("mlp",), untraced=0)
        effects = layer_effects(traces, high=high).assign(measure="tracing", window=3)
        found = concentrated_ids(effects, window=3, share=share, at_most=at_most)
        assert found == concentrated(traces, share=share, at_most=at_most, high=high)
        some += len(found)
    assert some


def test_three_layers_of_half_the_largest_are_few_and_four_are_not() -> None:
    values = {
        "few": [1, 0.5, 0.5, 0.5, 0.4],
        "many": [0.5, 0.5, 1, 0.5, 0.5],
        "flat": [0] * 5,
        "undefined": [float("nan")] * 5,
    }
    _, effects = of_values([(name, layer, x, 0) for name, found in values.items() for layer, x in enumerate(found)])
    assert concentrated_ids(effects, window=5) == ["few"]
    assert concentrated_ids(effects, window=5, at_most=4) == ["few", "many"]
    assert concentrated_ids(effects, window=5, share=0.6) == ["few", "many"]


def test_a_record_that_lacks_layers_and_settings_that_make_no_sense_are_refused() -> None:
    _, effects = of_values([(name, layer, 0.5, 0) for name in "ab" for layer in range(4)])
    with pytest.raises(StudyError, match=r"record 'b' has effects of 3 of 4 layers\. Trace all layers"):
        concentrated_ids(effects.iloc[:-1], window=5)
    with pytest.raises(TraceError, match="share must be above 0"):
        concentrated_ids(effects, window=5, share=0)
    with pytest.raises(TraceError, match="at_most must be a whole number"):
        concentrated_ids(effects, window=5, at_most=-1)
    with pytest.raises(StudyError, match=r"no row of window 7\. There are 5"):
        concentrated_ids(effects, window=7)
