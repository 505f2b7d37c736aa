"""What a request that cannot be used, a broken model and a short last step do to the figures of a run."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lens_rome.editing import Edit
from lens_rome.errors import EditError, FactError, LensRomeError, MomentError, SurfaceError
from lens_rome.facts import EditRequest
from lens_rome.studies import SequenceReport, Skipped, sequence
from lens_rome.studies.health import Probes, Said
from lens_rome.surface import as_surface
from tests.editing.learned.support import fitted, quick_mend
from tests.editing.support import DISABLING, NO_PROBE
from tests.helpers import Case, assert_untouched
from tests.studies.support import MEASURED, OTHERS, REQUESTS, ROME, moments_of

pytestmark = [pytest.mark.filterwarnings(NO_PROBE), pytest.mark.filterwarnings(DISABLING)]
GIVEN: dict[str, Any] = {**MEASURED, "moments": "identity", "every": 1}


@pytest.fixture
def bridge(shared_model: Any) -> Any:
    """One model, where the surface does not matter; nobody may change it."""
    return shared_model(Case("gpt2", "bridge"))


class Refusing:
    """An editor that cannot edit some subjects."""

    prepend_bos = None

    def __init__(self, subjects: set[str], error: type[LensRomeError] = EditError) -> None:
        self.subjects, self.error, self.asked = subjects, error, 0

    def edit(self, model: Any, requests: Any, *, moments: Any = None) -> Edit:
        self.asked += 1
        if self.subjects & {each.subject for each in requests}:
            raise self.error("no neuron passes")
        return ROME.edit(model, requests, moments=moments)


def test_efficacy_is_of_all_edits_since_the_last_checkpoint_also_if_the_last_step_has_fewer(bridge: Any) -> None:
    # A step of three and one of one, measured together: a mean of shares would weigh the last request thrice.
    requests = [*REQUESTS[:2], replace(REQUESTS[3], target_new="Catalan", target_true="Russian"), REQUESTS[2]]
    given: dict[str, Any] = {"moments": moments_of(bridge), "batch": 3, "progress": False}
    each = sequence(bridge, requests, ROME, **given, every=1).checkpoints[1:]
    whole = sequence(bridge, requests, ROME, **given, every=4).checkpoints[1:]
    assert [found.edits for found in whole] == [4]
    shares = [found.efficacy for found in each]
    assert shares[0] != shares[1]
    assert whole[0].efficacy == pytest.approx((3 * shares[0] + shares[1]) / 4)


@pytest.mark.parametrize("error", [EditError, FactError, SurfaceError])
def test_a_step_that_cannot_be_made_is_skipped_and_the_others_are_as_without_it(
    bridge: Any, error: type[LensRomeError], tmp_path: Path
) -> None:
    refused = REQUESTS[1]
    with assert_untouched(bridge):
        report = sequence(bridge, REQUESTS, Refusing({refused.subject}, error), **GIVEN)
    expected = sequence(bridge, [each for each in REQUESTS if each != refused], ROME, **GIVEN)
    assert (report.skipped, report.stopped) == ((Skipped(1, "no neuron passes"),), None)
    assert str(report.checkpoints) == str(expected.checkpoints)
    assert report.steps == expected.steps
    assert "Skipped 1 steps, the first is step 1: no neuron passes" in str(report)
    assert SequenceReport.load(report.save(tmp_path / "report.json")).skipped == report.skipped


def test_a_refusal_of_a_model_that_is_no_longer_finite_ends_the_run(fresh_model: Any) -> None:
    class Breaking(Refusing):
        def edit(self, model: Any, requests: Any, *, moments: Any = None) -> Edit:
            edit = super().edit(model, requests, moments=moments)
            return edit.scaled(4e38)

    model = fresh_model(Case("gpt2", "bridge", dtype=torch.float32))
    with assert_untouched(model):
        report = sequence(model, REQUESTS, Breaking({REQUESTS[1].subject}), **GIVEN)
    assert (report.stopped, report.skipped) == ("no neuron passes", ())
    assert math.isnan(report.checkpoints[-1].neighborhood)


def test_missing_moments_end_a_run_also_where_the_model_is_sound(bridge: Any) -> None:
    report = sequence(bridge, REQUESTS, Refusing({REQUESTS[1].subject}, MomentError), **GIVEN)
    assert (report.stopped, report.skipped) == ("no neuron passes", ())


def test_skipped_requests_are_not_asked_for_and_do_not_replace_earlier_ones() -> None:
    again = replace(REQUESTS[0], target_new="Russian")
    probes = Probes((), (), (), 1, 1, 10, 0, True)
    assert set(probes.earlier([*REQUESTS, again], 5, 1, {1, 4})) == {REQUESTS[0], REQUESTS[2], REQUESTS[3]}


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"target_true": "Catalan " * 60}, r"request 3 .* cannot be used: text has"),
        ({"template": "The language in " * 40 + "{} is"}, r"request 3 .* cannot be used: text has"),
    ],
)
def test_a_request_that_cannot_be_used_is_told_before_the_first_edit(
    bridge: Any, broken: dict[str, str], message: str
) -> None:
    editor = Refusing(set())
    with pytest.raises(FactError, match=message):
        sequence(bridge, [*REQUESTS[:3], replace(REQUESTS[3], **broken)], editor, **GIVEN)
    assert editor.asked == 0


def test_two_requests_of_one_fact_in_one_step_are_told_before_the_first_edit(bridge: Any) -> None:
    editor, again = Refusing(set()), EditRequest("Catalonia", "The language in {} is", "English", "Catalan")
    with pytest.raises(EditError, match=r"requests 3 .* and 4 .* in one step\. Keep one of them"):
        sequence(bridge, [*REQUESTS, again], editor, batch=3, **GIVEN)
    assert editor.asked == 0
    assert sequence(bridge, [*REQUESTS[2:], again], ROME, batch=2, **GIVEN).checkpoints[-1].edits == 3


def test_the_figures_of_a_learned_editor_are_measured_with_its_own_bos(bridge: Any) -> None:
    trained = fitted(quick_mend(steps=1, validate_every=1, prepend_bos=False), bridge)
    assert as_surface(bridge).prepends_bos() and not trained.prepend_bos
    report = sequence(bridge, REQUESTS[:1], trained, **GIVEN)
    assert report.settings["prepend_bos"] is False
    with trained.edit(bridge, REQUESTS[0]).applied(bridge):
        found = Said.of(as_surface(bridge), REQUESTS[:1], False)
    assert report.checkpoints[-1].efficacy == found.share


def test_an_editor_that_hides_its_bos_is_refused(bridge: Any) -> None:
    class Hiding:
        def edit(self, model: Any, requests: Any, *, moments: Any = None) -> Edit:
            return replace(ROME, prepend_bos=False).edit(model, requests, moments=moments)

    with assert_untouched(bridge), pytest.raises(EditError, match="Give the editor an attribute prepend_bos"):
        sequence(bridge, REQUESTS, Hiding(), **GIVEN)


def test_scores_of_a_broken_model_are_no_numbers(fresh_model: Any) -> None:
    model = fresh_model(Case("gpt2", "bridge"))
    surface = as_surface(model)
    with torch.no_grad():
        surface.weight(3)[:] = math.nan
    probes = Probes(tuple(OTHERS), (), (), 1, 1, 10, 0, True)
    said = Said.of(surface, REQUESTS, True)
    assert said.compared == 4
    assert all(map(math.isnan, (said.won, said.share, said.prob, probes.neighborhood(surface, []))))
