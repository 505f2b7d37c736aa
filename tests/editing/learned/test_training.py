"""The training's loss is that of edited weights, and a continued training ends where an uninterrupted one does."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lens_rome.editing import Edit
from lens_rome.editing.learned import training
from lens_rome.editing.learned.examples import Draws, examples_of, texts_of
from lens_rome.editing.learned.network import Structure
from lens_rome.editing.learned.training import Batch, Trainer
from lens_rome.errors import EditError
from lens_rome.facts import Fact
from lens_rome.surface import as_surface
from tests.editing.learned.support import TEXTS, TRAINING, VALIDATION, fitted, quick_ke, quick_mend
from tests.helpers import Case, assert_untouched
from tests.oracles.learned import divergence_by_loop, nll_by_loop

EDITORS = [quick_mend, quick_ke]


@pytest.fixture
def model(shared_model: Any) -> Any:
    """One surface: the loss is compared on both, and a training is nothing but steps of it."""
    return shared_model(Case("gpt2"))


def trainer_of(model: Any, editor: Any) -> Trainer:
    surface = as_surface(model)
    examples = [examples_of(surface, records, "training", None) for records in (TRAINING, VALIDATION)]
    return Trainer(surface, editor, editor.places(surface), *examples, texts_of(surface, TEXTS, 6, None))


def assert_same_network(one: Any, other: Any) -> None:
    tensors, others = one.learned.network.state_dict(), other.learned.network.state_dict()
    assert tensors.keys() == others.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, others[name]), name


@pytest.mark.parametrize("make", EDITORS)
def test_the_losses_equal_those_of_weights_written_fact_by_fact(gpt2: Any, gpt2_case: Case, make: Any) -> None:
    editor = make(neighbor_weight=2.0, step_size=0.01)
    trainer = trainer_of(gpt2, editor)
    network = editor.new_network(Structure.of(trainer.surface, trainer.places))
    trainer.observe(network)
    batch = Batch(trainer.training[:3], (1, 0, 1), trainer.texts[:3], (0, 1, 1))
    with torch.no_grad():
        losses = trainer.losses(network, batch)
        changes = network(trainer.factors(batch.examples))
        nlls, divergences, at_ends = [], [], []
        for i, example in enumerate(batch.examples):
            texts = [torch.tensor([batch.texts[i]]), torch.tensor([example.neighbors[batch.neighbors[i]]])]
            base = [gpt2(text)[0] for text in texts]
            edit = Edit.made_for(trainer.surface, {place: change.delta(i) for place, change in changes.items()}, {})
            with edit.applied(gpt2):
                pairs = (example.request, example.rephrasings[batch.wordings[i]])
                nlls += [nll_by_loop(gpt2, *pair) for pair in pairs]
                found = [divergence_by_loop(one, gpt2(text)[0]) for one, text in zip(base, texts, strict=True)]
            divergences += found[0]
            at_ends.append(found[1][-1])
    expected = [float(torch.stack(values).mean()) for values in (nlls, divergences, at_ends)]
    assert expected[1] > 1e-4 and expected[2] > 1e-4
    loose = 1e3 * gpt2_case.tolerance
    assert [float(x) for x in (losses.nll, losses.kl, losses.neighbor_kl)] == pytest.approx(expected, abs=loose)
    total = 0.1 * expected[0] + expected[1] + 2 * expected[2]
    assert float(losses.total(editor)) == pytest.approx(total, abs=loose)


@pytest.mark.parametrize("make", EDITORS)
def test_training_makes_the_loss_smaller_and_leaves_the_model_as_it_was(model: Any, make: Any) -> None:
    with assert_untouched(model), torch.no_grad():
        trained = fitted(make(steps=8), model)
    history = trained.record.history
    assert [entry["step"] for entry in history] == [0, 2, 4, 6, 8]
    assert min(entry["loss"] for entry in history) < history[0]["loss"]
    best = min(history, key=lambda entry: entry["loss"])
    assert trained.record.step == best["step"]
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("make", EDITORS)
def test_the_same_seed_gives_the_same_editor_whatever_torch_s_own(model: Any, make: Any) -> None:
    first = fitted(make(), model)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again = fitted(make(), model)
    assert torch.equal(state, torch.get_rng_state())
    assert_same_network(first, again)
    assert first.record.history == again.record.history
    assert fitted(make(seed=4), model).record.history != first.record.history


@pytest.mark.parametrize("make", EDITORS)
def test_interrupted_and_continued_equals_uninterrupted(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    whole = fitted(make(), model)
    done, step = [], training._step

    def interrupted(*arguments: Any) -> None:
        if len(done) == 3:  # one step after the checkpoint of step 2
            raise KeyboardInterrupt
        done.append(step(*arguments))

    with monkeypatch.context() as patched, assert_untouched(model), pytest.raises(KeyboardInterrupt):
        patched.setattr(training, "_step", interrupted)
        fitted(make(), model, checkpoint=checkpoint)
    continued = fitted(make(), model, checkpoint=checkpoint)
    assert_same_network(whole, continued)
    assert whole.record.history == continued.record.history


def test_a_finished_training_is_not_begun_again(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    first = fitted(quick_mend(), model, checkpoint=checkpoint)
    monkeypatch.setattr(training, "_step", None)
    assert_same_network(first, fitted(quick_mend(), model, checkpoint=checkpoint))


def test_a_checkpoint_of_another_training_is_refused(model: Any, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    fitted(quick_mend(), model, checkpoint=checkpoint)
    for change in ({"editor": quick_mend(lr=0.5)}, {"texts": TEXTS[1:]}, {"facts": TRAINING[1:]}):
        editor = change.pop("editor", quick_mend())
        with pytest.raises(EditError, match="checkpoint of another training"):
            fitted(editor, model, checkpoint=checkpoint, **change)


def test_training_stops_when_validation_has_waited_long_enough(model: Any) -> None:
    trained = fitted(quick_mend(steps=50, lr=5.0, validate_every=1, patience=2), model)
    losses = [entry["loss"] for entry in trained.record.history]
    assert len(losses) < 51 and len(losses) == losses.index(min(losses)) + 3


def test_accumulated_passes_are_one_step_over_all_of_them(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(Trainer, "batch", _watched(Trainer.batch, seen))
    fitted(quick_mend(steps=2, batch=2, accumulate=3, validate_every=2), model)
    assert seen == [0, 1, 2, 3, 4, 5]


def _watched(method: Any, seen: list[int]) -> Any:
    def batch(self: Trainer, index: int) -> Batch:
        seen.append(index)
        return method(self, index)

    return batch


def test_draws_take_every_fact_once_before_any_again() -> None:
    draws = Draws(seed=0, batch=3)
    order = [i for index in range(10) for i in draws.examples(index, 5)]
    for start in range(0, 30, 5):
        assert sorted(order[start : start + 5]) == [0, 1, 2, 3, 4]
    assert order[:5] != order[5:10]
    assert draws.choices(0, "text", [1, 7, 7]) == draws.choices(0, "text", [1, 7, 7])


def test_shared_subjects_are_named(model: Any) -> None:
    with pytest.raises(EditError, match=r"'Louvre'\. Split the facts by subject"):
        fitted(quick_mend(), model, validation=[*VALIDATION, TRAINING[1]])


def test_facts_are_refused_with_the_call_to_make(model: Any) -> None:
    with pytest.raises(EditError, match=r"use fact\.rewrite"):
        fitted(quick_mend(), model, facts=iter([Fact("Louvre", "{} is in", "Paris")]))


@pytest.mark.parametrize("part", ["facts", "validation"])
def test_no_facts_are_refused(model: Any, part: str) -> None:
    with pytest.raises(EditError, match=r"no (training|validation) facts were given"):
        fitted(quick_mend(), model, **{part: []})


@pytest.mark.parametrize("texts", [[], ["", "Rain"]])
def test_no_texts_are_refused(model: Any, texts: list[str]) -> None:
    with pytest.raises(EditError, match="at least one text"):
        fitted(quick_mend(prepend_bos=True), model, texts=texts)


def test_one_text_for_several_is_refused(model: Any) -> None:
    with pytest.raises(EditError, match="its letters would count as texts"):
        fitted(quick_mend(), model, texts="Rain")


def test_a_loss_that_is_not_finite_is_an_error(model: Any) -> None:
    with pytest.raises(EditError, match="lower lr or step_size"):
        fitted(quick_mend(step_size=1e300), model)
