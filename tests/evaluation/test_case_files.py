"""Case files of the released code: a folder made by hand, and the way there and back."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lens_rome.errors import FileFormatError
from lens_rome.evaluation import (
    DamagedCaseWarning,
    EvalReport,
    PromptScore,
    RecordTexts,
    read_case_files,
    write_case_files,
)
from lens_rome.facts import EditRequest, EvalRecord
from tests.evaluation.reports import likely, random_report


def probs(*pairs: tuple[float, float]) -> list[dict[str, float]]:
    """Prompts by the probabilities of the new and the old object."""
    return [{"target_new": -math.log(new), "target_true": -math.log(true)} for new, true in pairs]


def case(number: int, post: dict[str, Any], pre: dict[str, Any] | None = None) -> dict[str, Any]:
    rewrite = {"prompt": "{} is in", "subject": f"Town {number}", "relation_id": "P17"}
    blocks = {"pre": pre, "post": post} if pre else {"post": post}
    return {"case_id": number, "requested_rewrite": rewrite, "time": 2.0, **blocks}


HAND_MADE = {
    "case_2.json": case(
        2,
        {
            "rewrite_prompts_probs": probs((0.9, 0.1)),
            "paraphrase_prompts_probs": probs((0.5, 0.1), (0.1, 0.2)),
            "neighborhood_prompts_probs": probs((0.1, 0.5), (0.2, 0.1), (0.1, 0.3), (0.1, 0.1)),
            "ngram_entropy": 6.0,
            "reference_score": 0.4,
            "text": ["Town 2 is", "so"],
        },
        {"rewrite_prompts_probs": probs((0.1, 0.6)), "ngram_entropy": 6.5},
    ),
    "case_10.json": case(
        10,
        {
            "rewrite_prompts_probs": probs((0.2, 0.3)),
            "paraphrase_prompts_probs": probs((0.3, 0.1), (0.4, 0.2)),
            "neighborhood_prompts_probs": probs((0.1, 0.5), (0.2, 0.4)),
            "ngram_entropy": 5.0,
            "essence_score": 30.0,
        },
    ),
}


def write(folder: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_a_folder_made_by_hand_gives_the_published_means_and_intervals(tmp_path: Path) -> None:
    report = read_case_files(write(tmp_path, HAND_MADE), "by hand")
    assert report.label == "by hand" and report.case_ids == (2, 10)
    expected = {
        # mean of both records, and 1.96 · (half their distance) / √2
        "ES": (1.0, 0.0),
        "EM": (0.8, -0.1),
        "PS": (0.5, 1.0),
        "PM": (0.15, 0.2),
        "NS": (0.5, 1.0),
        "NM": ((0.4 - 0.1 + 0.2) / 4, 0.3),
        "GE": (6.0, 5.0),
    }
    for name, (one, two) in expected.items():
        score = report.score(name)
        assert score.mean == pytest.approx((one + two) / 2), name
        assert score.half_width == pytest.approx(1.96 * abs(one - two) / 2 / 2**0.5), name
    assert report.overall == pytest.approx(3 / (1 / 0.5 + 1 / 0.75 + 1 / 0.75))
    assert report.values("RS") == {2: 0.4} and report.values("perplexity") == {10: 30.0}
    assert report.values("EM", before=True) == {2: pytest.approx(-0.5)} and report.values("GE", before=True) == {2: 6.5}
    assert report.scores[0].prompt == "Town 2 is in" and report.texts[0].texts == ("Town 2 is", "so")
    assert list(report.breakdown()) == ["P17"]


def test_what_case_files_do_not_hold_is_missing(tmp_path: Path) -> None:
    names = set(read_case_files(write(tmp_path, HAND_MADE)).summary())
    assert not names & {"RwS", "NeS", "Overall", "Efficacy", "Specificity", "rewrite_acc", "Ess"}


def test_a_file_that_cannot_be_decoded_is_left_out_and_not_counted_twice(tmp_path: Path) -> None:
    write(tmp_path, {**HAND_MADE, "case_5.json": '{"case_id": 5, "post": {"rewri'})
    with pytest.warns(DamagedCaseWarning, match=r"case_5\.json cannot be decoded and is left out"):
        report = read_case_files(tmp_path)
    assert report.case_ids == (2, 10) and report.efficacy.n == 2


def test_truths_of_memit_are_exact_matches_and_those_of_zsre_token_by_token(tmp_path: Path) -> None:
    memit = {
        "rewrite_prompts_probs": probs((0.9, 0.1)),
        "rewrite_prompts_correct": [True],
        "neighborhood_prompts_probs": probs((0.1, 0.5), (0.2, 0.4)),
        "neighborhood_prompts_correct": [True, False],
    }
    zsre = {
        "rewrite_prompts_correct": [True, False, True, True],
        "paraphrase_prompts_correct": [False, True],
        "neighborhood_prompts_correct": [True, True, False],
    }
    write(tmp_path, {"1_edits-case_3.json": case(3, memit), "1_edits-case_4.json": case(4, zsre, zsre)})
    report = read_case_files(tmp_path)
    assert report.values("rewrite_acc") == {3: 1} and report.values("neighborhood_acc") == {3: 0.5}
    assert report.values("ES") == {3: 1} and report.values("NS") == {3: 1} and report.values("EM").keys() == {3}
    assert report.values("Efficacy") == {4: 0.75} == report.values("Efficacy", before=True)
    assert report.values("Paraphrase") == {4: 0.5} and report.values("Specificity") == {4: pytest.approx(2 / 3)}


def test_files_that_were_written_are_in_the_original_format(tmp_path: Path) -> None:
    report = random_report(0)
    request = EditRequest("Town", "{} is in", "Rome", "Köln")
    paths = write_case_files(report, tmp_path / "run_000", [EvalRecord(10, request)])
    assert [each.name for each in paths] == [f"case_{number}.json" for number in range(10, 22)]
    content = json.loads(paths[0].read_text())
    assert content["case_id"] == 10 and content["requested_rewrite"]["target_true"] == {"str": "Köln"}
    assert json.loads(paths[1].read_text())["requested_rewrite"] == {"relation_id": "P1"}
    score = report.scores[3]
    assert content["post"]["neighborhood_prompts_probs"][0] == {
        "target_new": score.nll_new,
        "target_true": score.nll_true,
    }
    assert score.true is not None and content["post"]["neighborhood_prompts_correct"][0] == score.true.exact
    assert (
        content["post"]["text"] == ["a b", "c"]
        and content["pre"]["ngram_entropy"] == report.texts[0].before.ngram_entropy
    )
    assert [each.suffix for each in (tmp_path / "run_000").iterdir()] == [".json"] * 12


def test_a_report_that_was_written_and_read_has_the_same_published_scores(tmp_path: Path) -> None:
    report = random_report(0)
    write_case_files(report, tmp_path)
    found = read_case_files(tmp_path)
    for name in ("ES", "EM", "PS", "PM", "NS", "NM", "GE", "RS", "rewrite_acc", "neighborhood_acc", "perplexity"):
        for before in (False, True):
            assert found.values(name, before=before) == pytest.approx(report.values(name, before=before)), name
    write_case_files(found, tmp_path)
    assert read_case_files(tmp_path) == found


def test_zsre_is_written_with_as_many_truths_as_tokens_are_right(tmp_path: Path) -> None:
    rows = (
        PromptScore(7, "rewrite", "", likely(0.5, 3, 2)),
        PromptScore(7, "neighborhood", "", likely(0.5), likely(0.6, 1, 1)),
        PromptScore(7, "neighborhood", "", likely(0.5), likely(0.6, 1, 0)),
    )
    (path,) = write_case_files(EvalReport(rows), tmp_path)
    assert json.loads(path.read_text())["post"] == {
        "rewrite_prompts_correct": [True, True, False],
        "neighborhood_prompts_correct": [True, False],
    }
    found = read_case_files(tmp_path)
    assert found.values("Efficacy") == {7: pytest.approx(2 / 3)} and found.values("Specificity") == {7: 0.5}


def test_texts_alone_make_a_case_file(tmp_path: Path) -> None:
    report = EvalReport((), tmp_path.name, (RecordTexts(3, ("x",), 5.0, relation="P1"),), {"source": "case files"})
    write_case_files(report, tmp_path)
    assert read_case_files(tmp_path) == report


def test_folders_without_usable_case_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="there is no case file that can be read in"):
        read_case_files(tmp_path)
    write(tmp_path, {"1_edits-case_2.json": HAND_MADE["case_2.json"], "case_2.json": HAND_MADE["case_2.json"]})
    with pytest.raises(FileFormatError, match=r"case 2 is in .*case_2\.json and in .*case_2\.json\. Keep one of them"):
        read_case_files(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {"post": {}},
        {"case_id": 1},
        {"case_id": 1, "post": [1]},
        {"case_id": 1, "post": {"rewrite_prompts_probs": [{"target_new": 1.0}]}},
        case(1, {"rewrite_prompts_probs": probs((0.5, 0.4))}, {"rewrite_prompts_probs": probs((0.5, 0.4), (0.1, 0.2))}),
        case(1, {"rewrite_prompts_probs": probs((0.5, 0.4)), "rewrite_prompts_correct": [True, True]}),
    ],
)
def test_json_that_is_no_case_file_is_refused(tmp_path: Path, content: Any) -> None:
    write(tmp_path, {"case_1.json": content})
    with pytest.raises(FileFormatError, match=r"case_1\.json is not a case file of the released code.*Take it out"):
        read_case_files(tmp_path)


def test_a_place_where_no_folder_can_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "missing" / "run"):
        with pytest.raises(FileFormatError, match="it must be a folder, in one that exists"):
            write_case_files(replace(random_report(0), label="x"), place)
