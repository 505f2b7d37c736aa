"""What the study of localization says in a sentence."""

from typing import Any

import numpy as np
import pandas as pd

from lens_rome.cli.localization_answer import answer, caution


def frame(**columns: Any) -> pd.DataFrame:
    told = {"problem": "error injection", "method": "ROME", "score": "rewrite", "measure": "tracing", "window": 1}
    numbers = {"n_facts": 40, "r2_layer": 0.5, "difference": 0.2, "chance": 0.125}
    row = {**told, "predictor": "effect", "subset": "all", **numbers}
    return pd.DataFrame(row | columns, index=range(max([len(each) for each in columns.values()], default=1)))


def test_the_answer_says_what_chance_would_add() -> None:
    text = answer(frame(difference=[0.1, 0.2, 0.6], chance=[0.01, 0.02, 0.05], window=[1, 3, 5]))
    assert "adds 0.200 in the median" in text and "by chance alone it would add about 0.020." in text
    assert "At most it adds 0.600 (error injection, ROME, window 5; the layer alone 0.500, by chance 0.050)" in text
    assert answer(frame(difference=[np.nan])).startswith("No regression of the rewrite score could be computed")


def test_few_facts_are_cautioned_about_and_enough_are_not() -> None:
    assert caution(frame()) == "" == caution(frame(n_facts=[20]))
    all_few = caution(frame(n_facts=[19, 19]))
    assert "Caution: few facts. The regressions have 19 facts;" in all_few and "is mostly chance" in all_few
    assert "2 of 3 regressions have 3 to 7 facts" in caution(frame(n_facts=[3, 7, 20]))


def test_what_has_no_numbers_and_concentrated_facts_are_no_reason_for_caution() -> None:
    assert caution(frame(n_facts=[2, 30], difference=[np.nan, 0.1])) == ""
    assert caution(frame(n_facts=[6, 30], subset=["concentrated", "all"])) == ""
