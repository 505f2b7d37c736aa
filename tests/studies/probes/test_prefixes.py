"""P8: cosines and distances against numpy, and edits against `evaluate`."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lens_rome.editing import FineTune, compute_key
from lens_rome.errors import EditError
from lens_rome.evaluation import compare, evaluate
from lens_rome.facts import sample_contexts
from lens_rome.studies.probes import Finding, PrefixSet, prefix_sets, prefixes
from lens_rome.surface import as_surface
from tests.editing.support import DISABLING, NO_PROBE, quick_rome, random_moment
from tests.helpers import Case, assert_untouched
from tests.studies.probes.test_layers import RECORDS

pytestmark = [pytest.mark.filterwarnings(NO_PROBE), pytest.mark.filterwarnings(DISABLING)]

NONE = PrefixSet("none", ("",))
TWO = PrefixSet("two", ("", "He said that. ", "It was a quiet day. "))
EDITOR = quick_rome()


@pytest.fixture
def model(shared_model: Any) -> Any:
    """Nobody may change it."""
    return shared_model(Case("gpt2", "bridge"))


def told(finding: Finding, measure: str, name: str) -> Any:
    (row,) = [row for row in finding.summary if (row["set"], row["measure"]) == (name, measure)]
    return row


def test_keys_and_edits_are_those_made_by_hand(model: Any, tmp_path: Path) -> None:
    moment = random_moment(model)
    with assert_untouched(model):
        found = prefixes(model, EDITOR, RECORDS, sets=(NONE, TWO), moments=moment)
    for record in RECORDS:
        # compute_key averages: with the bare prompt k0, the mean of k0 and k is (k0 + k) / 2.
        bare = compute_key(model, record.request, EDITOR.layer).double().numpy()
        pairs = [
            compute_key(model, record.request, EDITOR.layer, ("", text)).double().numpy() for text in TWO.contexts[1:]
        ]
        keys = np.stack([bare, *(2 * pair - bare for pair in pairs)])
        mean = keys.mean(axis=0)
        rows: Any = [
            r for r in found.rows if (r["case"], r["set"], r["phase"]) == (str(record.case_id), "two", "before")
        ]
        assert [row["prompt"] for row in rows] == [text + record.request.prompt for text in TWO.contexts]
        cosine = keys @ mean / np.linalg.norm(keys, axis=1) / np.linalg.norm(mean)
        np.testing.assert_allclose([row["cosine"] for row in rows], cosine, atol=1e-9)
        distance = np.linalg.norm(keys - mean, axis=1) / np.linalg.norm(mean)
        np.testing.assert_allclose([row["distance"] for row in rows], distance, atol=1e-9)
    reports = {
        each.name: evaluate(model, RECORDS, replace(EDITOR, contexts=each.contexts), moments=moment)
        for each in (NONE, TWO)
    }
    for name, report in reports.items():
        for metric in ("S", "ES", "PS", "NS"):
            assert told(found, metric, name)["mean"] == pytest.approx(report.score(metric).mean, abs=1e-9)
        changes: Any = [case.change for case in report.cases]
        change = np.mean(changes)
        assert told(found, "change", name)["mean"] == pytest.approx(change)
    difference = compare(reports["two"], reports["none"]).differences["S"].difference
    assert found.answer.value == pytest.approx(difference.mean, abs=1e-9)
    again = Finding.load(found.save(tmp_path / "found.json"))
    assert again.settings["sets"] == {"none": [""], "two": list(TWO.contexts)}


def test_one_prefix_has_no_spread_and_nothing_to_compare_with(model: Any) -> None:
    found = prefixes(model, EDITOR, RECORDS[:1], sets=(NONE,), moments="identity")
    assert told(found, "relative spread", "none")["mean"] == 0.0
    assert told(found, "cosine", "none")["mean"] == pytest.approx(1.0)
    assert told(found, "S", "none")["published"] == 0.861
    assert math.isnan(found.answer.value) and "no other to compare it with" in found.answer.reading


def test_a_set_that_is_too_long_for_the_model_is_told_and_left_out(model: Any) -> None:
    long = PrefixSet("long", ("", "It was a quiet day in the winter. " * 30))
    found = prefixes(model, EDITOR, RECORDS[:1], sets=(NONE, TWO, long), moments="identity")
    assert [each.case for each in found.missing] == ["long"]
    assert {row["set"] for row in found.rows} == {"none", "two"}


def test_the_default_sets_are_fixed_by_their_seed(model: Any) -> None:
    sets, missing = prefix_sets(model, seed=3)
    assert not missing
    assert sets[1].contexts == sample_contexts(as_surface(model), ((5, 10), (10, 10)), 3)
    sizes = {each.name: len(each.contexts) for each in sets}
    assert list(sizes.values())[:2] == [1, 21] and list(sizes.values())[3:] == [31, 61]
    assert 40 <= sizes["50 of 0-10"] <= 51


@pytest.mark.parametrize(
    ("editor", "sets", "message"),
    [
        (FineTune((0,)), (NONE,), "has no contexts and layer"),
        (type(EDITOR), (NONE,), "no contexts and layer"),
        (EDITOR, (), "sets are PrefixSets"),
        (EDITOR, (NONE, NONE), "2 sets of prefixes are called 'none'"),
    ],
)
def test_what_cannot_be_compared_is_refused(model: Any, editor: Any, sets: Any, message: str) -> None:
    with pytest.raises(EditError, match=message):
        prefixes(model, editor, RECORDS, sets=sets, moments="identity")


def test_prefixes_without_the_bare_prompt_and_no_records_are_refused(model: Any) -> None:
    with pytest.raises(EditError, match="must begin with ''"):
        PrefixSet("x", ("He said. ",))
    with pytest.raises(EditError, match="would run into the prompt"):
        PrefixSet("x", ("", "He said."))
    with pytest.raises(EditError, match="no records"):
        prefixes(model, EDITOR, [], sets=(NONE,), moments="identity")
