"""What a surface says of a model, its live weights, and the models that are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lens_rome.errors import LensRomeError, SurfaceError
from lens_rome.surface import Site, as_surface, check_finite, check_layer
from tests.helpers import ARCHITECTURES, N_LAYERS, VOCAB, Case, assert_untouched

D_MLP = {"gpt2": 128, "gptj": 128, "neox": 96, "llama": 80}
TOKENS = torch.arange(5, 11)[None]


def test_a_surface_knows_the_sizes_of_its_model(any_model: Any, any_case: Case) -> None:
    surface = as_surface(any_model)
    assert surface.name == any_case.surface
    assert (surface.n_layers, surface.d_model, surface.n_ctx) == (N_LAYERS, 32, 64)
    assert surface.d_mlp == D_MLP[any_case.architecture]
    assert surface.dtype == any_case.dtype and surface.device == torch.device("cpu")
    assert surface.parallel == (any_case.architecture in ("gptj", "neox"))
    assert surface.weight(2).shape == (surface.d_mlp, 32) and surface.bias(2).shape == (32,)


def test_the_bias_is_zero_where_the_model_has_none(any_model: Any, any_case: Case) -> None:
    bias = as_surface(any_model).bias(1)
    assert bool(bias.any()) == (any_case.architecture != "llama")


def test_reading_no_sites_runs_nothing(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    surface = as_surface(gpt2)
    monkeypatch.setattr(surface, "_forward", None)
    assert surface.read(TOKENS, []) == {}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("gpt2-xl", "gpt2-xl"),
        ("EleutherAI/gpt-j-6B", "EleutherAI/gpt-j-6B"),
        ("./runs/mine", "mine"),
        ("../mine", "mine"),
        ("~/models/mine", "mine"),
        ("models/of/mine/", "mine"),
        ("C:\\models\\mine", "mine"),
        ("local/mine", "mine"),
        ("", "unnamed"),
    ],
)
def test_a_models_name_holds_no_path(
    gpt2: Any, given: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "local" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for path in (given, str(tmp_path / given) if given == "local/mine" else given):
        monkeypatch.setattr(gpt2.cfg, "model_name", path)
        assert as_surface(gpt2).model_name == name


@pytest.mark.parametrize("layer", range(N_LAYERS))
def test_key_times_weight_plus_bias_is_what_the_value_site_reads(any_model: Any, any_case: Case, layer: int) -> None:
    surface = as_surface(any_model)
    found = surface.read(TOKENS, [Site(layer, "key"), Site(layer, "value")])
    expected = found[Site(layer, "key")] @ surface.weight(layer) + surface.bias(layer)
    torch.testing.assert_close(found[Site(layer, "value")], expected, rtol=0, atol=10 * any_case.tolerance)
    check_layer(surface, layer)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_both_surfaces_compute_the_same_from_the_same_weights(
    architecture: str, shared_model: Callable[[Case], Any]
) -> None:
    hooked, bridge = (as_surface(shared_model(Case(architecture, surface))) for surface in ("hooked", "bridge"))
    with torch.no_grad():
        difference = (hooked.run(TOKENS) - bridge.run(TOKENS)).abs().max()
    assert torch.equal(hooked.weight(1), bridge.weight(1))
    # float32 casts inside transformers; logits are about ten times as large as probabilities.
    assert difference < 10 * max(Case(architecture, surface).tolerance for surface in ("hooked", "bridge"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_processed_weights_keep_keys_and_probabilities(
    architecture: str, gpt2_case: Case, shared_model: Callable[[Case], Any]
) -> None:
    case = Case(architecture, gpt2_case.surface, dtype=torch.float32)
    raw = as_surface(shared_model(case))
    processed = as_surface(shared_model(Case(architecture, case.surface, True, torch.float32)))
    key = Site(1, "key")
    with torch.no_grad():
        probs = [surface.run(TOKENS).softmax(-1) for surface in (raw, processed)]
        keys = [surface.read(TOKENS, [key])[key] for surface in (raw, processed)]
    torch.testing.assert_close(probs[1], probs[0], rtol=0, atol=case.tolerance)
    torch.testing.assert_close(keys[1], keys[0], rtol=1e-4, atol=1e-4)  # float32, keys up to 10


@torch.no_grad()
def test_writing_to_the_weight_changes_the_model_and_writing_to_the_stacked_copy_does_not(
    raw_case: Case, fresh_model: Callable[[Case], Any]
) -> None:
    model = fresh_model(raw_case)
    surface = as_surface(model)
    before = surface.run(TOKENS)
    model.W_out[1].zero_()
    assert torch.equal(surface.run(TOKENS), before)
    surface.weight(1).zero_()
    assert not torch.allclose(surface.run(TOKENS), before, atol=1e-3)
    assert not model.W_out[1].any()


def test_a_model_in_training_mode_is_refused_and_stays_in_it(
    gpt2_case: Case, fresh_model: Callable[[Case], Any]
) -> None:
    model = fresh_model(gpt2_case).train()
    with assert_untouched(model), pytest.raises(SurfaceError, match=r"call model\.eval\(\) first"):
        as_surface(model)


def test_a_model_with_one_block_in_training_mode_is_refused(
    gpt2_case: Case, fresh_model: Callable[[Case], Any]
) -> None:
    model = fresh_model(gpt2_case)
    model.blocks[1].train()  # as `bridge.original_model.train()` does to all that lies inside a bridge
    with pytest.raises(SurfaceError, match=r"call model\.eval\(\) first"):
        as_surface(model)


def test_something_else_than_a_transformer_lens_model_is_refused() -> None:
    with pytest.raises(SurfaceError, match=r"got Linear\. Load one with lens_rome\.load_model"):
        as_surface(nn.Linear(2, 2))


class Experts(nn.Module):
    """Weights of a mixture: one matrix an expert, so no single one maps keys to values."""

    def __init__(self) -> None:
        super().__init__()
        self.W_out = nn.Parameter(torch.zeros(2, 3, 4))


@pytest.mark.parametrize("mlp", [nn.Linear(2, 2), Experts()], ids=["no W_out", "one W_out an expert"])
def test_a_block_without_a_single_dense_weight_is_refused(
    gpt2: Any, mlp: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    surface = as_surface(gpt2)
    monkeypatch.setitem(gpt2.blocks[1]._modules, "mlp", mlp)
    with pytest.raises(SurfaceError, match="block 1 has no single dense W_out"):
        surface.weight(1)


def test_a_mixture_of_experts_is_refused(shared_model: Callable[[Case], Any]) -> None:
    surface = as_surface(shared_model(Case("mixtral", dtype=torch.float32)))
    with pytest.raises(SurfaceError, match="block 0 has no single dense W_out"):
        check_layer(surface, 0)


def test_the_value_site_lies_before_a_norm_that_follows_the_mlp(shared_model: Callable[[Case], Any]) -> None:
    surface = as_surface(shared_model(Case("gemma2", dtype=torch.float32)))
    assert surface.hook_name(Site(1, "value")) == "blocks.1.mlp.out.hook_out"
    check_layer(surface, 1)


def test_a_model_whose_attention_looks_ahead_is_refused(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run leaves out earlier positions, which is right only where they cannot see later ones."""
    monkeypatch.setattr(gpt2.cfg, "attention_dir", "bidirectional")
    with pytest.raises(SurfaceError, match="causal"):
        as_surface(gpt2)


def test_a_transposed_weight_is_refused(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    surface = as_surface(gpt2)
    transposed = surface.weight(1).detach().T
    monkeypatch.setattr(surface, "weight", lambda layer: transposed)  # noqa: ARG005
    with pytest.raises(SurfaceError, match=r"W_out is \(32, 128\) but its input has 128 features"):
        check_layer(surface, 1)


def test_a_block_that_does_more_than_one_matrix_is_refused(gpt2: Any) -> None:
    """A scale after the matrix: what folding or an expert's gate looks like from outside."""
    surface = as_surface(gpt2)
    scale = (surface.hook_name(Site(1, "value")), lambda activation, hook: activation * 1.1)  # noqa: ARG005
    with gpt2.hooks(fwd_hooks=[scale]), pytest.raises(SurfaceError, match=r"layer 1: key @ W_out \+ b_out differs"):
        check_layer(surface, 1)
    check_layer(surface, 1)


def test_a_forgotten_bias_is_refused(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    surface = as_surface(gpt2)
    monkeypatch.setattr(surface, "bias", lambda layer: torch.zeros_like(surface.weight(layer)[0]))
    with pytest.raises(SurfaceError, match=r"layer 1: key @ W_out \+ b_out differs"):
        check_layer(surface, 1)


@torch.no_grad()
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_broken_weight_is_named(gpt2_case: Case, fresh_model: Callable[[Case], Any], bad: float) -> None:
    model = fresh_model(gpt2_case)
    surface = as_surface(model)
    surface.weight(2)[3, 4] = bad
    with pytest.raises(SurfaceError, match="W_out of layer 2 holds NaN or infinite"):
        check_layer(surface, 2)
    name = next(name for name, weight in model.named_parameters() if not weight.isfinite().all())
    with pytest.raises(SurfaceError, match=f"values are in: {name}. Reload the weights"):
        check_finite(surface, surface.run(TOKENS))


def test_finite_logits_pass_and_an_overflow_without_broken_weights_is_told_apart(gpt2: Any) -> None:
    surface = as_surface(gpt2)
    check_finite(surface, torch.zeros(1, 2, 3))
    with pytest.raises(SurfaceError, match="none of its weights; its activations overflow"):
        check_finite(surface, torch.full((1, 2, 3), torch.inf))


def test_surface_errors_are_also_builtin_errors() -> None:
    assert issubclass(SurfaceError, LensRomeError) and issubclass(SurfaceError, ValueError)


def test_embeddings_are_those_of_the_table_however_many_tokens_there_are(raw_model: Any) -> None:
    surface = as_surface(raw_model)
    tokens = torch.arange(150) % VOCAB  # more than the context holds
    assert torch.equal(surface.embeddings(tokens), raw_model.W_E[tokens])


def test_embeddings_do_not_meet_the_owners_hooks(gpt2: Any) -> None:
    """Single tokens are no sequence: a hook that looks at position 5 would fail on them."""

    def change_position_5(activation: torch.Tensor, hook: object) -> torch.Tensor:  # noqa: ARG001
        activation = activation.clone()
        activation[:, 5] *= 2
        return activation

    tokens = torch.arange(2)
    with gpt2.hooks(fwd_hooks=[("hook_embed", change_position_5)]):
        assert torch.equal(as_surface(gpt2).embeddings(tokens), gpt2.W_E[tokens])


def test_the_models_own_setting_decides_about_bos_unless_one_is_given(raw_model: Any, raw_case: Case) -> None:
    surface = as_surface(raw_model)
    # Pythia was trained without; TransformerLens prepends for all others.
    assert surface.prepends_bos() == (raw_case.architecture != "neox")
    assert surface.prepends_bos(True) and not surface.prepends_bos(False)
    assert surface.encode("Steve Jobs", True).ids == (0, *surface.encode("Steve Jobs", False).ids)


def test_a_text_longer_than_the_context_is_refused(gpt2: Any) -> None:
    with pytest.raises(SurfaceError, match="text has 65 tokens, the model's context holds 64"):
        as_surface(gpt2).encode("a" * 64, prepend_bos=True)


def test_a_model_without_tokenizer_is_refused_when_text_comes(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpt2, "tokenizer", None)
    with pytest.raises(SurfaceError, match="the model has no tokenizer; load it with one"):
        as_surface(gpt2).encode("text")
