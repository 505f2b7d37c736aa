"""The shared computation equals the plain loop over full runs, cell by cell and sample by sample."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from lens_rome.errors import SurfaceError
from lens_rome.facts import Fact, answer_tokens, tokenize_prompt
from lens_rome.surface import as_surface, position_free
from lens_rome.tracing import TraceResult, trace
from tests.helpers import FACTS, N_LAYERS, Case, all_cases
from tests.oracles.tracing import Hook, trace_by_loop

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.tracing.WeakTraceWarning")

KINDS = ("resid", "mlp", "attn")
WINDOWS = (1, 2, 3, 9)  # the last is wider than the model
LEVEL = 0.7
SAMPLES = 2


def assert_equals_the_loop(
    model: Any,
    result: TraceResult,
    tolerance: float,
    owner_hooks: Sequence[Hook] = (),
) -> None:
    """The result's every number against the oracle's."""
    settings = result.settings
    clean, corrupted, scores = trace_by_loop(
        model,
        result.tokens,
        result.subject_span,
        settings.kind,
        settings.window,
        settings.noise_level,
        settings.samples,
        result.answer_tokens,
        settings.seed,
        owner_hooks,
    )
    assert abs(result.clean_score - clean) < tolerance
    torch.testing.assert_close(result.corrupted_samples, corrupted, rtol=0, atol=tolerance)
    torch.testing.assert_close(result.sample_scores, scores, rtol=0, atol=tolerance)
    # Teeth: cells differ by far more than the tolerance, so a wrong one would show.
    assert result.scores.std() > 1e4 * tolerance or tolerance > 1e-8


@pytest.mark.parametrize(
    ("kind", "window"),
    [("resid", 1), ("resid", 3), *((kind, window) for kind in ("mlp", "attn") for window in WINDOWS)],
)
def test_the_grid_equals_the_plain_loop(raw_model: Any, raw_case: Case, kind: str, window: int) -> None:
    fact = FACTS["subject in the middle"]
    result = trace(raw_model, fact, kind, noise=LEVEL, samples=SAMPLES, window=window)
    assert result.settings.window == window and not result.settings.full_length
    assert_equals_the_loop(raw_model, result, raw_case.tolerance)


@pytest.mark.parametrize("where", [where for where in FACTS if where != "subject in the middle"])
@pytest.mark.parametrize("kind", ["resid", "attn"])
def test_the_grid_equals_the_plain_loop_wherever_the_subject_is(
    raw_model: Any, raw_case: Case, kind: str, where: str
) -> None:
    result = trace(raw_model, FACTS[where], kind, noise=LEVEL, samples=SAMPLES, window=2)
    assert_equals_the_loop(raw_model, result, raw_case.tolerance)


@pytest.mark.parametrize("case", [case for case in all_cases() if case.processed], ids=str)
def test_the_grid_equals_the_plain_loop_on_processed_weights(case: Case, shared_model: Callable[[Case], Any]) -> None:
    model = shared_model(case)
    result = trace(model, FACTS["subject first"], "attn", noise=LEVEL, samples=SAMPLES, window=3)
    assert_equals_the_loop(model, result, case.tolerance)


def test_logits_that_do_not_follow_from_the_last_residual_are_refused(shared_model: Callable[[Case], Any]) -> None:
    """Cohere multiplies them after the unembedding: a trace from residuals alone would show other probabilities."""
    with pytest.raises(SurfaceError, match="logits"):
        trace(shared_model(Case("cohere", dtype=torch.float32)), FACTS["subject first"], noise=LEVEL, samples=1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_grid_equals_the_plain_loop_with_sliding_attention_and_capped_logits(
    shared_model: Callable[[Case], Any], kind: str
) -> None:
    case = Case("gemma2", dtype=torch.float32)
    fact = Fact("Steve Jobs", "{} was the founder of", "E")  # longer than the attention's reach of three positions
    result = trace(shared_model(case), fact, kind, noise=LEVEL, samples=SAMPLES, window=2)
    assert_equals_the_loop(shared_model(case), result, case.tolerance)


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_grid_equals_the_plain_loop_with_and_without_bos(gpt2: Any, gpt2_case: Case, kind: str, bos: bool) -> None:
    result = trace(gpt2, FACTS["subject first"], kind, noise=LEVEL, samples=SAMPLES, window=2, prepend_bos=bos)
    assert result.settings.prepend_bos == bos and (result.tokens[0] == 0) == bos
    assert result.subject_span[0] == bos
    assert_equals_the_loop(gpt2, result, gpt2_case.tolerance)


@pytest.mark.parametrize(("kind", "window"), [("resid", 1), ("mlp", 2), ("attn", 9)])
def test_an_answer_of_several_tokens_is_traced_by_its_joint_probability(
    raw_model: Any, raw_case: Case, kind: str, window: int
) -> None:
    fact = FACTS["subject ends the prompt"]
    result = trace(raw_model, fact, kind, noise=LEVEL, samples=SAMPLES, window=window, answer="French city")
    assert len(result.answer_tokens) > 1 and result.answer == "French city"
    surface = as_surface(raw_model)
    assert result.answer_tokens == answer_tokens(surface, fact.prompt, "French city", result.settings.prepend_bos)
    scale = result.clean_score  # joint probabilities are small: compare them relative to the clean one
    assert_equals_the_loop(raw_model, result, raw_case.tolerance * scale)


@pytest.mark.parametrize("answer", ["city", None])
def test_an_answer_of_one_token_needs_no_more_positions(gpt2: Any, gpt2_case: Case, answer: str | None) -> None:
    result = trace(gpt2, FACTS["subject in the middle"], "mlp", noise=LEVEL, samples=SAMPLES, answer=answer)
    assert len(result.answer_tokens) == 1
    assert_equals_the_loop(gpt2, result, gpt2_case.tolerance)


def test_without_an_answer_the_models_own_top_token_is_traced(raw_model: Any) -> None:
    result = trace(raw_model, FACTS["subject first"], noise=LEVEL, samples=SAMPLES)
    with torch.no_grad():
        logits = raw_model(torch.tensor([result.tokens]))[0, -1]
    assert result.answer_tokens == (int(logits.argmax()),)
    assert abs(result.clean_score - float(logits.softmax(-1).max())) < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_chosen_cells_equal_those_of_the_whole_grid_and_all_others_are_nan(
    gpt2: Any, gpt2_case: Case, kind: str
) -> None:
    fact = FACTS["subject in the middle"]
    whole = trace(gpt2, fact, kind, noise=LEVEL, samples=SAMPLES, window=2)
    some = trace(
        gpt2, fact, kind, noise=LEVEL, samples=SAMPLES, window=2, positions=["subject_last", -1, 0], layers=[3, 1]
    )
    wanted = torch.zeros(N_LAYERS, len(whole.tokens), dtype=torch.bool)
    for position in (0, whole.subject_span[1] - 1, len(whole.tokens) - 1):
        wanted[[1, 3], position] = True
    assert torch.equal(~some.scores.isnan(), wanted)
    torch.testing.assert_close(some.scores[wanted], whole.scores[wanted], rtol=0, atol=gpt2_case.tolerance)
    assert some.corrupted_score == whole.corrupted_score


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("subject_first", lambda first, last, length: [first]),  # noqa: ARG005
        ("subject_last", lambda first, last, length: [last - 1]),  # noqa: ARG005
        ("subject", lambda first, last, length: list(range(first, last))),  # noqa: ARG005
        ("last", lambda first, last, length: [length - 1]),  # noqa: ARG005
    ],
)
def test_positions_have_names(gpt2: Any, name: str, expected: Callable[..., list[int]]) -> None:
    result = trace(gpt2, FACTS["subject in the middle"], noise=LEVEL, samples=1, positions=[name], layers=[0])
    found = (~result.scores[0].isnan()).nonzero().flatten().tolist()
    assert found == expected(*result.subject_span, len(result.tokens))


@pytest.mark.parametrize("nothing", [{"layers": []}, {"positions": []}])
def test_no_layers_or_no_positions_give_an_empty_grid_and_both_probabilities(
    gpt2: Any, nothing: dict[str, Any]
) -> None:
    fact = FACTS["subject first"]
    result = trace(gpt2, fact, noise=LEVEL, samples=2, **nothing)
    assert result.scores.isnan().all() and result.top() == []
    assert result.corrupted_score == trace(gpt2, fact, noise=LEVEL, samples=2).corrupted_score


def test_cells_whose_value_is_known_have_exactly_that_value(raw_model: Any) -> None:
    """Before the subject nothing is corrupted; the last layer matters only where it is read."""
    result = trace(raw_model, FACTS["subject in the middle"], noise=LEVEL, samples=SAMPLES)
    before = result.sample_scores[:, : result.subject_span[0]]
    assert before.numel() and torch.equal(before, result.corrupted_samples.expand_as(before))
    last = result.sample_scores[-1, :-1]
    assert torch.equal(last, result.corrupted_samples.expand_as(last))
    torch.testing.assert_close(
        result.sample_scores[-1, -1], torch.full((SAMPLES,), result.clean_score, dtype=torch.float64), rtol=0, atol=1e-6
    )


def test_a_batch_cut_for_memory_gives_the_same_grid(gpt2: Any, gpt2_case: Case) -> None:
    options: dict[str, Any] = {"noise": LEVEL, "samples": SAMPLES, "window": 3}
    whole = trace(gpt2, FACTS["subject in the middle"], "attn", **options)
    cut = trace(gpt2, FACTS["subject in the middle"], "attn", memory=1, **options)
    torch.testing.assert_close(cut.sample_scores, whole.sample_scores, rtol=0, atol=gpt2_case.tolerance)


def scale_mlp(activation: torch.Tensor, hook: object) -> torch.Tensor:  # noqa: ARG001
    return activation * 0.3


def push_position_2(activation: torch.Tensor, hook: object) -> torch.Tensor:  # noqa: ARG001
    activation = activation.clone()
    activation[:, 2] = activation[:, 2].flip(-1)
    return activation


@pytest.mark.parametrize("kind", ["mlp"])
def test_the_owners_position_free_hooks_take_part_in_the_fast_path(raw_model: Any, raw_case: Case, kind: str) -> None:
    fact, hooks = FACTS["subject in the middle"], [("blocks.1.hook_mlp_out", scale_mlp)]
    plain = trace(raw_model, fact, kind, noise=LEVEL, samples=SAMPLES, window=3)
    marked = position_free(lambda activation, hook: scale_mlp(activation, hook))
    with raw_model.hooks(fwd_hooks=[("blocks.1.hook_mlp_out", marked)]):
        fast = trace(raw_model, fact, kind, noise=LEVEL, samples=SAMPLES, window=3)
    with raw_model.hooks(fwd_hooks=hooks):
        slow = trace(raw_model, fact, kind, noise=LEVEL, samples=SAMPLES, window=3)
    assert (fast.settings.full_length, slow.settings.full_length) == (False, True)
    torch.testing.assert_close(fast.sample_scores, slow.sample_scores, rtol=0, atol=raw_case.tolerance)
    assert_equals_the_loop(raw_model, fast, raw_case.tolerance, hooks)
    assert (fast.scores - plain.scores).abs().max() > 1e-3
    assert trace(raw_model, fact, kind, noise=LEVEL, samples=SAMPLES, window=3).sample_scores.equal(plain.sample_scores)


@pytest.mark.parametrize("place", ["hook_embed", "blocks.0.hook_resid_pre", "blocks.2.hook_attn_out"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_owners_hooks_that_look_at_positions_see_whole_sequences(
    gpt2: Any, gpt2_case: Case, kind: str, place: str
) -> None:
    fact, hooks = FACTS["subject in the middle"], [(place, push_position_2)]
    with gpt2.hooks(fwd_hooks=hooks):
        result = trace(gpt2, fact, kind, noise="2σ", samples=SAMPLES, window=2)
    assert result.settings.full_length and "runs were full length: hooks at" in result.notes[0]
    assert_equals_the_loop(gpt2, result, gpt2_case.tolerance, hooks)


def test_more_cells_than_one_full_length_batch_holds(gpt2: Any, gpt2_case: Case) -> None:
    hooks = [("blocks.1.hook_mlp_out", scale_mlp)]
    with gpt2.hooks(fwd_hooks=hooks):
        result = trace(
            gpt2, FACTS["subject first"], "mlp", noise=LEVEL, samples=SAMPLES, window=2, answer="French city", memory=1
        )
    assert_equals_the_loop(gpt2, result, gpt2_case.tolerance, hooks)


def test_a_trace_of_a_fact_and_its_tokens_agree(gpt2: Any) -> None:
    fact = Fact("Catalonia", "The language in {} is", "E")
    result, prompt = trace(gpt2, fact, noise=LEVEL, samples=1), tokenize_prompt(as_surface(gpt2), fact)
    assert (result.tokens, result.token_strings, result.subject_span) == (
        prompt.tokens,
        prompt.token_strings,
        prompt.subject_span,
    )
