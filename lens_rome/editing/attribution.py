"""Which hidden units of the MLPs carry an answer: integrated gradients of its probability (knowledge neurons).

Dai et al. 2022, https://arxiv.org/abs/2104.08696, eq. 3: the activation `a` of one layer at the prompt's last token is
scaled by α from 0 to 1, the layers above follow; neuron i is given `a_i` times the mean gradient of p(answer) along the
way. Over a layer this adds up to p at α = 1 less p at α = 0.

Nothing before the last token and nothing below the layer changes on the way, so every run resumes there, and several
layers' rows run together. Under hooks of the model's owner, runs are full length. What owners do to the activation is
done after the scaling.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float

from lens_rome._typing import Model, Tensor
from lens_rome.editing.search import differentiable
from lens_rome.errors import EditError, FactError, SurfaceError
from lens_rome.facts import EditRequest, Fact, answer_tokens, tokenize_prompt
from lens_rome.surface import (
    AbstractSurface,
    Reader,
    Site,
    as_surface,
    attached,
    check_finite,
    check_logits,
    frozen_parameters,
    owner_hooks,
)

RULES = ("midpoint", "right", "left", "inclusive")
"""Places of the `steps` values of α: the middles of equal parts of (0, 1); their right ends (the paper's formula);
their left ends (its code); or from 0 to 1 with both ends (the released ROME baseline). All have equal weight.
"""
_SITES = {"post": "key", "pre": "pre"}


@dataclass(frozen=True)
class AttributionSettings:
    """The path along which gradients are taken. The defaults are right; `released` is the baseline of the ROME code."""

    steps: int = 20
    """Values of α; more are more exact and cost in proportion."""
    rule: str = "midpoint"
    """Where they lie, one of `RULES`."""
    activation: str = "post"
    """`"post"`: the input of `W_out`, which multiplies its rows; `"pre"`: the same before the nonlinearity."""
    extended: bool = True
    """Attribute an answer's later tokens after its earlier ones; False: all of them after the bare prompt."""
    leading_space: bool = True
    """Tokenise the answer as the prompt's continuation; False: on its own, without the space."""
    rows: int = 160
    """How many runs go into one batch, at least one layer's. Memory only; results do not depend on it."""

    def __post_init__(self) -> None:
        counts = (self.steps, self.rows)
        if any(not isinstance(number, int) or isinstance(number, bool) or number < 1 for number in counts):
            raise EditError(f"steps and rows must be whole numbers from 1, got {self.steps!r} and {self.rows!r}.")
        if self.rule not in RULES:
            raise EditError(f"unknown rule {self.rule!r}; choose one of {', '.join(RULES)}.")
        if self.activation not in _SITES:
            raise EditError(f"unknown activation {self.activation!r}; choose one of {', '.join(_SITES)}.")

    @classmethod
    def released(cls, steps: int = 20) -> "AttributionSettings":
        """What the ROME code's baseline computes: before the nonlinearity, both ends of the path, no leading space, and
        later tokens after the bare prompt.
        """
        return cls(steps, "inclusive", "pre", extended=False, leading_space=False)

    @property
    def alphas(self) -> Float[Tensor, " step"]:
        """The values of α; float64."""
        if self.rule == "inclusive":
            return torch.linspace(0, 1, self.steps, dtype=torch.float64)
        offset = {"midpoint": 0.5, "right": 1.0, "left": 0.0}[self.rule]
        return (torch.arange(self.steps, dtype=torch.float64) + offset) / self.steps


@dataclass(frozen=True)
class Question:
    """A text's tokens, and the tokens whose mean probability after it is attributed."""

    tokens: tuple[int, ...]
    answers: tuple[int, ...]


def attribute(
    model: Model,
    request: Fact | EditRequest,
    answer: str,
    *,
    settings: AttributionSettings | None = None,
    before: str = "",
    prepend_bos: bool | None = None,
) -> Float[Tensor, "layer d_mlp"]:
    """How much of p(answer) after the request's prompt each hidden unit of each MLP gives, by integrated gradients.

    Up to the error of the grid a layer's row adds up to the probability less that with the layer's activation at the
    last token set to 0; of an answer of several tokens, the mean over them. The model is unchanged.

    Cost: one run, and for each layer `steps` rows of one position forward and backward through the layers above.

    Args:
        answer: usually the one that holds in the model, with or without leading space.
        before: a context prefix with its separating space.

    Raises:
        FactError: the answer is empty.  SurfaceError: unsupported model.  EditError: weights without gradients.
    """
    surface, chosen = as_surface(model), settings or AttributionSettings()
    answers = answer_ids(surface, before + request.prompt, answer, chosen, prepend_bos)
    tokens = tokenize_prompt(surface, request, prepend_bos, before).tokens
    return attributed(surface, questions_of(tokens, answers, chosen), chosen)


def answer_ids(
    surface: AbstractSurface, prompt: str, answer: str, settings: AttributionSettings, prepend_bos: bool | None
) -> tuple[int, ...]:
    """Tokens of an answer: as the prompt's continuation, or on their own. Raises `FactError` if it is empty."""
    if settings.leading_space:
        return answer_tokens(surface, prompt, answer, prepend_bos)
    if not answer.strip():
        raise FactError("the answer is empty; give the text whose probability is to be attributed.")
    return surface.encode(answer.strip(), False).ids


def questions_of(
    tokens: tuple[int, ...], answers: tuple[int, ...], settings: AttributionSettings
) -> tuple[Question, ...]:
    """One question for each token of an answer, after the prompt and the tokens before it; or one for all."""
    if not settings.extended:
        return (Question(tokens, answers),)
    return tuple(Question((*tokens, *answers[:i]), (answers[i],)) for i in range(len(answers)))


def attributed(
    surface: AbstractSurface, questions: Sequence[Question], settings: AttributionSettings
) -> Float[Tensor, "layer d_mlp"]:
    """The mean over `questions` of the attribution; float32 or wider, on the model's device. See `attribute`."""
    widths = {int(surface.weight(layer).shape[0]) for layer in range(surface.n_layers)}
    if len(widths) > 1:
        raise SurfaceError(f"the MLPs have different widths, {sorted(widths)}; their neurons cannot be compared.")
    with differentiable(surface), frozen_parameters(surface.model):
        parts = [_Path(surface, question, settings).attribution() for question in questions]
        return torch.stack(parts).mean(0).detach()


class _Path:
    """p(answers) after one text, as a function of the scaled activations of its last position."""

    def __init__(self, surface: AbstractSurface, question: Question, settings: AttributionSettings) -> None:
        self.surface, self.question, self.settings = surface, question, settings
        kind = _SITES[settings.activation]
        self.names = [surface.hook_name(Site(layer, kind)) for layer in range(surface.n_layers)]
        self.tokens = torch.tensor([question.tokens])
        reader = Reader(self.names)
        self.full_length = bool(owner_hooks(surface.model))
        # First among the hooks there: so an edit's hooks see the scaled activation, as its weights would.
        with torch.no_grad(), attached(surface.model, reader.hooks, first=True):
            logits = surface.run(self.tokens)[:, -1:]
            check_finite(surface, logits)
            if not self.full_length:
                self.base = surface.base_run(self.tokens)
                check_logits(surface, surface.logits(self.base.resid[-1][:, -1:]), logits)
        self.activations = [reader[name][0, -1] for name in self.names]

    def attribution(self) -> Float[Tensor, "layer d_mlp"]:
        """One row a layer; several layers' rows go into a batch."""
        found: list[Tensor] = []
        steps, n_layers = self.settings.steps, self.surface.n_layers
        at_once = 1 if self.full_length else max(1, self.settings.rows // steps)
        for first in range(0, n_layers, at_once):
            layers = range(first, min(first + at_once, n_layers))
            scaled = {layer: self._scaled(layer) for layer in layers}
            logits = self._full_length(first, scaled[first]) if self.full_length else self._resumed(scaled)
            check_finite(self.surface, logits.detach())
            probs = logits.to(scaled[first].dtype).softmax(-1)[:, list(self.question.answers)].mean(-1)
            slopes = torch.autograd.grad(probs.sum(), list(scaled.values()))
            sums = (slope.sum(0) / steps for slope in slopes)
            found += [self.activations[layer].to(mean) * mean for layer, mean in zip(layers, sums, strict=True)]
        return torch.stack(found)

    def _scaled(self, layer: int) -> Float[Tensor, "step d_mlp"]:
        """The activation times each α; at least float32, also in models of half precision."""
        activation = self.activations[layer]
        wide = activation.to(torch.promote_types(activation.dtype, torch.float32))
        return (self.settings.alphas.to(wide)[:, None] * wide).requires_grad_()

    def _resumed(self, scaled: dict[int, Tensor]) -> Float[Tensor, "row d_vocab"]:
        """Logits after the last position; the rows of each layer of `scaled` join the batch there."""
        start, resid = self.base.n_positions - 1, None
        for layer in range(min(scaled), self.surface.n_layers):
            hooks = []
            if layer in scaled:
                entering = self.base.resid[layer][:, start:].expand(len(scaled[layer]), -1, -1)
                resid = entering if resid is None else torch.cat([resid, entering])
                hooks = [(self.names[layer], _put(scaled[layer]))]
            assert resid is not None
            with attached(self.surface.model, hooks, first=True):
                resid = self.surface.block(self.base, layer, resid, start)
        assert resid is not None
        return self.surface.logits(resid)[:, -1]

    def _full_length(self, layer: int, scaled: Float[Tensor, "step d_mlp"]) -> Float[Tensor, "row d_vocab"]:
        with attached(self.surface.model, [(self.names[layer], _put(scaled))], first=True):
            return self.surface.run(self.tokens.expand(len(scaled), -1))[:, -1]


def _put(scaled: Tensor) -> Callable[..., Tensor]:
    """A hook that puts `scaled` into the last position of the last rows."""

    def put(activation: Tensor, hook: object) -> Tensor:  # noqa: ARG001 - TransformerLens's signature
        others, mine = activation[: -len(scaled)], activation[-len(scaled) :]
        mine = torch.cat([mine[:, :-1], scaled.to(activation.dtype)[:, None]], 1)
        return torch.cat([others, mine])

    return put
