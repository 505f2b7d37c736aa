"""The five editing problems: what each asks for, under which noise it is measured, and what it scores."""

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from lens_rome.editing import EMMET, MEMIT, ROME, RROME, AlphaEdit, Objective
from lens_rome.editing.continuation import continued
from lens_rome.editing.finetune import FineTune
from lens_rome.editing.problems import (
    ErrorInjection,
    FactAmplification,
    FactErasure,
    FactForcing,
    TracingReversal,
    editing_problems,
)
from lens_rome.errors import EditError, FactError
from lens_rome.facts import EditRequest, Fact
from lens_rome.surface import as_surface
from tests.editing.support import DISABLING, NO_PROBE, quick_rome, random_moment
from tests.helpers import Case
from tests.oracles.editing import noise_hooks, row_of, with_noise

pytestmark = [pytest.mark.filterwarnings(NO_PROBE), pytest.mark.filterwarnings(DISABLING)]

FACT = Fact("Danielle Darrieux", "The mother of {} is", "French piano")
NOISE, SEED = 0.5, 3
PROBLEMS = editing_problems(NOISE, SEED)
NAMES = ["error injection", "tracing reversal", "fact erasure", "fact amplification", "fact forcing"]
FORCING = FactForcing(NOISE, SEED)


def noised_logits(model: Any, fact: Fact, before: str, more: tuple[int, ...]) -> torch.Tensor:
    """Of every position, with the first numbers of the seed's stream at the subject and `more` after the prompt."""
    surface = as_surface(model)
    row = row_of(model.tokenizer, before, fact.template, fact.subject, "", "subject_last", surface.prepends_bos())
    (row,) = with_noise([row], NOISE, SEED, surface.d_model)
    return model.run_with_hooks(torch.tensor([[*row.prompt, *more]]), fwd_hooks=noise_hooks(row))[0]


@torch.no_grad()
def test_what_a_noised_model_says_is_its_likeliest_continuation_token_by_token(raw_model: Any) -> None:
    expected: tuple[int, ...] = ()
    for _ in range(3):
        expected = (*expected, int(noised_logits(raw_model, FACT, "", expected)[-1].argmax()))
    found = continued(as_surface(raw_model), FACT, 3, Objective(noise=NOISE, noise_seed=SEED), None)
    assert found == expected
    assert found != continued(as_surface(raw_model), FACT, 3, Objective(), None)


def outcomes(model: Any, fact: Fact, n_tokens: int | None = None) -> list[EditRequest | str]:
    """Request or message of each of many seeds."""
    found: list[EditRequest | str] = []
    for seed in range(16):
        try:
            found.append(TracingReversal(NOISE, seed, n_tokens).request(model, fact))
        except EditError as error:
            found.append(str(error))
    return found


def test_tracing_reversal_asks_for_the_continuation_alone_and_refuses_what_is_no_text(gpt2: Any) -> None:
    surface, found = as_surface(gpt2), outcomes(gpt2, FACT, n_tokens=1)
    requests = {seed: each for seed, each in enumerate(found) if isinstance(each, EditRequest)}
    assert 0 < len(requests) < len(found)
    for seed, request in requests.items():
        tokens = continued(surface, FACT, 1, Objective(noise=NOISE, noise_seed=seed), None)
        assert request.target_new == gpt2.tokenizer.decode(list(tokens)).strip()
        assert (request.prompt, request.target_true) == (FACT.prompt, FACT.target)
    assert all("no target of its own after the prompt" in each for each in found if isinstance(each, str))


def test_tracing_reversal_refuses_a_model_that_still_says_the_truth(gpt2: Any) -> None:
    seed, said = next(
        (seed, each.target_new)
        for seed, each in enumerate(outcomes(gpt2, FACT, n_tokens=1))
        if isinstance(each, EditRequest)
    )
    for n_tokens in (None, 2):
        with pytest.raises(EditError, match=r"still says .*, the truth, after .* Give another seed or more noise"):
            TracingReversal(NOISE, seed, n_tokens).request(gpt2, replace(FACT, target=said))


def test_the_target_of_tracing_reversal_is_as_long_as_the_true_object(gpt2: Any) -> None:
    lengths = [
        len(as_surface(gpt2).encode(f"{each.prompt} {each.target_new}").ids)
        for each in outcomes(gpt2, FACT)
        if isinstance(each, EditRequest)
    ]
    assert set(lengths) <= {len(as_surface(gpt2).encode(f"{FACT.prompt} {FACT.target}").ids)}


def test_a_continuation_that_does_not_fit_the_context_is_refused(gpt2: Any) -> None:
    with pytest.raises(EditError, match="do not fit the model's context of 64; ask for fewer"):
        TracingReversal(NOISE, n_tokens=60).request(gpt2, FACT)


def test_every_problem_has_the_published_target_and_objective(gpt2: Any) -> None:
    assert [problem.name for problem in PROBLEMS] == NAMES
    injection, reversal, erasure, amplification, forcing = PROBLEMS
    assert injection.request(gpt2, FACT, "Spanish") == FACT.rewrite("Spanish")
    for problem in (erasure, amplification, forcing):
        request = problem.request(gpt2, FACT, "Spanish")
        assert (request.prompt, request.target_new, request.target_true) == (FACT.prompt, FACT.target, "")
    assert injection.objective == reversal.objective == amplification.objective == Objective()
    assert erasure.objective == Objective(erase=True)
    assert forcing.objective == Objective(noise=NOISE, noise_seed=SEED)


def test_error_injection_needs_the_false_object(gpt2: Any) -> None:
    with pytest.raises(EditError, match="give target_new for"):
        ErrorInjection().request(gpt2, FACT)
    with pytest.raises(FactError, match="Ask for another object"):
        ErrorInjection().request(gpt2, FACT, FACT.target)


@torch.no_grad()
@pytest.mark.parametrize("before", ["", "It is said of old that "])
def test_forcing_is_measured_with_the_seed_s_noise_at_the_subject_of_any_prompt(
    gpt2: Any, gpt2_case: Case, before: str
) -> None:
    fact = replace(FACT, template=before + FACT.template)
    surface = as_surface(gpt2)
    target = surface.encode(f"{fact.prompt} {fact.target}").ids[len(surface.encode(fact.prompt).ids) :]
    said = noised_logits(gpt2, FACT, before, target[:-1]).log_softmax(-1)[-len(target) :]
    expected = float(sum(row[token] for row, token in zip(said, target, strict=True)).exp())
    (found,) = FORCING.probabilities(gpt2, [FORCING.request(gpt2, fact)])
    assert found == pytest.approx(expected, rel=1e4 * gpt2_case.tolerance)
    (clean,) = FactAmplification().probabilities(gpt2, [FORCING.request(gpt2, fact)])
    assert abs(found - clean) > 0.01 * clean


def test_a_forced_fact_is_measured_under_the_noise_it_was_forced_with(gpt2: Any) -> None:
    editor, request = FORCING.adapt(quick_rome()), FORCING.request(gpt2, FACT)
    edit = editor.edit(gpt2, request, moments=random_moment(gpt2))
    (told,) = edit.provenance["diagnostics"]
    with edit.applied(gpt2):
        found = FORCING.probabilities(gpt2, [request])
    assert found == [pytest.approx(told["prob_after"], rel=1e-9)]
    assert FORCING.probabilities(gpt2, [request]) == [pytest.approx(told["prob_before"], rel=1e-9)]
    assert FORCING.score(told["prob_before"], told["prob_after"]) > 0


@pytest.mark.parametrize("name", ["fact erasure", "fact forcing"])
def test_fine_tuning_minimises_the_probability_and_forces_under_noise(gpt2: Any, name: str) -> None:
    problem = PROBLEMS[NAMES.index(name)]
    editor = problem.adapt(FineTune((1,), lr=2e-2, steps=8, stop_loss=0.0))
    request = problem.request(gpt2, FACT)
    (before,) = problem.probabilities(gpt2, [request])
    edit = replace(editor, steps=8).edit(gpt2, request)
    first, *_, last = edit.provenance["losses"][0]
    with edit.applied(gpt2):
        (after,) = problem.probabilities(gpt2, [request])
    if name == "fact erasure":
        assert first["total"] == pytest.approx(before, rel=1e-6)  # of all tokens together, not per token
    assert last["total"] < first["total"]
    assert problem.score(before, after) > 0


def test_rome_and_memit_keep_their_loop_but_for_the_steps_of_forcing() -> None:
    for editor in (ROME(5), RROME(5), MEMIT((4, 5)), EMMET((4, 5)), AlphaEdit((4, 5))):
        for problem in PROBLEMS:
            adapted = problem.adapt(editor)
            assert adapted.objective == problem.objective
            longer = problem is PROBLEMS[-1] and isinstance(editor, ROME | RROME)
            assert adapted.value.steps == (25 if longer else 20)
            assert replace(adapted, objective=editor.objective, value=editor.value) == editor
    patient = ROME(5, value=replace(ROME(5).value, steps=40))
    assert FORCING.adapt(patient).value.steps == 40


def test_fine_tuning_gets_the_published_loop() -> None:
    editor = FineTune((5,), norm_bound=1e-4, loss="last", repeats=3)
    for problem in PROBLEMS:
        adapted = problem.adapt(editor)
        assert (adapted.loss, adapted.reduction, adapted.patience) == ("all", "sum", 5)
        assert (adapted.layers, adapted.norm_bound, adapted.lr) == (editor.layers, 1e-4, editor.lr)
        forcing = problem is PROBLEMS[-1]
        assert (adapted.steps, adapted.repeats) == ((50, 10) if forcing else (25, 3))


@dataclass(frozen=True)
class Fixed:
    """An editor that optimises nothing."""

    layer: int = 1


def test_an_editor_without_objective_is_refused_only_where_the_problem_needs_one() -> None:
    for problem in (ErrorInjection(), TracingReversal(NOISE), FactAmplification()):
        assert problem.adapt(Fixed()) == Fixed()
    for problem in (FactErasure(), FORCING):
        with pytest.raises(EditError, match=r"Fixed optimises nothing .* ROME, RROME, MEMIT, EMMET, AlphaEdit and "):
            problem.adapt(Fixed())


@pytest.mark.parametrize("kind", [TracingReversal, FactForcing])
def test_noise_that_changes_nothing_is_refused(kind: Any) -> None:
    with pytest.raises(EditError, match="is about a noised subject: noise must be above 0"):
        kind(0.0)
    with pytest.raises(EditError, match="noise is a standard deviation"):
        kind(-1.0)


def test_a_target_of_no_tokens_is_refused() -> None:
    with pytest.raises(EditError, match="n_tokens must be 1 at least, or None"):
        TracingReversal(NOISE, n_tokens=0)


def test_scores_have_the_published_edge_values() -> None:
    for problem in (PROBLEMS[i] for i in (0, 1, 3, 4)):
        assert problem.score(0.2, 0.2) == 0 and problem.score(0.2, 1.0) == 1
        assert problem.score(0.2, 0.6) == pytest.approx(0.5)
        assert problem.score(0.2, 0.0) == pytest.approx(-0.25) and problem.score(0.2, 0.0, clipped=True) == 0
        assert math.isnan(problem.score(1.0, 0.5)) and math.isnan(problem.score(1.0, 0.5, clipped=True))
    erasure = FactErasure()
    assert erasure.score(0.2, 0.2) == 0 and erasure.score(0.2, 0.0) == 1
    assert erasure.score(0.2, 0.05) == pytest.approx(0.75)
    assert erasure.score(0.2, 0.4) == -1 and erasure.score(0.2, 0.4, clipped=True) == 0
    assert math.isnan(erasure.score(0.0, 0.5))
