"""Published settings of editors on the five editing problems (Hase et al., https://arxiv.org/abs/2301.04213, App. B).

The paper tuned the weight of the divergence and fine-tuning's bound on 100 records; all else is as the editors were
published. Where the released files differ from the paper the paper's numbers are taken (docs/fidelity.md).
"""

from dataclasses import dataclass, replace

from lens_rome.editing.finetune import FineTune, window_layers
from lens_rome.editing.memit import MEMIT
from lens_rome.editing.problems import EditingProblem
from lens_rome.editing.rome import ROME
from lens_rome.editing.value import ValueSettings
from lens_rome.errors import EditError

_WINDOW = 5


@dataclass(frozen=True)
class _Published:
    """Of one model."""

    n_layers: int
    layer: int
    """The one that ROME edits by default; windows lie around it."""
    noise: float
    memit_steps: int
    memit_weight: float
    bounds: dict[tuple[str, str], float]
    """ε by fine-tuning's form and the problem's name."""
    kl_factors: dict[tuple[str, str], float]


_J_BOUNDS = {
    "FT-1": {"error injection": 1e-4, "fact forcing": 1e-4},
    "FT-5": {"error injection": 2e-5, "tracing reversal": 2e-5, "fact forcing": 1e-4},
}
_J_OTHERS = ("tracing reversal", "fact erasure", "fact amplification")
_MODELS = {
    "gpt-j-6b": _Published(
        n_layers=28,
        layer=5,
        noise=0.094,
        memit_steps=25,
        memit_weight=15000.0,
        bounds={
            **{(form, name): 1e-5 for form in _J_BOUNDS for name in _J_OTHERS},
            **{(form, name): bound for form, told in _J_BOUNDS.items() for name, bound in told.items()},
        },
        kl_factors={("ROME", "error injection"): 1.0, ("MEMIT", "error injection"): 0.9},
    ),
    "gpt2-xl": _Published(
        n_layers=48,
        layer=17,
        noise=0.1,
        memit_steps=20,
        memit_weight=20000.0,
        bounds={
            ("FT-1", "error injection"): 1e-3,
            ("FT-5", "error injection"): 1e-4,
            ("FT-1", "fact forcing"): 5e-4,
            ("FT-5", "fact forcing"): 5e-5,
        },
        kl_factors={},
    ),
}
PROBLEM_EDITORS = ("ROME", "MEMIT", "FT-1", "FT-5")
"""Editors of the study; the last two are fine-tuning of one layer and of five, with a bound."""


def problem_noise(model: str) -> float:
    """The published noise of tracing reversal and fact forcing: a standard deviation in embedding units.

    Raises:
        EditError: a model that the study has no settings for.
    """
    return _published(model).noise


def problem_preset(
    problem: EditingProblem, editor: str, model: str, *, layer: int | None = None
) -> ROME | MEMIT | FineTune:
    """The published settings of an editor on a problem, adapted to it; without BOS, and every step of a search for
    values is taken, as in the released code.

    Args:
        editor: one of `PROBLEM_EDITORS`.
        model: `gpt-j-6b` or `gpt2-xl`; a hub owner before the name is ignored.
        layer: the layer that is edited, or the middle of the five; None for ROME's published one.

    Raises:
        EditError: unknown editor, model or layer; or settings that were not published.
    """
    if editor not in PROBLEM_EDITORS:
        raise EditError(f"the study has no editor {editor!r}; it has {', '.join(PROBLEM_EDITORS)}.")
    told = _published(model)
    layer = told.layer if layer is None else layer
    kl_factor = told.kl_factors.get((editor, problem.name), ValueSettings().kl_factor)
    search = ValueSettings(kl_factor=kl_factor, stop_loss=0.0)
    around = window_layers(layer, _WINDOW, told.n_layers)
    if editor == "ROME":
        return problem.adapt(ROME(layer, value=search, prepend_bos=False))
    if editor == "MEMIT":
        value = replace(search, steps=told.memit_steps, clamp=0.75)
        return problem.adapt(MEMIT(around, value=value, weight=told.memit_weight, prepend_bos=False))
    bound = told.bounds.get((editor, problem.name))
    if bound is None:
        raise EditError(
            f"no bound of {editor} was published for {problem.name} on {model}. Give one: "
            "problem.adapt(FineTune.window(layer, width, n_layers, norm_bound=...))."
        )
    layers = around if editor == "FT-5" else (layer,)
    return problem.adapt(FineTune(layers, norm_bound=bound, prepend_bos=False))


def _published(model: str) -> _Published:
    name = model.split("/")[-1].lower().removeprefix("eleutherai_")
    if name not in _MODELS:
        raise EditError(f"the study has no settings for model {model!r}; it has them for {', '.join(_MODELS)}.")
    return _MODELS[name]
