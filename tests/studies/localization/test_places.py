"""Folders that cannot hold a study, or hold another one."""

from pathlib import Path
from typing import Any

import pytest

from lens_rome.errors import RunError
from lens_rome.runs import Run
from lens_rome.studies.localization.places import RUN_KIND, check_place, check_same_study

THERE: dict[str, Any] = {
    "problems": {"error injection": {}},
    "layers": [1, 3],
    "widths": {"MEMIT": 5, "ROME": 1},
    "editors": {"error injection": {"MEMIT": {"steps": 20}, "ROME": {"steps": 20}}},
}


def test_what_differs_is_said_in_the_users_words(tmp_path: Path) -> None:
    edits = tmp_path / "study" / "edits"
    edits.parent.mkdir()
    Run.open(edits, RUN_KIND, THERE, ids=["a"])
    editors = {"error injection": {"ROME": {"steps": 20}}}
    with pytest.raises(RunError) as caught:
        check_same_study(edits, THERE | {"widths": {"ROME": 1}, "editors": editors, "layers": [1]})
    told = str(caught.value)
    assert "methods are MEMIT, ROME there, ROME asked for; layers are 1, 3 there, 1 asked for. Nothing" in told
    assert "steps" not in told and "widths" not in told
    check_same_study(edits, THERE | {"editors": editors})  # what is left is for Run.open to tell
    check_same_study(tmp_path / "none", THERE)


def test_a_file_in_the_folders_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "study").write_text("mine", "utf-8")
    with pytest.raises(RunError, match=r"cannot make the folder .*study: there is a file of that name\. Give another"):
        check_place(tmp_path / "study")
    with pytest.raises(RunError, match=r"the folder .*no does not exist\. Create it first"):
        check_place(tmp_path / "no" / "where")
    check_place(tmp_path / "new")
