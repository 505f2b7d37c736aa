"""Tables of regressions and of mean scores."""

import re

import numpy as np
import pandas as pd
import pytest

from lens_rome.studies.localization import (
    StudyError,
    localization_table,
    published_regressions,
    regressions,
    scores_table,
)
from tests.studies.localization.frames import METHODS, PROBLEMS, random_frames, score_row

SCORES, EFFECTS = random_frames(0, problems=PROBLEMS[::4], methods=METHODS[1:3])
SCORES.loc[(SCORES.problem == PROBLEMS[4]) & (SCORES.method == "ROME"), "rewrite"] = 0.5
FOUND = regressions(SCORES, EFFECTS, window=5)


def test_the_published_numbers_stand_beside_ones_own_and_what_is_missing_is_explained_below() -> None:
    lines = localization_table(FOUND).splitlines()
    assert lines[0].startswith("R² of the rewrite score from the edited layer, from its tracing effect (window 5), and")
    assert re.fullmatch(r" +-+ here -+  -+ GPT-J, published -+", lines[2])
    assert lines[3].split() == ["problem", "method", *(["n", "Layer", "Tracing", "Both", "Diff", "p"] * 2)]
    first = FOUND[(FOUND.method == "FT-5") & (FOUND.score == "rewrite")].iloc[0]
    own = [*(f"{first[name]:.3f}" for name in ("r2_layer", "r2_effect", "r2_both", "difference")), f"{first['p']:.4f}"]
    assert re.split("  +", lines[5]) == [
        *("error injection", "FT-5", "12", *own),
        *("652", "0.775", "0.055", "0.777", "0.002", "<1e-4"),
    ]
    assert re.split("  +", lines[8].strip()) == [
        *("ROME [1]", "12", *"–––––"),
        *("652", "0.422", "0.004", "0.425", "0.003", "<1e-4"),
    ]
    assert lines[9:] == ["", "[1] the score is the same in all rows"]
    assert len({len(line) for line in lines[2:9]}) == 1


def test_published_numbers_of_another_window_say_so() -> None:
    found = regressions(SCORES, EFFECTS, window=1)
    assert " GPT-J, published, window 5 -" in localization_table(found).splitlines()[2]


def test_markdown_and_latex_have_as_many_cells_in_each_line() -> None:
    markdown = localization_table(FOUND, format="markdown").splitlines()
    assert markdown[2].startswith("| problem | method | here: n | here: Layer | here: Tracing effect | here: Both |")
    assert {line.count("|") for line in markdown[2:8]} == {15} and markdown[-1].startswith("[1] the score")
    latex = localization_table(FOUND, format="latex").splitlines()
    assert latex[1] == r"\begin{tabular}{llrrrrrrrrrrrr}"
    assert latex[3] == r" &  & \multicolumn{6}{c}{here} & \multicolumn{6}{c}{GPT-J, published} \\"
    assert latex[4:6] == [r"\cmidrule(lr){3-8}", r"\cmidrule(lr){9-14}"]
    assert {line.count(" & ") for line in latex if line.endswith(r"\\") and "multicolumn" not in line} == {13}
    assert r"$<$1e-4 \\" in latex[8] and latex[-1] == r"\par [1] the score is the same in all rows"


def test_a_score_that_the_paper_does_not_have_stands_alone_and_so_does_another_measure_or_predictor() -> None:
    alone = localization_table(FOUND, published=False).splitlines()
    assert alone[2].split() == ["problem", "method", "n", "Layer", "Tracing", "Both", "Diff", "p"]
    assert "published" not in localization_table(FOUND, score="essence")
    zeroing = regressions(SCORES, EFFECTS, window=5, measure="zeroing", ids=["record 1", "record 2", "record 3"])
    table = localization_table(zeroing, format="markdown")
    assert "published" not in table and "| Zeroing effect |" in table
    assert "zeroing effect (window 5), and from both, concentrated records." in table
    last = localization_table(regressions(SCORES, EFFECTS, window=5, predictor="effect_last"))
    assert "published" not in last and "(window 5, effect_last)" in last


def test_a_method_that_the_paper_does_not_have_gets_no_numbers_beside_it() -> None:
    other = localization_table(FOUND.replace({"method": {"FT-5": "EMMET"}})).splitlines()
    assert other[5].split()[-6:] == ["–"] * 6 and other[6].split()[-6] == "652"
    assert "published" not in localization_table(FOUND.replace({"method": {"FT-5": "EMMET", "ROME": "PMET"}}))


def test_rows_that_miss_numbers_for_the_same_reason_share_a_note() -> None:
    frame = regressions(SCORES.assign(rewrite=0.5), EFFECTS, window=5, ids=list(dict.fromkeys(SCORES["id"]))[:8])
    lines = localization_table(frame).splitlines()
    assert [line.split("[1]")[0].split()[-1] for line in lines[5:9]] == ["FT-5", "ROME"] * 2
    assert lines[9:] == ["", "[1] the score is the same in all rows"]


def test_small_p_values_are_bounds_and_zeros_have_no_sign() -> None:
    row = published_regressions().iloc[[0]].assign(p_text="", difference=-1e-9, n_facts=3)
    shown = [
        re.split("  +", localization_table(row.assign(p=p), published=False).splitlines()[-1])[-2:]
        for p in (0.0, 9e-5, 1.2e-4, 0.0123, 1.0)
    ]
    assert shown == [["0.000", p] for p in ("<1e-4", "<1e-4", "0.0001", "0.012", "1.000")]


def test_mean_scores_stand_by_method_and_layer_with_half_their_interval() -> None:
    made = [("ROME", "a", 0, 1.0), ("ROME", "b", 0, 0.5), ("ROME", "a", 3, 0.25), ("ROME", "b", 3, np.nan)]
    made += [("MEMIT", "a", 3, -0.0), ("MEMIT", "b", 3, 0.0)]
    scores = pd.DataFrame([score_row(name, layer, x, method=method) for method, name, layer, x in made])
    scores.loc[3, "missing"] = "the edit diverged"
    assert scores_table(scores).splitlines() == [
        "Mean rewrite score of error injection in percent, with half its 95% interval, by edited layer from 0.",
        "",
        "               ---- edited layer ----",
        "method      n            0          3",
        "--------  ---  -----------  ---------",
        "ROME [1]  1–2  75.0 (34.6)       25.0",  # sd 0.25: 1.96 * 25 / √2
        "MEMIT       2            –  0.0 (0.0)",
        "",
        "[1] 1 of 4 scores missing: the edit diverged",
    ]
    assert scores_table(scores, format="markdown").splitlines()[2] == (
        "| method | n | edited layer: 0 | edited layer: 3 |"
    )
    assert r"ROME [1] & 1--2 & 75.0 (34.6) & 25.0 \\" in scores_table(scores, format="latex")


def test_a_table_of_scores_is_of_one_problem() -> None:
    with pytest.raises(
        StudyError, match=r"table is of one problem, and there are error injection, fact forcing\. Name"
    ):
        scores_table(SCORES)
    table = scores_table(SCORES, problem="fact forcing", layers=[5], format="markdown")
    assert table.splitlines()[-1] == "| ROME | 12 | 50.0 (0.0) |"
    with pytest.raises(StudyError, match=r"no row of problem 'forcing'\. There are 'error injection', 'fact forcing'"):
        scores_table(SCORES, problem="forcing")
    with pytest.raises(StudyError, match="unknown score 'n'"):
        scores_table(SCORES, score="n")


def test_wrong_formats_and_mixed_frames_are_refused() -> None:
    for table, frame in ((localization_table, FOUND), (scores_table, SCORES)):
        with pytest.raises(StudyError, match="a table is text, markdown, latex, got 'html'"):
            table(frame, format="html")
    mixed = pd.concat([FOUND, regressions(SCORES, EFFECTS, window=1)])
    with pytest.raises(StudyError, match=r"of one window, and the frame has 5, 1\. Choose one: .*\.window == 5\]"):
        localization_table(mixed)
    with pytest.raises(
        StudyError, match=r"table of regressions has two rows of problem 'error injection', method 'FT-5'"
    ):
        localization_table(pd.concat([FOUND, FOUND]))
    with pytest.raises(StudyError, match=r"no row of score 'overall_essence'\. There are 'rewrite'"):
        localization_table(FOUND, score="overall_essence")
    with pytest.raises(StudyError, match="table of regressions lacks subset"):
        localization_table(FOUND.drop(columns="subset"))
