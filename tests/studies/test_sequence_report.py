"""Reports print, save and load, with numbers that are not finite as well."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from lens_rome.errors import FileFormatError
from lens_rome.studies import Checkpoint, SequenceReport

FIRST = Checkpoint(0, {}, {}, 0.0, 0.0, 0.0, math.nan, math.nan, math.nan, 0, 0.75, 4.25, 3.5)
LAST = Checkpoint(
    20, {"W_out of layer 1": 3.0}, {"W_out of layer 1": 0.5}, 3.0, 0.5, 2.5, 1.0, 0.5, 0.4, 19, 0.25, math.inf, math.nan
)
REPORT = SequenceReport("ROME", {"batch": 1, "editor": "ROME"}, (FIRST, LAST), (1.0, 2.5), 1, "no solution")


def test_a_saved_report_comes_back(tmp_path: Path) -> None:
    path = REPORT.save(tmp_path / "report.json")
    loaded = SequenceReport.load(path)
    assert str(loaded) == str(REPORT)
    assert repr(loaded) == repr(REPORT)  # which compares NaN as text
    assert (loaded.steps, loaded.checkpoints[1]) == (REPORT.steps, replace(LAST, entropy=loaded.checkpoints[1].entropy))


def test_the_table_has_a_row_a_checkpoint_and_says_how_it_ended() -> None:
    lines = str(REPORT).splitlines()
    assert lines[0] == "ROME"
    assert lines[3] == "| 0 | – | – | 0.75 | 4.25 | 3.5 | 0 | 0 |"
    assert lines[4] == "| 20 | 1 | 0.5 | 0.25 | inf | – | 0.5 | 2.5 |"
    assert lines[5:] == ["The editor warned of 1 of 2 steps.", "Ended after 20 edits: no solution"]
    assert len(str(replace(REPORT, disabling=0, stopped=None)).splitlines()) == 5


def test_the_data_frame_has_a_row_a_checkpoint() -> None:
    frame = REPORT.to_dataframe()
    assert frame["edits"].tolist() == [0, 20]
    assert set(frame["label"]) == {"ROME"}
    assert {"norm", "relative_norm", "retention", "perplexity"} <= set(frame.columns)
    assert "norms" not in frame.columns


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "trace"}, "holds a 'trace'"),
        ({"format_version": 99}, "format version 99"),
        ({"checkpoints": [{"edits": 1}]}, "not a complete report"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = REPORT.save(tmp_path / "report.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}), encoding="utf-8")
    with pytest.raises(FileFormatError, match=message):
        SequenceReport.load(path)


def test_a_truncated_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    path = REPORT.save(tmp_path / "report.json")
    path.write_bytes(path.read_bytes()[:-40])
    for file in (path, tmp_path / "none.json"):
        with pytest.raises(FileFormatError, match="not a complete report"):
            SequenceReport.load(file)
