"""A set of traces as a folder and as a data frame."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lens_rome.errors import RunError, TraceError
from lens_rome.tracing import TraceSet, average_effects
from lens_rome.tracing.rows import from_row, to_row
from tests.tracing.random_traces import PLACES, made_of, random_set, random_trace, set_of

TRACES = TraceSet(random_set(0).traces, {"b": "the model says 'x', not 'y'", "a": "error: TraceError: no such"})


def test_a_saved_set_loads_as_it_was(tmp_path: Path) -> None:
    TRACES.save(tmp_path / "run")
    found = TraceSet.load(tmp_path / "run")
    assert list(found.traces) == list(TRACES.traces) and found.skipped == TRACES.skipped
    for name, traces in TRACES.traces.items():
        for kind, result in traces.items():
            other = found.traces[name][kind]
            assert other.settings == result.settings and other.describe() == result.describe()
            torch.testing.assert_close(other.sample_scores, result.sample_scores, rtol=0, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_cells_that_equal_the_run_they_start_from_equal_it_after_reading(direction: str) -> None:
    start = 0.1 if direction == "denoise" else 0.7  # neither is a float32
    scores = np.array([[start, 0.3], [np.nan, start]])
    result = made_of(scores, 0.1, (0, 1), clean=0.7, direction=direction)
    found = from_row(to_row(result))
    assert torch.equal(found.sample_scores[0, 0], result.sample_scores[0, 0])
    assert torch.equal(found.sample_scores[1, 1], result.sample_scores[1, 1])
    assert torch.equal(found.sample_scores[0, 1], result.sample_scores[0, 1].float().double())
    assert found.sample_scores[1, 0].isnan().all()


def test_saving_twice_writes_once_and_another_set_is_refused(tmp_path: Path) -> None:
    TRACES.save(tmp_path / "run")
    TRACES.save(tmp_path / "run")
    assert len(list((tmp_path / "run").glob("part-*"))) == 1
    with pytest.raises(RunError, match="other traces"):
        random_set(1).save(tmp_path / "run")
    with pytest.raises(RunError, match="at least one id"):
        TraceSet({}).save(tmp_path / "none")


def test_the_data_frame_holds_that_of_every_trace() -> None:
    frame = TRACES.to_dataframe()
    assert list(frame.columns[:2]) == ["id", "kind"]
    for (name, kind), rows in frame.groupby(["id", "kind"], sort=False):
        expected = TRACES.traces[str(name)][str(kind)].to_dataframe()
        pd.testing.assert_frame_equal(rows.drop(columns=["id", "kind"]).reset_index(drop=True), expected)
    assert len(frame) == sum(len(r.to_dataframe()) for found in TRACES.traces.values() for r in found.values())
    assert list(TraceSet({}).to_dataframe().columns) == list(frame.columns)


def test_traces_of_other_corrupted_tokens_are_refused() -> None:
    rng = np.random.default_rng(0)
    other = replace(random_trace(rng, PLACES[0]), corrupted_spans=((0, 1),))
    with pytest.raises(TraceError, match="differ in corrupted_spans: 'the subject' and 'other tokens'"):
        average_effects(set_of(random_trace(rng, PLACES[0]), other))
