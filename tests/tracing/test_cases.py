"""Folders of case files: names, what is read, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lens_rome.errors import FileFormatError, TraceError
from lens_rome.tracing import TraceSet, case_name, read_cases, trace_kinds, write_cases
from lens_rome.tracing.average import average_effects
from tests.helpers import FACTS
from tests.tracing.case_files import made_up, put


@pytest.mark.filterwarnings("ignore::lens_rome.tracing.WeakTraceWarning")
def test_a_real_trace_goes_through_files_and_keeps_its_average(gpt2: Any, tmp_path: Path) -> None:
    facts = ("subject first", "subject in the middle")
    made = {name: trace_kinds(gpt2, FACTS[name], noise=2.0, samples=2, original=True) for name in facts}
    traces = TraceSet({str(index): made[name] for index, name in enumerate(facts)})
    paths = write_cases(traces, tmp_path)
    assert [path.name for path in paths[:3]] == ["knowledge_0.npz", "knowledge_0_mlp.npz", "knowledge_0_attn.npz"]
    again = read_cases(tmp_path, original=True)
    assert again.kinds == ("resid", "mlp", "attn") and list(again.traces) == ["0", "1"] and not again.skipped
    for name, kinds in traces.traces.items():
        for kind, result in kinds.items():
            # float32
            torch.testing.assert_close(again.traces[name][kind].scores, result.scores, rtol=0, atol=1e-7)
    for before, after in zip(average_effects(traces).averages, average_effects(again).averages, strict=True):
        np.testing.assert_allclose(after.effect, before.effect, rtol=0, atol=1e-6)


def test_a_folder_is_read_by_the_names_of_its_files(tmp_path: Path) -> None:
    for known_id in ("10", "9", "b_1"):
        for kind in ("attn", "mlp", "resid"):
            made_up(kind, target="x").to_npz(tmp_path / case_name(known_id, kind))
    for name in ("knowledge_4", "knowledge_4_mlp", "knowledge_11"):
        put(tmp_path / f"{name}.npz", correct_prediction=False)
    (tmp_path / "plot.pdf").write_text("")
    traces = read_cases(tmp_path, model="tiny", noise="3σ")
    assert list(traces.traces) == ["9", "10", "b_1"] and traces.kinds == ("resid", "mlp", "attn")
    assert traces.skipped == dict.fromkeys(("4", "11"), "the model did not predict the expected answer")
    assert all(result.settings.model == "tiny" for result in traces.of_kind("mlp").values())


def test_facts_without_a_trace_get_no_file(tmp_path: Path) -> None:
    write_cases(TraceSet({"1": {"mlp": made_up()}}, {"2": "SubjectSpanError"}), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["knowledge_1_mlp.npz"]


def test_a_folder_without_case_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"has no case files \(knowledge_7\.npz"):
        read_cases(tmp_path)
    with pytest.raises(FileFormatError, match="there is no folder"):
        read_cases(tmp_path / "nowhere")


def test_a_file_whose_name_says_another_kind_is_refused(tmp_path: Path) -> None:
    made_up("attn").to_npz(tmp_path / "knowledge_1_mlp.npz")
    with pytest.raises(FileFormatError, match=r"a trace of kind attn, but is named as one of kind mlp\. Rename it"):
        read_cases(tmp_path)


@pytest.mark.parametrize("known_id", ["a/b", "", "..\\x", "1_mlp", "a_attn", "x\n"])
def test_an_id_that_a_name_cannot_hold_is_refused(known_id: str) -> None:
    with pytest.raises(TraceError, match=r"cannot stand in the name of a case file\. Use letters, digits"):
        case_name(known_id)


def test_a_kind_without_case_files_is_refused() -> None:
    with pytest.raises(TraceError, match="kind 'post' has no case files, only resid, mlp, attn"):
        case_name(1, "post")
