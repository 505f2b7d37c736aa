"""The five editing problems of Hase et al. (https://arxiv.org/abs/2301.04213, §5.2): what an edit is to make of a fact.

Each problem turns a fact into a request, an editor into one for this problem, and probabilities into a score. An editor
knows nothing of problems: it is told an `Objective`.

| problem | input | target | objective |
|---|---|---|---|
| error injection | the prompt | a false object | say it |
| tracing reversal | the prompt | what the model says when its subject is noised | say it |
| fact erasure | the prompt | the true object | do not say it |
| fact amplification | the prompt | the true object | say it |
| fact forcing | the prompt, subject noised | the true object | say it |
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

from lens_rome._typing import Model
from lens_rome.editing.continuation import continued, reads_back
from lens_rome.editing.objective import Objective
from lens_rome.editing.requests import target_probabilities
from lens_rome.editing.rome import ROME, RROME
from lens_rome.editing.scores import erasure_score, rewrite_score
from lens_rome.editing.tuning_settings import TuningSettings
from lens_rome.errors import EditError
from lens_rome.facts import EditRequest, Fact, answer_tokens
from lens_rome.surface import as_surface

EditorT = TypeVar("EditorT")

_ROME_STEPS, _TUNING_STEPS, _TUNING_REPEATS, _PATIENCE = 25, 50, 10, 5
"""Of the released loops: steps that fact forcing takes at least, its noised rows, small losses in a row that end a fit.
"""
_WITH_OBJECTIVE = "ROME, RROME, MEMIT, EMMET, AlphaEdit and FineTune"


@dataclass(frozen=True)
class EditingProblem(ABC):
    """What all five problems offer."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What the problem is called in messages and tables."""

    @property
    def objective(self) -> Objective:
        """What editors optimise, and under which noise the edit is measured."""
        return Objective()

    @abstractmethod
    def request(
        self, model: Model, fact: Fact, target_new: str | None = None, *, prepend_bos: bool | None = None
    ) -> EditRequest:
        """The request that asks this of a fact.

        Args:
            model: asked by tracing reversal alone.
            fact: with the object that holds.
            target_new: the false object of error injection; the other problems do not use it.
            prepend_bos: of the run of tracing reversal; None follows the model.

        Raises:
            EditError: there is no such target, see the problem.
        """

    def adapt(self, editor: EditorT) -> EditorT:
        """The editor with this problem's objective and the published changes of its loop; its other settings stay.

        Fine-tuning sums the loss over the target's tokens, scores each after those before it, and ends after five small
        losses in a row. An editor without objective is returned as it is where the problem is to say a target.

        Raises:
            EditError: the editor has no objective, and the problem needs one.
        """
        if not is_dataclass(editor) or all(field.name != "objective" for field in fields(editor)):
            if self.objective == Objective():
                return editor
            raise EditError(
                f"{self.name} changes what an editor optimises, and {type(editor).__name__} optimises nothing that "
                f"could be changed. {_WITH_OBJECTIVE} take any problem."
            )
        changes: dict[str, Any] = {"objective": self.objective, **self._loop(editor)}
        return replace(editor, **changes)  # pyright: ignore[reportArgumentType] - a dataclass, as seen above

    def _loop(self, editor: object) -> dict[str, Any]:
        """Published changes of an editor's loop."""
        return {"loss": "all", "reduction": "sum", "patience": _PATIENCE} if isinstance(editor, TuningSettings) else {}

    def probabilities(
        self, model: Model, requests: Sequence[EditRequest], *, prepend_bos: bool | None = None
    ) -> list[float]:
        """Joint probability of each request's target on the problem's input, under the model as it is now: after the
        bare prompt, with the noise of the edit where there is noise.
        """
        return target_probabilities(as_surface(model), requests, prepend_bos, self.objective)

    def score(self, prob_before: float, prob_after: float, *, clipped: bool = False) -> float:
        """Share of what there was to gain that the edit gained: `(p* - p) / (1 - p)` of the target after the rewrite
        or a paraphrase prompt (their App. B); 0 for an unchanged model, 1 for certainty, negative for a loss.

        Args:
            clipped: never below 0, as in the released code (there below 2e-8, so that harmonic means exist).

        Returns:
            NaN where there was nothing to gain.
        """
        gain = rewrite_score(prob_before, prob_after)
        return max(gain, 0.0) if clipped and gain < 0 else gain


@dataclass(frozen=True)
class ErrorInjection(EditingProblem):
    """Make the model say a false object: what editors were made for."""

    @property
    def name(self) -> str:
        """`"error injection"`."""
        return "error injection"

    def request(
        self,
        model: Model,  # noqa: ARG002
        fact: Fact,
        target_new: str | None = None,
        *,
        prepend_bos: bool | None = None,  # noqa: ARG002
    ) -> EditRequest:
        """The request for `target_new`. Raises `EditError` without one."""
        if target_new is None:
            raise EditError(f"error injection needs the false object: give target_new for {fact}.")
        return fact.rewrite(target_new)


@dataclass(frozen=True)
class _AboutTheTruth(EditingProblem):
    """Problems whose target is the true object."""

    def request(
        self,
        model: Model,  # noqa: ARG002
        fact: Fact,
        target_new: str | None = None,  # noqa: ARG002
        *,
        prepend_bos: bool | None = None,  # noqa: ARG002
    ) -> EditRequest:
        """The request whose target is the fact's own object."""
        return EditRequest(fact.subject, fact.template, fact.target, relation=fact.relation)


@dataclass(frozen=True)
class FactErasure(_AboutTheTruth):
    """Make the true object unlikely. Editors minimise its probability and take all their steps."""

    @property
    def name(self) -> str:
        """`"fact erasure"`."""
        return "fact erasure"

    @property
    def objective(self) -> Objective:
        """Erasing."""
        return Objective(erase=True)

    def score(self, prob_before: float, prob_after: float, *, clipped: bool = False) -> float:
        """Share of the probability that is gone: `(p - p*) / p`. Otherwise as for the other problems."""
        gone = erasure_score(prob_before, prob_after)
        return max(gone, 0.0) if clipped and gone < 0 else gone


@dataclass(frozen=True)
class FactAmplification(_AboutTheTruth):
    """Make the true object more likely still."""

    @property
    def name(self) -> str:
        """`"fact amplification"`."""
        return "fact amplification"


@dataclass(frozen=True)
class _Noised(EditingProblem):
    noise: float
    """Standard deviation of Gaussian noise on the word embeddings of the subject's tokens; 0.094 for GPT-J and 0.1 for
    GPT-2 XL in the paper.
    """
    seed: int = 1
    """Of the draw. A prompt's draw depends on it and the number of the subject's tokens alone, so the prompt of the
    edit and a paraphrase that splits the subject alike get the same noise, each at its own subject.
    """

    def __post_init__(self) -> None:
        if Objective(noise=self.noise).noise == 0:
            raise EditError(f"{self.name} is about a noised subject: noise must be above 0.")

    @property
    def _noised(self) -> Objective:
        return Objective(noise=self.noise, noise_seed=self.seed)


@dataclass(frozen=True)
class FactForcing(_Noised, _AboutTheTruth):
    """Make the model say the true object although it cannot tell the subject: the noise is there in every run of the
    edit and when it is measured.
    """

    @property
    def name(self) -> str:
        """`"fact forcing"`."""
        return "fact forcing"

    @property
    def objective(self) -> Objective:
        """With noise."""
        return self._noised

    def _loop(self, editor: object) -> dict[str, Any]:
        """ROME takes 25 steps at least; fine-tuning 50, on ten rows with noise of their own."""
        if isinstance(editor, ROME | RROME):
            return {"value": replace(editor.value, steps=max(editor.value.steps, _ROME_STEPS))}
        if isinstance(editor, TuningSettings):
            steps = max(editor.steps, _TUNING_STEPS)
            return {**super()._loop(editor), "steps": steps, "repeats": _TUNING_REPEATS}
        return {}


@dataclass(frozen=True)
class TracingReversal(_Noised):
    """Make the model say what it says where its subject is noised: undo what tracing restores. The edit itself sees no
    noise.
    """

    n_tokens: int | None = None
    """Length of the target; None for that of the true object."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_tokens is not None and self.n_tokens < 1:
            raise EditError(f"n_tokens must be 1 at least, or None for as many as the true object has; {self.n_tokens}")

    @property
    def name(self) -> str:
        """`"tracing reversal"`."""
        return "tracing reversal"

    def request(
        self,
        model: Model,
        fact: Fact,
        target_new: str | None = None,  # noqa: ARG002
        *,
        prepend_bos: bool | None = None,
    ) -> EditRequest:
        """The request for the likeliest continuation, token by token, of the prompt with noised subject.

        Raises:
            EditError: it is the true object, or begins with it, or is no text that the tokenizer reads back.
        """
        surface = as_surface(model)
        true = answer_tokens(surface, fact.prompt, fact.target, prepend_bos)
        found = continued(surface, fact, self.n_tokens or len(true), self._noised, prepend_bos)
        text = surface.tokenizer.decode(list(found)).strip()
        shorter = min(len(found), len(true))
        advice = f"Give another seed or more noise than {self.noise:g}, or leave this fact out."
        if found[:shorter] == true[:shorter] or text == fact.target:
            raise EditError(f"with its subject noised the model still says {text!r}, the truth, after {fact}. {advice}")
        if not text or not reads_back(surface, fact, text, found, prepend_bos):
            raise EditError(
                f"with its subject noised the model continues {fact.prompt!r} with {text!r}, which is no target of its "
                f"own after the prompt (tokens {list(found)}). {advice}"
            )
        return fact.rewrite(text)


def editing_problems(noise: float, seed: int = 1) -> tuple[EditingProblem, ...]:
    """All five, with one noise."""
    reversal, forcing = TracingReversal(noise, seed), FactForcing(noise, seed)
    return ErrorInjection(), reversal, FactErasure(), FactAmplification(), forcing
