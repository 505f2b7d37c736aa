"""Knowledge neurons: which rows are changed, by what, and what nothing else may change."""

from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError

from lens_rome.editing import DisablingEditWarning, Edit
from lens_rome.editing.neuron_sets import coarse_set, shared_by
from lens_rome.editing.neurons import KnowledgeNeurons
from lens_rome.errors import EditError, SurfaceError
from lens_rome.facts import EditRequest, Fact
from lens_rome.surface import as_surface
from tests.editing.support import CONTEXTS, DISABLING
from tests.helpers import N_LAYERS, Case, assert_untouched
from tests.oracles.editing import row_of
from tests.oracles.neurons import attribution_by_loop, change_by_loop

pytestmark = pytest.mark.filterwarnings(DISABLING)

REQUEST = Fact("Steve Jobs", "{} was the founder of", "French").rewrite("E")
OTHER = Fact("Danielle Darrieux", "The mother of {} is", "French").rewrite("Spanish piano")
ALPHAS = [1 / 4, 3 / 4]


def quick(**settings: Any) -> KnowledgeNeurons:
    return KnowledgeNeurons(**{"steps": 2, "contexts": ("",), **settings})


def released(**settings: Any) -> KnowledgeNeurons:
    return KnowledgeNeurons(**{"steps": 3, "faithful": True, "prepend_bos": False, **settings})


def chosen(edit: Edit, index: int = 0) -> dict[int, list[int]]:
    """Indices of the edit's neurons by layer."""
    found: dict[int, list[int]] = {}
    for layer, neuron in edit.provenance["neurons"][index]:
        found.setdefault(layer, []).append(neuron)
    return found


def embedding(model: Any, tokens: tuple[int, ...]) -> torch.Tensor:
    """The sum of what the model itself embeds."""
    _, cache = model.run_with_cache(torch.tensor([tokens]))
    return cache["hook_embed"][0].detach().double().sum(0)


def assert_changes(edit: Edit, expected: dict[int, torch.Tensor], tolerance: float) -> None:
    assert {place[0] for place in edit.deltas} == set(expected)
    for layer, change in expected.items():
        torch.testing.assert_close(edit.deltas[layer, "W_out"].dense(), change, rtol=0, atol=tolerance)


def test_an_edit_equals_the_loop_over_prompts_layers_points_and_neurons(raw_model: Any, raw_case: Case) -> None:
    surface, sets, olds = as_surface(raw_model), [], []
    for before in CONTEXTS:
        found = row_of(
            raw_model.tokenizer, before, REQUEST.template, REQUEST.subject, "French", "last", surface.prepends_bos()
        )
        assert len(found.target) == 1
        scores = attribution_by_loop(raw_model, found.prompt, found.target, ALPHAS)
        sets.append(scores > 0.2 * scores.max())
        olds.append(found.target)
    neurons = torch.stack(sets).double().mean(0) > 0.4
    bos = surface.prepends_bos()
    new = row_of(raw_model.tokenizer, "", REQUEST.template, REQUEST.subject, "E", "last", bos).target
    old_vector, new_vector = embedding(raw_model, olds[0]), embedding(raw_model, new)
    expected = {
        layer: change_by_loop(
            surface.weight(layer).detach().double(), row.nonzero().flatten().tolist(), old_vector, new_vector, 1.0, 8.0
        )
        for layer, row in enumerate(neurons)
        if row.any()
    }
    edit = quick(contexts=CONTEXTS).edit(raw_model, REQUEST)
    assert edit.provenance["neurons"] == [neurons.nonzero().tolist()]
    assert_changes(edit, expected, 1e3 * raw_case.tolerance)


def test_the_released_edit_equals_the_loop(raw_model: Any, raw_case: Case) -> None:
    if raw_case.architecture == "llama":
        with pytest.raises(SurfaceError, match="MLPs of this model are gated"):
            released().edit(raw_model, OTHER)
        return
    tokenizer = raw_model.tokenizer
    old, new = (tuple(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in ("French", "Spanish piano"))
    prompt = row_of(tokenizer, "", OTHER.template, OTHER.subject, "", "last", False).prompt
    scores = attribution_by_loop(raw_model, prompt, old, [0.0, 0.5, 1.0], "hook_pre")
    said = int(raw_model(torch.tensor([prompt]))[0, -1].argmax())
    vector = embedding(raw_model, new) - 2 * embedding(raw_model, (said,))
    neurons = (scores > 0.2 * scores.max()).double()
    expected = {layer: torch.outer(row, vector) for layer, row in enumerate(neurons) if row.any()}
    edit = released().edit(raw_model, OTHER)
    assert_changes(edit, expected, 1e3 * raw_case.tolerance)
    assert edit.provenance["editor"] == "KN (as released)"


def test_an_edit_changes_the_neurons_rows_of_w_out_and_nothing_else(raw_model: Any) -> None:
    edit = quick().edit(raw_model, REQUEST)
    assert edit.rank == len(edit.deltas) == len(chosen(edit))
    for layer, neurons in chosen(edit).items():
        change = edit.deltas[layer, "W_out"].dense()
        assert int(torch.linalg.matrix_rank(change)) == 1
        assert change.abs().sum(1).nonzero().flatten().tolist() == neurons
    with edit.applied(raw_model):
        assert edit.provenance["diagnostics"][0]["n_layers"] == len(chosen(edit))


def test_making_an_edit_leaves_the_model_alone(raw_model: Any) -> None:
    with assert_untouched(raw_model):
        quick().edit(raw_model, [REQUEST, OTHER])
    assert all(parameter.grad is None for parameter in raw_model.parameters())


def test_a_failed_edit_leaves_the_model_alone(gpt2: Any) -> None:
    unknown = EditRequest("Danielle Darrieux", "{} was the founder of", "E")
    with assert_untouched(gpt2), pytest.raises(EditError, match="target_true is empty"):
        quick().edit(gpt2, [REQUEST, unknown])


def test_hooks_equal_weights(raw_model: Any, raw_case: Case) -> None:
    tokens, edit = torch.tensor([[5, 17, 30, 8]]), quick().edit(raw_model, REQUEST)
    with torch.no_grad():
        plain = raw_model(tokens)
        with edit.applied(raw_model):
            expected = raw_model(tokens)
        found = raw_model.run_with_hooks(tokens, fwd_hooks=edit.hooks(raw_model))
    assert (expected - plain).abs().max() > 1e-3
    torch.testing.assert_close(found, expected, rtol=0, atol=100 * raw_case.tolerance)


def test_several_requests_are_one_edit_made_in_sequence(gpt2: Any) -> None:
    joint, first = quick().edit(gpt2, [REQUEST, OTHER]), quick().edit(gpt2, REQUEST)
    with first.applied(gpt2):
        second = quick().edit(gpt2, OTHER)
        with second.applied(gpt2):
            expected = [as_surface(gpt2).weight(layer).detach().clone() for layer in range(N_LAYERS)]
    with joint.applied(gpt2):
        for layer, weight in enumerate(expected):
            torch.testing.assert_close(as_surface(gpt2).weight(layer).detach(), weight, rtol=0, atol=1e-12)
    assert [chosen(joint, i) for i in (0, 1)] == [chosen(first), chosen(second)]
    assert len(joint.provenance["requests"]) == len(joint.provenance["diagnostics"]) == 2
    alone = quick().edit(gpt2, OTHER)  # teeth: the second edit is another on the unedited model
    same = chosen(alone) == chosen(second)
    assert not same or any(
        not torch.allclose(alone.deltas[place].left, second.deltas[place].left) for place in alone.deltas
    )


def test_independent_edits_equal_edits_made_one_by_one(gpt2: Any) -> None:
    for edit, request in zip(quick().edit_each(gpt2, [REQUEST, OTHER]), (REQUEST, OTHER), strict=True):
        alone = quick().edit(gpt2, request, moments="identity")
        assert edit.provenance == alone.provenance
        assert all(torch.equal(edit.deltas[place].dense(), alone.deltas[place].dense()) for place in alone.deltas)


def test_the_diagnostics_tell_the_probability_before_and_after(gpt2: Any) -> None:
    edit = quick(contexts=CONTEXTS).edit(gpt2, REQUEST)
    (report,) = edit.provenance["diagnostics"]
    row = row_of(gpt2.tokenizer, "", REQUEST.template, REQUEST.subject, "E", "last", as_surface(gpt2).prepends_bos())
    found = []
    with torch.no_grad():
        for factor in (0.0, 1.0):
            with edit.scaled(factor).applied(gpt2):
                logprobs = gpt2(torch.tensor([[*row.prompt, *row.target[:-1]]]))[0].log_softmax(-1)
            first = len(row.prompt) - 1
            found.append(float(sum(logprobs[first + i, token] for i, token in enumerate(row.target)).exp()))
    assert [report["prob_before"], report["prob_after"]] == pytest.approx(found, rel=1e-9)
    assert report["n_neurons"] == sum(map(len, chosen(edit).values()))
    assert report["n_prompts"] == len(CONTEXTS) and report["threshold"] == 0.2 * report["largest_attribution"]


def test_an_edit_made_for_a_tied_model_raises_the_new_object(gpt2: Any) -> None:
    (report,) = quick().edit(gpt2, REQUEST).provenance["diagnostics"]
    assert report["prob_after"] > 2 * report["prob_before"]


def test_the_old_object_can_be_what_the_model_says(gpt2: Any) -> None:
    prompt = row_of(
        gpt2.tokenizer, "", REQUEST.template, REQUEST.subject, "", "last", as_surface(gpt2).prepends_bos()
    ).prompt
    said = int(gpt2(torch.tensor([prompt]))[0, -1].argmax())
    scores = attribution_by_loop(gpt2, prompt, [said], ALPHAS)
    without = EditRequest(REQUEST.subject, REQUEST.template, REQUEST.target_new)
    edit = quick(answer="predicted", contexts=("",)).edit(gpt2, without)
    assert edit.provenance["neurons"] == [(scores > 0.2 * scores.max()).nonzero().tolist()]


def test_paraphrases_take_the_place_of_context_prefixes(gpt2: Any) -> None:
    editor = KnowledgeNeurons(steps=2, paraphrases=("The founder {} made",), share=0.6)
    both = [
        KnowledgeNeurons(steps=2, contexts=("",)).edit(gpt2, EditRequest(REQUEST.subject, template, "E", "French"))
        for template in (REQUEST.template, editor.paraphrases[0])
    ]
    first, second = ({tuple(neuron) for neuron in edit.provenance["neurons"][0]} for edit in both)
    edit = editor.edit(gpt2, REQUEST)
    assert {tuple(neuron) for neuron in edit.provenance["neurons"][0]} == first & second != first
    assert edit.provenance["contexts"] == [""]


def test_contexts_are_sampled_from_the_recorded_seed(gpt2: Any) -> None:
    settings: dict[str, Any] = {"steps": 1, "context_lengths": ((3, 1),)}
    edits = [KnowledgeNeurons(**settings, seed=seed).edit(gpt2, REQUEST) for seed in (0, 0, 1)]
    texts = [edit.provenance["contexts"] for edit in edits]
    assert texts[0] == texts[1] != texts[2] and len(texts[0]) == 2
    assert [edit.provenance["settings"]["seed"] for edit in edits] == [0, 0, 1]


def test_an_edit_is_saved_and_loaded_with_its_neurons(gpt2: Any, tmp_path: Path) -> None:
    edit = quick().edit(gpt2, REQUEST)
    loaded = Edit.load(edit.save(tmp_path / "edit.safetensors"))
    assert loaded.provenance["neurons"] == edit.provenance["neurons"] and chosen(loaded) == chosen(edit)
    assert all(torch.equal(loaded.deltas[place].dense(), edit.deltas[place].dense()) for place in edit.deltas)


def test_a_coarse_set_is_strictly_above_its_share_of_the_largest_of_all_layers() -> None:
    scores = torch.tensor([[1.0, 0.2, 0.21], [-1.0, 0.5, 0.0]])
    assert coarse_set(scores, 0.2).tolist() == [[True, False, True], [False, True, False]]
    assert not coarse_set(-1 - scores.abs(), 0.2).any() and not coarse_set(torch.zeros(2, 3), 0.0).any()


def test_a_neuron_is_shared_if_it_is_in_more_than_the_share_of_the_sets() -> None:
    sets = torch.tensor([[[True, True, False]], [[True, False, False]]])
    assert shared_by(sets, 0.5).tolist() == [[True, False, False]]
    assert shared_by(sets, 0.4).tolist() == [[True, True, False]]


def test_no_neuron_that_passes_is_an_error_that_tells_the_sizes(gpt2: Any) -> None:
    with pytest.raises(EditError, match=r"no neuron is in more than 99% of the 3 .*Lower share or threshold"):
        quick(threshold=0.999, share=0.99, contexts=CONTEXTS).edit(gpt2, REQUEST)


def test_an_edit_larger_than_a_weight_warns(gpt2: Any) -> None:
    with pytest.warns(DisablingEditWarning, match="Raise threshold or share, or lower promote"):
        quick(threshold=0.0, promote=100.0).edit(gpt2, REQUEST)


def test_no_request_is_an_error(gpt2: Any) -> None:
    with pytest.raises(EditError, match="no requests to edit"):
        quick().edit(gpt2, [])
    with pytest.raises(EditError, match="no requests to edit"):
        quick().edit_each(gpt2, [])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps and rows must be whole numbers from 1"),
        ({"rule": "simpson"}, "unknown rule 'simpson'"),
        ({"threshold": 1.0}, "threshold must be at least 0 and below 1, got 1.0"),
        ({"share": -0.1}, "share must be at least 0 and below 1, got -0.1"),
        ({"suppress": -1.0}, "suppress must be a number from 0, got -1.0"),
        ({"promote": float("nan")}, "promote must be a number from 0, got nan"),
        ({"answer": "wrong"}, "unknown answer 'wrong'; choose one of target_true, predicted"),
        ({"paraphrases": ("He was",)}, r"the paraphrase 'He was' needs exactly one '\{\}'"),
        ({"context_lengths": ((1, 5),)}, r"2 tokens .* and 1 text at least, such as .* got \(\(1, 5\),\)"),
        ({"contexts": ("", "He said")}, "would run into the prompt"),
        (
            {"faithful": True, "promote": 2.0, "share": 0.5},
            "faithful=True has no use for promote, share; leave them out",
        ),
    ],
    ids=str,
)
def test_settings_are_checked_when_an_editor_is_made(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((EditError, TypeCheckError), match=message):
        KnowledgeNeurons(**settings)
