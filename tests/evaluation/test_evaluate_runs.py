"""Evaluations in a folder: what memory gives, whatever was interrupted, divided or asked before."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lens_rome.datasets import References, Snippets
from lens_rome.editing import MEMIT, ROME, Edit, ValueSettings
from lens_rome.errors import EditError, EditMismatchError, FileFormatError, RunError
from lens_rome.evaluation import (
    EvalReport,
    Evaluation,
    ReportError,
    TextSettings,
    UnfinishedRunWarning,
    evaluate,
    load_run,
)
from lens_rome.facts import EvalRecord
from lens_rome.runs import Run
from lens_rome.surface import as_surface
from tests.evaluation.run_support import assert_same, rows_of
from tests.evaluation.support import RECORDS as PLAIN
from tests.helpers import Case

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.editing.DisablingEditWarning")

RECORDS = [replace(record, generation_prompts=(f"{record.request.subject} is",)) for record in PLAIN]
RECORDS += [replace(record, case_id=record.case_id + 90) for record in RECORDS[:2]]
EDITOR = ROME(1, value=ValueSettings(steps=3), context_lengths=((3, 2),))
ASKED: dict[str, Any] = {"moments": "identity", "before": True}
TEXTS: dict[str, Any] = {"texts": TextSettings(length=12, essence_samples=1), "essence": True}


@pytest.mark.parametrize("more", [{}, TEXTS], ids=["scores", "texts"])
def test_a_run_in_a_folder_gives_what_memory_gives(gpt2: Any, tmp_path: Path, more: dict[str, Any]) -> None:
    asked: dict[str, Any] = {**ASKED, **more, "label": "ROME"}
    here = evaluate(gpt2, RECORDS, EDITOR, **asked)
    there = evaluate(gpt2, RECORDS, EDITOR, out=tmp_path / "run", chunk_size=2, **asked)
    assert_same(there, here, 1e-12)
    assert there.label == here.label and bool(there.texts) == bool(more)
    assert EvalReport.load(tmp_path / "run") == load_run(tmp_path / "run") == there
    with pytest.raises(ReportError, match="is the folder of a run, which is its own report"):
        there.save(tmp_path / "run")
    told = dict(there.settings)
    added = {name: told.pop(name) for name in ("weights_digest", "records", "moments", "chunk_size")}
    assert added["moments"] == "identity" and added["chunk_size"] == 2
    contexts = told["edits"][0].pop("contexts")
    assert told == here.settings and len(contexts) == 3 and contexts[0] == ""


def test_a_case_tells_what_was_asked_and_how_its_edit_was_made(gpt2: Any) -> None:
    edit = EDITOR.edit(gpt2, RECORDS[0].request, moments="identity")
    made = evaluate(gpt2, RECORDS[:1], EDITOR, moments="identity").cases[0]
    given, plain = (evaluate(gpt2, RECORDS[:1], edits).cases[0] for edits in (edit, None))
    request = RECORDS[0].request
    for case in (made, given, plain):
        told = (case.case_id, case.subject, case.template, case.target_new, case.target_true)
        assert told == (11, request.subject, request.template, request.target_new, request.target_true)
    assert made.seconds is not None and made.seconds > 0 and given.seconds is None and plain.seconds is None
    assert (made.editor, given.editor, plain.editor) == ("ROME", "ROME", "") and plain.change is None
    ((_, share),) = edit.norms().values()
    assert made.change == pytest.approx(share, rel=1e-12) == given.change
    assert len(made.losses) == 3 and made.losses == pytest.approx([s["total"] for s in edit.provenance["losses"][0]])
    assert plain.losses == () and replace(made, seconds=None) == replace(given, losses=made.losses, change=made.change)


def test_a_sum_of_edits_tells_the_search_of_the_records_own_request(model: Any) -> None:
    first, second = (EDITOR.edit(model, record.request, moments="identity") for record in RECORDS[:2])
    report = evaluate(model, RECORDS[:3], first + second)
    assert [case.editor for case in report.cases] == ["ROME + ROME"] * 3
    for case, edit in zip(report.cases, (first, second), strict=False):
        assert case.losses == tuple(step["total"] for step in edit.provenance["losses"][0])
    assert report.cases[2].losses == () and report.cases[2].change == report.cases[0].change


def test_a_finished_run_computes_nothing_more(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = evaluate(model, RECORDS, out=tmp_path / "run", label="plain")
    monkeypatch.setattr(Evaluation, "scored", None)
    assert evaluate(model, RECORDS, out=tmp_path / "run") == found
    assert evaluate(model, RECORDS, out=tmp_path / "run", label="other").label == "other"


@pytest.mark.parametrize(
    "editor",
    [EDITOR, MEMIT((0, 1), value=ValueSettings(steps=3), starts=("The",), context_length=4)],
    ids=["ROME", "MEMIT"],
)
def test_shares_give_the_values_of_one_worker_to_the_last_digits(gpt2: Any, tmp_path: Path, editor: Any) -> None:
    alone = evaluate(gpt2, RECORDS, editor, **ASKED, out=tmp_path / "alone", chunk_size=1)
    for shard in ("3/3", "1/3", "2/3"):
        torch.manual_seed(len(shard))
        with pytest.warns(UnfinishedRunWarning) if shard != "2/3" else _nothing():
            shared = evaluate(gpt2, RECORDS, editor, **ASKED, out=tmp_path / "shared", chunk_size=1, shard=shard)
    assert_same(shared, alone, 1e-12)
    assert len(list((tmp_path / "shared").glob("part-*"))) == 3
    ids = [row["id"] for row in rows_of(tmp_path / "shared")]
    assert sorted(ids) == sorted(str(record.case_id) for record in RECORDS), "each once"


@pytest.fixture
def model(shared_model: Any) -> Any:
    """On the surface that every version has; nobody may change it."""
    return shared_model(Case("gpt2", "bridge"))


class _nothing:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


def test_an_unfinished_run_gives_the_report_of_what_is_there(model: Any, tmp_path: Path) -> None:
    with pytest.warns(UnfinishedRunWarning, match=r"run holds 2 of 5 records: 3 are still to be done \(start it"):
        report = evaluate(model, RECORDS, out=tmp_path / "run", chunk_size=2, shard="2/3")
    assert report.case_ids == (13, 101)


def test_a_torn_last_line_costs_its_record_only(model: Any, tmp_path: Path) -> None:
    whole = evaluate(model, RECORDS, out=tmp_path / "run")
    (part,) = (tmp_path / "run").glob("part-*")
    part.write_bytes(part.read_bytes()[:-200])
    with pytest.warns(UnfinishedRunWarning, match="holds 4 of 5"):
        assert len(load_run(tmp_path / "run").case_ids) == 4
    assert_same(evaluate(model, RECORDS, out=tmp_path / "run"), whole, 1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"records": [replace(RECORDS[0], paraphrase_prompts=()), *RECORDS[1:]]},
            "run: other records. Nothing",
        ),
        ({"records": RECORDS[1:]}, "5 records are there, 4 were asked for"),
        ({"records": RECORDS[::-1]}, "its 5 records are others, or in another order"),
        ({"edits": replace(EDITOR, seed=7)}, r"seed is 0 there, 7 was .*contexts\[1\] is"),
        ({"edits": replace(EDITOR, value=ValueSettings(steps=2))}, "settings.value.steps is 3 there, 2 was asked for"),
        ({"edits": replace(EDITOR, contexts=("", "So. ", "I. "))}, r"edits\[0\].contexts\[1\] is .* there, 'So. ' was"),
        ({"edits": None}, r"edits is \[.* there, \[\] was asked for; moments is 'identity' there, not set was"),
        ({"before": False}, "before is True there, False was asked for"),
        ({"texts": TextSettings(length=12)}, "texts is not set there"),
        ({"chunk_size": 3}, "chunk_size is 2 there, 3 was asked for"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:20],
)
def test_a_folder_of_another_evaluation_is_refused_and_stays_as_it_is(
    gpt2_run: tuple[Any, Path], change: dict[str, Any], message: str
) -> None:
    model, folder = gpt2_run
    arguments: dict[str, Any] = {"records": RECORDS, "edits": EDITOR, "out": folder, "chunk_size": 2, **ASKED}
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(RunError, match=message):
        evaluate(model, **{**arguments, **change})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.fixture(scope="module")
def gpt2_run(shared_model: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    model, folder = shared_model(Case("gpt2", "bridge")), tmp_path_factory.mktemp("run")
    evaluate(model, RECORDS, EDITOR, out=folder, chunk_size=2, **ASKED)
    return model, folder


def test_another_model_is_refused(gpt2_run: tuple[Any, Path], fresh_model: Any) -> None:
    edited = fresh_model(Case("gpt2", "bridge"))
    with torch.no_grad():
        as_surface(edited).weight(2).add_(1e-3)
    with pytest.raises(RunError, match=r"another run: .*other weights_digest"):
        evaluate(edited, RECORDS, EDITOR, out=gpt2_run[1], chunk_size=2, **ASKED)


def test_how_many_are_computed_at_once_may_differ_between_starts(model: Any, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"out": tmp_path / "run", "refused": "unedited", **TEXTS}
    evaluate(model, RECORDS[:2], **asked)
    other: dict[str, Any] = {**asked, "batch_tokens": 64, "refused": "raise", "texts": replace(TEXTS["texts"], rows=1)}
    assert len(evaluate(model, RECORDS[:2], **other).texts) == 2


def test_given_edits_are_told_by_what_they_change(gpt2: Any, shared_model: Any, tmp_path: Path) -> None:
    edits = {record.case_id: EDITOR.edit(gpt2, record.request, moments="identity") for record in RECORDS[:3]}
    found = evaluate(gpt2, RECORDS[:3], edits, out=tmp_path / "run")
    again = {key: Edit.load(edit.save(tmp_path / f"{key}.safetensors")) for key, edit in reversed(edits.items())}
    assert evaluate(gpt2, RECORDS[:3], again, out=tmp_path / "run") == found
    with pytest.raises(RunError, match="another run: other given_edits"):
        evaluate(gpt2, RECORDS[:3], {**edits, 12: edits[11]}, out=tmp_path / "run")
    other = shared_model(Case("gpt2", as_surface(gpt2).name, True))
    with pytest.raises(EditMismatchError):
        evaluate(other, RECORDS[:3], edits, out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_references_and_their_texts_are_part_of_a_run(model: Any, tmp_path: Path) -> None:
    texts = {record.reference_group: ("a piano in Spain",) for record in RECORDS}
    one, other = (
        References.of(Snippets({**texts, ("", "Spanish piano"): (text,)})) for text in ("in Rome", "the city")
    )
    asked: dict[str, Any] = {"texts": TextSettings(length=12), "out": tmp_path / "run"}
    evaluate(model, RECORDS[:2], references=one, **asked)
    with pytest.raises(RunError, match="another run: other references"):
        evaluate(model, RECORDS[:2], references=other, **asked)


@pytest.mark.parametrize("retry", [False, True])
def test_a_record_that_fails_is_an_error_row_and_can_be_tried_again(
    model: Any, tmp_path: Path, retry: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"out": tmp_path / "run", "chunk_size": 2}
    score = Evaluation.scored

    def failing(self: Any, records: list[EvalRecord], writer: Any) -> Any:
        if any(record.case_id == 12 for record in records):
            raise MemoryError("no room")
        yield from score(self, records, writer)

    with (
        monkeypatch.context() as patch,
        pytest.warns(
            UnfinishedRunWarning,
            match=r"holds 4 of 5 records: 1 failed, the first \(case 12\) with MemoryError: no room",
        ),
    ):
        patch.setattr(Evaluation, "scored", failing)
        report = evaluate(model, RECORDS, **asked)
    assert report.case_ids == (11, 13, 101, 102)
    with _nothing() if retry else pytest.warns(UnfinishedRunWarning, match="retry_errors=True tries them again"):
        again = evaluate(model, RECORDS, **asked, retry_errors=retry)
    assert again.case_ids == ((11, 12, 13, 101, 102) if retry else report.case_ids)


def test_a_run_in_which_everything_fails_says_so(model: Any, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds 0 of 2 records: 2 failed, the first \(case 11\) with MomentError: "):
        evaluate(model, RECORDS[:2], EDITOR, out=tmp_path / "run")


def test_a_full_disk_loses_nothing_that_was_written(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, room = os.write, 4000

    def filling(descriptor: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(28, "No space left on device")
        written = write(descriptor, bytes(data)[:room])
        room -= written
        return written

    with monkeypatch.context() as patch, pytest.raises(RunError, match=r"No space left.* Make room on the disk"):
        patch.setattr(os, "write", filling)
        evaluate(model, RECORDS, out=tmp_path / "run", chunk_size=1)
    done = Run.read(tmp_path / "run", "evaluation").done
    assert 0 < len(done) < 5
    assert_same(evaluate(model, RECORDS, out=tmp_path / "run", chunk_size=1), evaluate(model, RECORDS), 1e-12)
    assert len(rows_of(tmp_path / "run")) == 5


def test_a_row_of_another_kind_is_named(model: Any, tmp_path: Path) -> None:
    evaluate(model, RECORDS, out=tmp_path / "run")
    (part,) = (tmp_path / "run").glob("part-*")
    lines = part.read_text().splitlines(keepends=True)
    part.write_text("".join([json.dumps({"id": "11", "place": 0, "rows": [{"case_id": 1}]}) + "\n", *lines[1:]]))
    with pytest.raises(FileFormatError, match=r"the row of '11' is not of an evaluation: .* Delete its line"):
        load_run(tmp_path / "run")
    with pytest.raises(RunError, match=r"there is no run in .*: there is no such folder"):
        load_run(tmp_path / "none")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk_size": 0}, "chunk_size must be a whole number from 1 up, got 0"),
        ({"shard": "1/2"}, "shard='1/2' is a share of a run in a folder; pass out="),
        ({"retry_errors": True}, "retry_errors=True tries again what failed in a run's folder; pass out="),
        ({"refused": "skip"}, "refused is 'raise' or 'unedited', got 'skip'"),
    ],
    ids=str,
)
def test_options_that_do_not_fit_are_refused(model: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(EditError, match=message):
        evaluate(model, RECORDS, **options)


@pytest.mark.parametrize("folder", [True, False])
def test_records_need_different_case_ids(model: Any, tmp_path: Path, folder: bool) -> None:
    """A record's score is the mean over its prompts, so two of one id would count as one."""
    with pytest.raises(EditError, match="2 records have the case id 11, by which scores are told apart"):
        evaluate(model, [RECORDS[0], *RECORDS], out=tmp_path / "run" if folder else None)


def test_a_record_that_cannot_be_asked_takes_none_with_it_that_shares_its_prompts(model: Any, tmp_path: Path) -> None:
    request = replace(RECORDS[0].request, target_new="piano " * 80)
    bad = replace(RECORDS[0], case_id=5, request=request)
    with pytest.warns(UnfinishedRunWarning, match=r"1 failed, the first \(case 5\) with SurfaceError"):
        found = evaluate(model, [*RECORDS[:2], bad], before=True, out=tmp_path / "run")
    assert_same(found, evaluate(model, RECORDS[:2], before=True), 1e-12)
