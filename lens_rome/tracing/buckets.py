"""The tokens of one role in many traces, and their mean effect."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from lens_rome.errors import TraceError
from lens_rome.tracing.result import TraceResult
from lens_rome.tracing.roles import check_role, token_roles

WEIGHTINGS = ("token", "released")


@dataclass(frozen=True, eq=False)
class Bucket:
    """All tokens of one role, of all facts; float64."""

    scores: Float[np.ndarray, "token layer"]
    """The metric after restoring; NaN where a cell was not traced."""
    facts: Int[np.ndarray, " token"]
    """Number of the fact that the token belongs to."""
    baselines: Float[np.ndarray, " fact"]
    """The metric of each fact's run before restoring, also of facts without a token of this role."""

    @classmethod
    def of(cls, results: Sequence[TraceResult], role: str) -> "Bucket":
        """The tokens of `role` in traces of models with the same number of layers."""
        check_role(role)
        n_layers = results[0].scores.shape[0]
        rows, facts = [np.empty((0, n_layers))], [np.empty(0, dtype=np.int64)]
        for fact, result in enumerate(results):
            positions = _counted(result, token_roles(result.subject_span, len(result.tokens))[role])
            rows.append(result.scores[:, positions].double().cpu().numpy().T)
            facts.append(np.full(len(positions), fact, dtype=np.int64))
        return cls(np.concatenate(rows), np.concatenate(facts), np.array([result.baseline for result in results]))

    @property
    def effects(self) -> Float[np.ndarray, "token layer"]:
        """Each token's own indirect effect: its score minus the baseline of its own prompt."""
        return self.scores - self.baselines[self.facts][:, None]

    @property
    def n(self) -> Int[np.ndarray, " layer"]:
        """Traced tokens in each layer."""
        return (~np.isnan(self.scores)).sum(0)

    @property
    def n_facts(self) -> Int[np.ndarray, " layer"]:
        """Facts with at least one traced token in each layer."""
        return (self._by_fact(~np.isnan(self.scores)) > 0).sum(0)

    def means(
        self, weights: Float[np.ndarray, "draw fact"], weighting: str = "token"
    ) -> Float[np.ndarray, "draw layer"]:
        """Mean effect with each fact counted `weights` times; NaN where nothing is left to average.

        Args:
            weights: ones for the mean itself, the rows of `draw_facts` for its bootstrap.
            weighting: see `average_effects`.
        """
        check_weighting(weighting)
        values = self.effects if weighting == "token" else self.scores
        count = self._by_fact(~np.isnan(values))
        with np.errstate(invalid="ignore", divide="ignore"):  # a draw without any token of this role is NaN
            means = (weights @ self._by_fact(np.where(np.isnan(values), 0, values))) / (weights @ count)
        if weighting == "released":
            means -= (weights @ self.baselines / weights.sum(1))[:, None]
        return means

    def mean(self, weighting: str = "token") -> Float[np.ndarray, " layer"]:
        """Mean effect with each fact counted once."""
        return self.means(np.ones((1, len(self.baselines))), weighting)[0]

    def _by_fact(self, values: np.ndarray) -> Float[np.ndarray, "fact layer"]:
        """Sum over each fact's tokens."""
        sums = np.zeros((len(self.baselines), values.shape[1]))
        np.add.at(sums, self.facts, values)
        return sums


def _counted(result: TraceResult, positions: list[int]) -> list[int]:
    """The tokens of a role that count: of positions restored together one, for all hold the same joint score."""
    if not result.settings.together:
        return positions
    traced = ~result.scores.isnan().all(0)
    return [position for position in positions if traced[position]][:1]


def check_weighting(weighting: str) -> None:
    """`TraceError` for an unknown weighting."""
    if weighting not in WEIGHTINGS:
        raise TraceError(f"unknown weighting {weighting!r}; choose one of {', '.join(WEIGHTINGS)}.")
