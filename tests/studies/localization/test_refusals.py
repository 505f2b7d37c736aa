"""Tables that cannot be analysed are refused with what is there and what to do."""

import sys
from typing import Any

import pandas as pd
import pytest

from lens_rome.errors import LensRomeError, MissingLibraryError
from lens_rome.studies.localization import StudyError, correlations, regressions
from tests.studies.localization.frames import random_frames

SCORES, EFFECTS = random_frames(0)
STRANGE = SCORES.assign(id=[int(name.split()[1]) for name in SCORES["id"]])
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "score": ({"score_names": ("fluency",)}, r"unknown score 'fluency'; choose one of rewrite, paraphrase"),
    "measure": ({"measure": "attention"}, r"unknown measure 'attention'; choose one of tracing, zeroing"),
    "window": ({"window": 10}, r"no row of window 10\. There are 1, 5\."),
    "layer": ({"layers": [2, 3]}, r"no row of layer 3\. There are 0, 2, 5\."),
    "no layers": ({"layers": []}, r"no row of layer none at all\. There are 0, 2, 5\."),
    "record": ({"ids": ["Paris"]}, r"no row of id 'Paris'\. There are 'record 0', .*'record 5' and 6 more"),
    "score column": ({"scores": SCORES.drop(columns="essence")}, r"table of scores lacks essence; it has id, problem"),
    "effect column": ({"effects": EFFECTS.drop(columns="window")}, r"table of effects lacks window; it has id"),
    "no scores": ({"scores": SCORES[:0]}, r"table of scores has no rows\. Run the study first"),
    "empty frame": ({"effects": pd.DataFrame()}, r"table of effects lacks id, measure, .*; it has nothing"),
    "measure not made": (
        {"effects": EFFECTS[EFFECTS.measure == "zeroing"]},
        r"no row of measure 'tracing'\. There are 'z",
    ),
    "other ids": ({"scores": STRANGE}, r"no record in common: scores are of 0, 1, .*effects of 'record 0'.*same ids"),
    "scores twice": (
        {"scores": pd.concat([SCORES, SCORES[:1]])},
        r"scores has two rows of id 'record 0', problem 'error",
    ),
    "effects twice": (
        {"effects": pd.concat([EFFECTS, EFFECTS])},
        r"effects has two rows of id 'record 0', layer 0\. Keep",
    ),
}


@pytest.mark.parametrize("analysis", [regressions, correlations])
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_tables_and_names_are_refused(wrong: str, analysis: Any) -> None:
    changes, message = WRONG[wrong]
    with pytest.raises(StudyError, match=message):
        analysis(**{"scores": SCORES, "effects": EFFECTS, "window": 5, **changes})


def test_an_unknown_predictor_is_refused() -> None:
    with pytest.raises(StudyError, match=r"unknown predictor 'effects'; choose one of effect, effect_abs"):
        regressions(SCORES, EFFECTS, window=5, predictor="effects")
    with pytest.raises(StudyError, match="unknown predictor 'peak'"):
        correlations(SCORES, EFFECTS, window=5, predictors=("effect", "peak"))
    assert issubclass(StudyError, LensRomeError) and issubclass(StudyError, ValueError)


def test_without_the_library_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for analysis, module, library in (
        (regressions, "statsmodels.regression.linear_model", "statsmodels"),
        (correlations, "scipy.stats", "scipy"),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(
            MissingLibraryError, match=rf"needs {library}, .*pip install 'lens_rome\[study\]'"
        ) as caught:
            analysis(SCORES, EFFECTS, window=5)
        assert isinstance(caught.value, ImportError) and isinstance(caught.value, LensRomeError)


def test_the_tables_handed_in_stay_as_they_were_and_their_other_columns_do_not_matter() -> None:
    scores, effects = SCORES.assign(effect=1.0), EFFECTS.assign(missing="x", rewrite=2.0)
    before = scores.copy(), effects.copy()
    pd.testing.assert_frame_equal(regressions(scores, effects, window=5), regressions(SCORES, EFFECTS, window=5))
    pd.testing.assert_frame_equal(scores, before[0])
    pd.testing.assert_frame_equal(effects, before[1])
