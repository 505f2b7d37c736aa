"""A run's folder says what is computed there; nothing else can be continued in it."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from lens_rome.errors import RunError
from lens_rome.runs import Run
from lens_rome.runs.manifest import NAME
from tests.runs.support import IDS, SETTINGS, do, open_run


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def changed(folder: Path, **changes: Any) -> None:
    """Write other values into a run's manifest."""
    content = json.loads((folder / NAME).read_text())
    (folder / NAME).write_text(json.dumps({**content, **changes}))


def test_the_manifest_tells_kind_settings_ids_and_versions(tmp_path: Path) -> None:
    run = Run.open(tmp_path / "run", "trace", SETTINGS, ids=IDS, created_by={"lens_rome": "0.1.0"})
    content = json.loads((run.folder / NAME).read_text())
    assert content["format_version"] == 1 and content["kind"] == "trace" and content["settings"] == SETTINGS
    assert content["ids"]["count"] == len(IDS) and len(content["ids"]["sha256"]) == 64
    assert content["created_by"] == {"lens_rome": "0.1.0"}
    assert [path.name for path in run.folder.iterdir()] == [NAME]  # no temporary file stays


def test_the_same_settings_open_the_same_run_whatever_made_them(tmp_path: Path) -> None:
    first = Run.open(tmp_path, "trace", SETTINGS, ids=IDS, created_by={"torch": "2.6"})
    before = snapshot(tmp_path)
    reordered = {"contexts": ("{}", "So. {}"), "noise": SETTINGS["noise"], "samples": 10}
    again = Run.open(str(tmp_path), "trace", reordered, ids=tuple(IDS), created_by={"torch": "2.9"})
    assert again == first and again.manifest.created_by == {"torch": "2.6"}
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 20}, "samples is 10 there, 20 was asked for"),
        ({"samples": None}, "samples is 10 there, None was asked for"),
        ({"seed": 1}, "seed is not set there, 1 was asked for"),
        ({"noise": {"kind": "gaussian"}}, "noise.scale is 3.0 there, not set was asked for"),
        ({"noise": {"kind": "gaussian", "scale": 2.5}}, "noise.scale is 3.0 there, 2.5 was asked for"),
        ({"noise": "3s"}, r"noise is \{'kind'.* there, '3s' was asked for"),
        ({"contexts": ["{}", "But {}"]}, r"contexts\[1\] is 'So. \{\}' there, 'But \{\}' was asked for"),
        ({"contexts": ["{}"]}, r"contexts is \['\{\}', 'So. \{\}'\] there, \['\{\}'\] was asked for"),
    ],
    ids=repr,
)
def test_other_settings_are_refused_with_both_values_and_nothing_is_written(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    do(open_run(tmp_path))
    before = snapshot(tmp_path)
    with pytest.raises(RunError, match=message + r".*Nothing was written. Name another folder, or use the same"):
        Run.open(tmp_path, "trace", {**SETTINGS, **change}, ids=IDS)
    assert snapshot(tmp_path) == before


def test_every_differing_setting_is_named_up_to_ten(tmp_path: Path) -> None:
    Run.open(tmp_path, "trace", {f"s{n}": "a" * 300 for n in range(12)}, ids=IDS)
    with pytest.raises(RunError, match=r"s0 is 'a.* s9 is .*; and 2 more") as caught:
        Run.open(tmp_path, "trace", {f"s{n}": n for n in range(12)}, ids=IDS)
    assert "s10 is" not in str(caught.value) and "a" * 120 not in str(caught.value)


def test_another_kind_is_refused(tmp_path: Path) -> None:
    open_run(tmp_path)
    for use in (lambda: Run.open(tmp_path, "evaluate", SETTINGS, ids=IDS), lambda: Run.read(tmp_path, "evaluate")):
        with pytest.raises(RunError, match=r"holds a 'trace' run, asked was for a 'evaluate' run. Name another folder"):
            use()


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (IDS[:-1], "30 facts are there, 29 were asked for"),
        ([*IDS, "one more"], "30 facts are there, 31 were asked for"),
        ([*IDS[:-1], "other"], "its 30 facts are others, or in another order"),
        (IDS[::-1], "its 30 facts are others, or in another order"),
        ([*IDS[:-2], IDS[-1], IDS[-2]], "its 30 facts are others, or in another order"),
    ],
)
def test_another_list_or_order_of_ids_is_refused(tmp_path: Path, ids: list[str], message: str) -> None:
    open_run(tmp_path)
    with pytest.raises(RunError, match=rf"another run: {message}\. Nothing was written.*or use the same facts and"):
        Run.open(tmp_path, "trace", SETTINGS, ids=ids, what="facts")


def test_ids_that_only_look_alike_when_joined_are_different(tmp_path: Path) -> None:
    open_run(tmp_path, ["a", "b, c"])
    with pytest.raises(RunError, match="2 ids are others"):
        open_run(tmp_path, ["a, b", "c"])


def test_digests_are_not_shown_and_those_of_the_ids_not_named_twice(tmp_path: Path) -> None:
    there, asked = ({"facts": letter * 64, "weights": f"sha256 {letter * 64}"} for letter in "ab")
    Run.open(tmp_path, "trace", there, ids=IDS)
    with pytest.raises(RunError, match=r"another run: other facts; other weights\. Nothing"):
        Run.open(tmp_path, "trace", asked, ids=IDS, what="facts")
    with pytest.raises(RunError, match=r"another run: 30 facts are there, 29 were asked for; other weights\. Nothing"):
        Run.open(tmp_path, "trace", asked, ids=IDS[1:], what="facts")


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, b"bytes", object()], ids=lambda value: type(value).__name__)
def test_settings_that_json_cannot_hold_are_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(RunError, match=r"settings of a 'trace' run cannot be written as JSON: .* Use texts, finite"):
        Run.open(tmp_path / "run", "trace", {"noise": value}, ids=IDS)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", "{}", "\x00\x00", '{"format_version": "new"}', '{"format_version": 1, "kind": "trace"}'],
)
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    open_run(tmp_path)
    (tmp_path / NAME).write_text(text)
    for use in (lambda: open_run(tmp_path), lambda: Run.read(tmp_path, "trace")):
        with pytest.raises(RunError, match=r"manifest.json is damaged .* Put it back from a copy"):
            use()
    assert (tmp_path / NAME).read_text() == text


@pytest.mark.parametrize("change", [{"settings": None}, {"settings": 3}, {"ids": {"count": 30}}, {"ids": [30]}])
def test_a_manifest_with_a_damaged_field_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    open_run(tmp_path)
    changed(tmp_path, **change)
    with pytest.raises(RunError, match="is damaged"):
        open_run(tmp_path)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    open_run(tmp_path)
    changed(tmp_path, format_version=2, settings=None)
    with pytest.raises(RunError, match=r"format version 2, this lens_rome reads up to 1. Update lens_rome"):
        open_run(tmp_path)


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    for name in ("notes.txt", "part-0000-0001.jsonl"):
        (tmp_path / name).touch()
    before = snapshot(tmp_path)
    with pytest.raises(RunError, match=r"holds other files \('notes.txt' and so on, 2 in all\) and no manifest.json"):
        open_run(tmp_path)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("name", [".manifest.abc.tmp", ".DS_Store"])
def test_hidden_files_such_as_a_killed_start_leaves_are_no_obstacle(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert open_run(tmp_path).rows() == {}


def test_a_folder_whose_parent_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"the folder .*missing does not exist. Create it first"):
        open_run(tmp_path / "missing" / "run")


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError, match=r"cannot make a run in .* Name a folder that can be written to"):
            open_run(folder)


def test_a_read_only_place_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)  # a real one would not stop an administrator
    with pytest.raises(RunError, match=r"Permission denied.* Name a folder that can be written to"):
        open_run(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is read-only for an administrator")
def test_a_read_only_run_can_be_opened_and_read_but_not_continued(tmp_path: Path) -> None:
    do(open_run(tmp_path), rank=0, world=2)
    tmp_path.chmod(0o555)
    try:
        assert len(Run.read(tmp_path, "trace").rows()) == 16
        with pytest.raises(RunError, match="Make it writable"):
            do(open_run(tmp_path))
    finally:
        tmp_path.chmod(0o755)


def test_reading_where_no_run_is_fails_and_makes_nothing(tmp_path: Path) -> None:
    whys = {tmp_path: r"it has no manifest\.json", tmp_path / "missing": "there is no such folder"}
    for folder, why in whys.items():
        with pytest.raises(RunError, match=f"no run in {folder}: {why}. Check the folder's name"):
            Run.read(folder, "trace")
    assert list(tmp_path.iterdir()) == []


def no_links(*_: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


def test_a_drive_without_hard_links_gets_its_manifest_by_renaming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", no_links)
    do(open_run(tmp_path / "run"))
    assert Run.read(tmp_path / "run", "trace").finished
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [NAME, "part-0000-0001.jsonl"]


@pytest.mark.parametrize("links", [True, False])
def test_a_manifest_that_appears_at_the_last_moment_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    link = os.link if links else no_links

    def beaten(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        Run.open(target.parent, "trace", {"samples": 1}, ids=IDS)
        link(source, target)

    monkeypatch.setattr(os, "link", beaten)
    with pytest.raises(RunError, match="samples is 1 there, 2 was asked for"):
        Run.open(tmp_path, "trace", {"samples": 2}, ids=IDS)
    assert Run.read(tmp_path, "trace").manifest.settings == {"samples": 1}
