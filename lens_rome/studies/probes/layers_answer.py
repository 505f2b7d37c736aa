"""The answer of `layers`, read off the reports of all layers and tokens."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lens_rome.evaluation import METRICS, EvalReport, compare
from lens_rome.evaluation.summary import Score
from lens_rome.studies.probes.finding import Answer

Key = tuple[int, str]
"""A layer and a token."""
_ALIKE = 1e-9
"""Means that differ by less are of layers that do equally well."""


def answer_of(reports: Mapping[Key, EvalReport], by: str, seed: int) -> Answer:
    """The best layer and token against the last layer of that token at which every record was edited.

    Layers and tokens at which no record was edited are scores of the unedited model: neither best nor last.
    """
    return _Sweep(reports, by, seed).answer()


@dataclass(frozen=True, eq=False)
class _Sweep:
    reports: Mapping[Key, EvalReport]
    by: str
    seed: int

    def answer(self) -> Answer:
        told = f"{self.by} at the best layer minus {self.by} at the last"
        scores = {key: report.score(self.by, seed=self.seed) for key, report in self.reports.items()}
        edited = [key for key in scores if self._refused(key) < len(self.reports[key].cases)]
        known = {key: scores[key] for key in edited if scores[key].n and not math.isnan(scores[key].mean)}
        if not known:
            return Answer(told, math.nan, math.nan, math.nan, 0, f"No record has what {self.by} needs.")
        sign = -1 if METRICS[self.by].lower_is_better else 1
        highest = max(sign * score.mean for score in known.values())
        alike = [key for key, score in known.items() if highest - sign * score.mean <= _ALIKE]
        token = alike[0][1]
        best = sorted(layer for layer, name in alike if name == token)
        where = f"{_layers(best)}{' alike' * (len(best) > 1)}"
        reading = f"Edits do best at {where}, at the token `{token}`: {self.by} {known[alike[0]].mean:.3f}"
        others = {key: score for key, score in known.items() if key[1] != token}
        ends = [self._second(others, sign), self._unedited(token)]
        return self._against_last(told, best, token, reading, known, [end for end in ends if end])

    def _against_last(
        self, told: str, best: Sequence[int], token: str, reading: str, known: Mapping[Key, Score], ends: Sequence[str]
    ) -> Answer:
        n, nan = known[best[0], token].n, math.nan
        asked = [layer for layer, name in known if name == token]
        whole = [layer for layer in asked if not self._refused((layer, token))]
        tail = "".join(f" {end}" for end in ends)
        if not whole:
            why = "there is no layer at this token at which every record was edited, to compare it with"
            return Answer(told, nan, nan, nan, n, f"{reading}; {why}.{tail}")
        last = max(whole)
        if len(asked) == 1:
            why = "the only layer asked" if len(self._layers_at(token)) == 1 else "the only layer with edits"
            return Answer(told, nan, nan, nan, n, f"{reading}, {why}.{tail}")
        if last in best:
            which = "it is" if len(best) == 1 else f"of these {last} is"
            return Answer(told, 0.0, nan, nan, n, f"{reading}; {which} the last with edits of all.{tail}")
        pair = (self.reports[best[0], token], self.reports[last, token])
        found = compare(*pair, seed=self.seed).differences[self.by].difference
        reading += f", against {known[last, token].mean:.3f} at layer {last}."
        reading += f"{tail} The best was chosen on these records."
        return Answer(told, found.mean, *found.interval, found.n, reading)

    def _second(self, others: Mapping[Key, Score], sign: int) -> str:
        if not others:
            return ""
        layer, name = max(others, key=lambda key: sign * others[key].mean)
        return f"At the next best token, `{name}`, layer {layer} has {others[layer, name].mean:.3f}."

    def _unedited(self, token: str) -> str:
        """Which layers make no edit at the token, or not of all records."""
        counts = {layer: self._refused((layer, token)) for layer in self._layers_at(token)}
        n = {layer: len(self.reports[layer, token].cases) for layer in counts}
        none = sorted(layer for layer, count in counts.items() if count == n[layer])
        told = [f"{_layers(none).capitalize()} make{'s' * (len(none) == 1)} no edit at this token."] if none else []
        told += [
            f"Layer {layer} makes no edit of {count} of {n[layer]} records at this token."
            for layer, count in sorted(counts.items())
            if 0 < count < n[layer]
        ]
        return " ".join(told)

    def _layers_at(self, token: str) -> list[int]:
        return [layer for layer, name in self.reports if name == token]

    def _refused(self, key: Key) -> int:
        """Records that the editor refused there."""
        return sum(bool(case.refused) for case in self.reports[key].cases)


def _layers(layers: Sequence[int]) -> str:
    """`layer 3`, or `layers 0, 1 and 2`."""
    if len(layers) == 1:
        return f"layer {layers[0]}"
    return f"layers {', '.join(map(str, layers[:-1]))} and {layers[-1]}"
