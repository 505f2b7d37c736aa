"""Streamed moments equal the plain sum over texts, whatever the batches, layers and interruptions."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from lens_rome.errors import MomentError, SurfaceError
from lens_rome.moments import MomentFitter, SecondMoments, collect, collect_moments, fitter, probe
from lens_rome.surface import as_surface
from tests.helpers import Case, all_cases, assert_untouched
from tests.moments.support import LAYERS, TEXTS, made_up_texts
from tests.oracles.moments import moment_by_loop

ALL = 10**6
"""A budget that no test's corpus reaches."""


def fitter_of(model: Any, layers: list[int] = LAYERS, prepend_bos: bool | None = None) -> MomentFitter:
    return MomentFitter(as_surface(model), layers, prepend_bos, "corpus", half_at=ALL)


def assert_same(found: SecondMoments, expected: SecondMoments, exact: float = 1e-12) -> None:
    assert list(found) == list(expected)
    for layer, moment in expected.items():
        assert found[layer].count == moment.count
        scale = exact * float(moment.total.abs().max())
        torch.testing.assert_close(found[layer].total, moment.total, rtol=0, atol=scale)


def test_streamed_moments_equal_the_plain_sum_on_every_model(any_model: Any, any_case: Case) -> None:
    bos = as_surface(any_model).prepends_bos()
    found = collect_moments(any_model, LAYERS, TEXTS, tokens=ALL, progress=False)
    assert list(found) == LAYERS
    for layer in LAYERS:
        total, count = moment_by_loop(any_model, layer, TEXTS, bos)
        assert found[layer].count == count and found[layer].total.dtype == torch.float64
        scale = 10 * any_case.tolerance * float(total.abs().max())
        torch.testing.assert_close(found[layer].total, total, rtol=0, atol=scale)
        torch.testing.assert_close(found[layer].mean, total / count, rtol=0, atol=scale)


@pytest.mark.parametrize("prepend_bos", [True, False])
def test_bos_is_in_the_context_but_not_counted(gpt2: Any, prepend_bos: bool) -> None:
    found = collect_moments(gpt2, 1, TEXTS, tokens=ALL, prepend_bos=prepend_bos, progress=False)[1]
    total, count = moment_by_loop(gpt2, 1, TEXTS, prepend_bos)
    other, _ = moment_by_loop(gpt2, 1, TEXTS, not prepend_bos)
    assert found.count == count and found.origin.prepend_bos is prepend_bos
    torch.testing.assert_close(found.total, total, rtol=1e-10, atol=1e-10)
    assert (found.total - other).norm() > 0.01 * total.norm()


def test_padding_is_never_counted(gpt2: Any, gpt2_case: Case) -> None:
    together, alone = fitter_of(gpt2), fitter_of(gpt2)
    together.update(TEXTS)
    for text in TEXTS:
        alone.update([text])
    assert_same(together.result(), alone.result(), 10 * gpt2_case.tolerance)
    lengths = [len(gpt2.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in TEXTS]
    room = gpt2.cfg.n_ctx - int(as_surface(gpt2).prepends_bos())
    assert together.count == sum(min(length, room) for length in lengths) and max(lengths) > room


def test_several_layers_in_one_pass_equal_one_pass_each(gpt2: Any) -> None:
    together = collect_moments(gpt2, [2, 0, 3], TEXTS, tokens=ALL, progress=False)
    one_by_one = SecondMoments([collect_moments(gpt2, i, TEXTS, tokens=ALL, progress=False)[i] for i in (0, 2, 3)])
    assert_same(together, one_by_one)


def test_merged_moments_equal_the_moment_of_both_corpora(gpt2: Any) -> None:
    first, second, together = (
        collect_moments(gpt2, LAYERS, texts, tokens=ALL, progress=False) for texts in (TEXTS[:3], TEXTS[3:], TEXTS)
    )
    assert_same(SecondMoments([first[layer] + second[layer] for layer in LAYERS]), together)
    assert (first[0] + second[0]).origin.n_texts == len(TEXTS)


PROCESSED = [case for case in all_cases() if case.processed]


@pytest.mark.parametrize("case", PROCESSED, ids=str)
def test_moments_do_not_depend_on_weight_processing(shared_model: Any, case: Case) -> None:
    models = [shared_model(case), shared_model(replace(case, processed=False))]
    found, expected = (collect_moments(model, LAYERS, TEXTS, tokens=ALL, progress=False) for model in models)
    # TransformerLens folds and centres in steps of single precision, so even float64 keeps seven digits only.
    assert_same(found, expected, 1e-6 if case.dtype == torch.float64 else 1e-4)


@pytest.mark.parametrize("architecture", ["gpt2", "gptj", "neox", "llama"])
def test_moments_are_equal_on_both_surfaces(shared_model: Any, architecture: str) -> None:
    cases = [Case(architecture, surface) for surface in ("hooked", "bridge")]
    models = [shared_model(case) for case in cases]
    found, expected = (
        collect_moments(model, LAYERS, TEXTS, tokens=ALL, prepend_bos=True, progress=False) for model in models
    )
    assert_same(found, expected, 100 * max(case.tolerance for case in cases))


def test_the_budget_is_reached_with_few_texts_too_many(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitter, "BATCH_POSITIONS", 20)
    read: list[str] = []

    def endless() -> Iterator[str]:
        for text in cycle(TEXTS):
            read.append(text)
            yield text

    moment = collect_moments(gpt2, 0, endless(), tokens=150, progress=False)[0]
    assert 150 <= moment.count < 150 + 3 * 64
    assert moment.origin.n_texts == len(read)


def test_the_default_budget_is_ten_times_the_width(gpt2: Any) -> None:
    count = collect_moments(gpt2, 0, cycle(TEXTS), progress=False)[0].count
    assert 1280 <= count < 4 * 1280


class Interrupted(Exception):
    """Stands for Ctrl-C."""


def interrupted_after(texts: list[str], count: int) -> Iterator[str]:
    yield from texts[:count]
    raise Interrupted


@pytest.mark.parametrize("read", [4, 9, 17])
def test_an_interrupted_collection_continues_from_its_checkpoint(
    gpt2: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: int
) -> None:
    monkeypatch.setattr(collect, "_WINDOW", 1)
    monkeypatch.setattr(fitter, "BATCH_POSITIONS", 30)
    monkeypatch.setattr(collect, "_SAVE_EVERY", 1)
    texts, settings = made_up_texts(20), {"tokens": ALL, "progress": False}
    file = tmp_path / "moments.safetensors"
    with pytest.raises(Interrupted):
        collect_moments(gpt2, LAYERS, interrupted_after(texts, read), checkpoint=file, **settings)
    assert 0 < SecondMoments.load(file)[0].origin.n_texts <= read
    again: list[str] = []
    add = MomentFitter.add
    monkeypatch.setattr(
        MomentFitter, "add", lambda self, rows: again.extend(row.text for row in rows) or add(self, rows)
    )
    resumed = collect_moments(gpt2, LAYERS, texts, checkpoint=file, **settings)
    assert again == texts[-len(again) :] and len(again) < 20
    whole = collect_moments(gpt2, LAYERS, texts, **settings)
    assert_same(resumed, whole)
    assert resumed[0].origin == whole[0].origin
    assert_same(SecondMoments.load(file), whole)


def test_the_half_of_an_interrupted_collection_survives(
    gpt2: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect, "_WINDOW", 1)
    monkeypatch.setattr(fitter, "BATCH_POSITIONS", 30)
    monkeypatch.setattr(collect, "_SAVE_EVERY", 1)
    texts, file = made_up_texts(40), tmp_path / "moments.safetensors"
    with pytest.raises(Interrupted):
        collect_moments(gpt2, 0, interrupted_after(texts, 11), tokens=400, checkpoint=file, progress=False)
    resumed = collect_moments(gpt2, 0, texts, tokens=400, checkpoint=file, progress=False)[0]
    saved_half = resumed.half_count
    assert 200 <= saved_half < 400 and resumed.half_total is not None
    whole = collect_moments(gpt2, 0, texts, tokens=400, progress=False)[0]
    assert whole.half_count == saved_half
    torch.testing.assert_close(resumed.half_total, whole.half_total, rtol=1e-10, atol=1e-10)


def test_a_finished_checkpoint_is_used_as_it_is(gpt2: Any, tmp_path: Path) -> None:
    file, texts = tmp_path / "moments.safetensors", made_up_texts(30)
    first = collect_moments(gpt2, 0, texts, tokens=200, checkpoint=file, progress=False)
    assert first[0].origin.n_texts < 30
    assert_same(collect_moments(gpt2, 0, texts, tokens=200, checkpoint=file, progress=False), first)


def test_a_checkpoint_of_something_else_is_refused(gpt2: Any, shared_model: Any, tmp_path: Path) -> None:
    file = tmp_path / "moments.safetensors"
    settings = {"tokens": ALL, "checkpoint": file, "progress": False}
    collect_moments(gpt2, LAYERS, TEXTS, **settings)
    before = file.read_bytes()
    others = [
        (gpt2, LAYERS, TEXTS[::-1], {}),
        (gpt2, LAYERS, TEXTS[:3], {}),
        (gpt2, [0, 1], TEXTS, {}),
        (gpt2, LAYERS, TEXTS, {"prepend_bos": False}),
        (gpt2, LAYERS, TEXTS, {"name": "another"}),
        (gpt2, [1, 3], TEXTS, {}),
        (shared_model(Case("neox", "bridge")), LAYERS, TEXTS, {"prepend_bos": True}),
    ]
    for model, layers, texts, more in others:
        with pytest.raises(MomentError, match="Delete it or name another file"):
            collect_moments(model, layers, texts, **settings, **more)
    assert file.read_bytes() == before


def test_a_context_shorter_than_the_probe_text_is_no_obstacle(gpt2: Any) -> None:
    assert len(as_surface(gpt2).tokenizer(probe.PROBE_TEXT)["input_ids"]) > gpt2.cfg.n_ctx
    keys = collect_moments(gpt2, 0, TEXTS, tokens=ALL, progress=False)[0].probe
    assert keys is not None and keys.shape == (gpt2.cfg.n_ctx, 128)


def test_collecting_leaves_the_model_alone(raw_model: Any) -> None:
    with assert_untouched(raw_model):
        collect_moments(raw_model, 1, TEXTS, tokens=ALL, progress=False)


def test_a_corpus_without_tokens_and_layers_that_do_not_exist_are_refused(gpt2: Any) -> None:
    for corpus in ([], ["", ""]):
        with pytest.raises(MomentError, match="non-empty texts"):
            collect_moments(gpt2, 0, corpus, progress=False)
    with pytest.raises(MomentError, match="no layers"):
        collect_moments(gpt2, [], TEXTS, progress=False)
    with pytest.raises(SurfaceError, match="layers 0 to 3"):
        collect_moments(gpt2, [0, 4], TEXTS, progress=False)


def test_a_model_with_nan_weights_is_refused_by_their_names(fresh_model: Any, gpt2_case: Case) -> None:
    model = fresh_model(gpt2_case)
    with torch.no_grad():
        as_surface(model).weight(0)[0, 0] = torch.nan
    with pytest.raises(SurfaceError, match=r"NaN or infinite values are in: .*\.0\..*Reload the weights"):
        collect_moments(model, 2, TEXTS, tokens=ALL, progress=False)


def positions_of_each_run(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Filled with rows times width of every batch that is read, the run of the probe text left out."""
    kind, seen = type(as_surface(model)), []
    read = kind.read

    def counting(self: Any, tokens: torch.Tensor, *more: Any, **settings: Any) -> Any:
        seen.append(tokens.numel())
        return read(self, tokens, *more, **settings)

    monkeypatch.setattr(kind, "read", counting)
    return seen


def test_one_long_text_among_short_ones_never_makes_a_batch_above_the_budget(
    gpt2: Any, gpt2_case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [" piano", *[" Rome."] * 12, "It was a quiet day in the winter. " * 8, *[" Rome."] * 12] * 3
    expected = fitter_of(gpt2)
    for text in texts:
        expected.update([text])
    monkeypatch.setattr(fitter, "BATCH_POSITIONS", 100)
    seen = positions_of_each_run(gpt2, monkeypatch)
    found = collect_moments(gpt2, LAYERS, texts, tokens=ALL, progress=False)
    assert max(seen) <= 100 and len(seen) < 20
    assert_same(found, expected.result(), 10 * gpt2_case.tolerance)
    assert found[0].origin == replace(expected.result()[0].origin, corpus="corpus")


@pytest.mark.parametrize("budget", [70, 300, 10**5])
def test_batches_decide_neither_which_texts_count_nor_the_sums(
    gpt2: Any, gpt2_case: Case, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    texts = made_up_texts(15) + TEXTS + made_up_texts(15, seed=1, words=3)
    whole = collect_moments(gpt2, LAYERS, texts, tokens=700, progress=False)
    monkeypatch.setattr(fitter, "BATCH_POSITIONS", budget)
    found = collect_moments(gpt2, LAYERS, texts, tokens=700, progress=False)
    assert_same(found, whole, 10 * gpt2_case.tolerance)
    assert found[0].origin == whole[0].origin and found[0].half_count == whole[0].half_count
    halves = [moments[0].half_total for moments in (found, whole)]
    assert halves[0] is not None and halves[1] is not None
    torch.testing.assert_close(*halves, rtol=0, atol=10 * gpt2_case.tolerance * float(halves[1].abs().max()))


def test_the_half_is_taken_at_the_first_text_that_reaches_it(gpt2: Any) -> None:
    texts = made_up_texts(40)
    lengths = [len(gpt2.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    moment = collect_moments(gpt2, 0, texts, tokens=400, progress=False)[0]
    sums = [sum(lengths[: i + 1]) for i in range(40)]
    assert moment.half_count == next(total for total in sums if total >= 200)
    assert moment.count == next(total for total in sums if total >= 400)


def test_a_checkpoint_of_other_layers_is_refused_with_advice(gpt2: Any, tmp_path: Path) -> None:
    file = tmp_path / "moments.safetensors"
    collect_moments(gpt2, 0, TEXTS, tokens=ALL, checkpoint=file, progress=False)
    with pytest.raises(MomentError, match="Delete it or name another file"):
        collect_moments(gpt2, 2, TEXTS, tokens=ALL, checkpoint=file, progress=False)


def test_a_checkpoint_without_a_probe_is_refused(gpt2: Any, tmp_path: Path) -> None:
    whole = collect_moments(gpt2, 0, TEXTS, tokens=ALL, progress=False)[0]
    file = SecondMoments([replace(whole, probe=None)]).save(tmp_path / "m.safetensors")
    with pytest.raises(MomentError, match="Delete it or name another file"):
        collect_moments(gpt2, 0, TEXTS, tokens=ALL, checkpoint=file, progress=False)


def test_a_checkpoint_in_the_published_format_is_refused_before_the_work(gpt2: Any, tmp_path: Path) -> None:
    for name in ("transformer.h.0.npz", "new.npz"):
        with pytest.raises(MomentError, match=r"cannot be a \.npz file.*\.safetensors"):
            collect_moments(gpt2, 0, never(), checkpoint=tmp_path / name, progress=False)


def never() -> Iterator[str]:
    """A corpus that nobody may read."""
    raise AssertionError
    yield


def test_a_model_under_another_name_continues_its_checkpoint(fresh_model: Any, gpt2_case: Case, tmp_path: Path) -> None:
    model, file, texts = fresh_model(gpt2_case), tmp_path / "m.safetensors", made_up_texts(20)
    collect_moments(model, 0, texts, tokens=300, checkpoint=file, progress=False)
    model.cfg.model_name = "renamed"
    more = collect_moments(model, 0, texts, tokens=500, checkpoint=file, progress=False)[0]
    assert more.count >= 500


def test_a_larger_budget_renews_the_half(gpt2: Any, tmp_path: Path) -> None:
    texts, file = made_up_texts(300), tmp_path / "m.safetensors"
    collect_moments(gpt2, 0, texts, tokens=600, checkpoint=file, progress=False)
    for budget in (3000, 6200):
        more = collect_moments(gpt2, 0, texts, tokens=budget, checkpoint=file, progress=False)[0]
        assert budget / 2 <= more.half_count < budget / 2 + 64 and more.half_total is not None
        whole = collect_moments(gpt2, 0, texts, tokens=budget, progress=False)[0]
        torch.testing.assert_close(more.half_total, whole.half_total, rtol=1e-9, atol=1e-9)
        assert more.turn(torch.eye(128).double()[:3]) == pytest.approx(whole.turn(torch.eye(128).double()[:3]))


def test_a_half_that_is_no_half_any_more_gives_no_turn(gpt2: Any, tmp_path: Path) -> None:
    texts, file, keys = made_up_texts(200), tmp_path / "m.safetensors", torch.eye(128).double()[:3]
    first = collect_moments(gpt2, 0, texts, tokens=2000, checkpoint=file, progress=False)[0]
    assert first.turn(keys) is not None
    little_more = collect_moments(gpt2, 0, texts, tokens=2100, checkpoint=file, progress=False)[0]
    assert little_more.half_count == first.half_count and little_more.turn(keys) is not None
    # The half of 3000 tokens lies behind, between the old half (1000) and what is there (2100).
    more = collect_moments(gpt2, 0, texts, tokens=3000, checkpoint=file, progress=False)[0]
    assert more.turn(keys) is None


def test_unusable_arguments_are_refused_before_the_work(gpt2: Any) -> None:
    with pytest.raises(MomentError, match=r"is one text.*Give a list"):
        collect_moments(gpt2, 0, "The Eiffel Tower", progress=False)
    # With checked annotations, as in these tests, some are refused even before the package looks at them.
    for tokens in (0, -3, True, 10.5):
        with pytest.raises((MomentError, TypeCheckError), match=r"tokens must be a whole number|parameter 'tokens'"):
            collect_moments(gpt2, 0, never(), tokens=tokens, progress=False)
    for layers in (True, 1.5, [0, "1"], None):
        with pytest.raises((MomentError, TypeCheckError), match=r"layers are whole numbers|'layers': "):
            collect_moments(gpt2, layers, never(), progress=False)


def test_layers_may_be_numbers_of_numpy(gpt2: Any) -> None:
    found = collect_moments(gpt2, np.arange(2), TEXTS, tokens=np.int64(ALL), progress=False)
    assert list(found) == [0, 1] and all(type(layer) is int for layer in found)
    assert_same(collect_moments(gpt2, np.int64(1), TEXTS, tokens=ALL, progress=False), SecondMoments([found[1]]))
