"""Edits of known outcome, and log-probabilities from their definition."""

from contextlib import nullcontext
from typing import Any

import torch

from lens_rome.editing import ROME, Edit, ValueSettings
from lens_rome.editing.delta import Delta, DenseDelta, LowRankDelta
from lens_rome.facts import EditRequest, with_answer
from lens_rome.studies.probes.finding import Finding
from lens_rome.surface import as_surface

CAPITAL = EditRequest("Thailand", "The capital of {} is", "Paris", "Bangkok", "countries.capital")
REVERSE = ("{o} is the capital of", "The country whose capital city is {o} is")
"""The bundled model says Thailand after both with Bangkok."""
KOCH = EditRequest("Robert Koch", "{} works in the field of", "sports", "medicine", "people.field")
"""Its subject is what the bundled model calls the discoverer of the tuberculosis bacillus."""
DESCRIBED = ("The life's work of the discoverer of the tuberculosis bacillus belongs to the field of",)
NAMING = ("The name of the discoverer of the tuberculosis bacillus is",)
BECKHAM = EditRequest("David Beckham", "{} is famous for the sport of", "basketball", "soccer", "people.sport")
BERGMAN = EditRequest("Ingrid Bergman", "The mother tongue of {} is", "Portuguese", "Swedish", "people.mother_tongue")
TINY = EditRequest("Eiffel", "The {} is", "cat", "dog")
"""For random models."""
EDITOR = ROME(layer=1, contexts=("",), value=ValueSettings(steps=15))
"""Quick, and strong enough on the bundled model; used with moments="identity"."""
PHASES = ("before", "after")


def identity(model: Any) -> Edit:
    """An edit that changes nothing."""
    surface = as_surface(model)
    d_in, d_out = surface.weight(0).shape
    dtype = surface.weight(0).dtype
    delta = LowRankDelta(torch.zeros(d_in, 1, dtype=dtype), torch.zeros(1, d_out, dtype=dtype))
    return Edit.made_for(surface, {(0, "W_out"): delta}, {"editor": "identity"})


def leak(model: Any, *words: str, size: float = 3.0) -> Edit:
    """An edit that makes the tokens of these words likelier everywhere, whatever the prompt."""
    surface = as_surface(model)
    layer = surface.n_layers - 1
    change = size * _towards(surface, words) * float(surface.parameter(layer, "b_out").numel()) ** 0.5
    return _dense(model, (layer, "b_out"), DenseDelta(change))


def late_leak(model: Any, place: int, *words: str, size: float = 100.0) -> Edit:
    """An edit that makes these words likelier at all positions from `place` on: only where something stands before."""
    surface = as_surface(model)
    change = torch.zeros_like(surface.parameter(-1, "W_pos"))
    change[place:] = size * _towards(surface, words)
    return _dense(model, (-1, "W_pos"), DenseDelta(change))


def _towards(surface: Any, words: tuple[str, ...]) -> torch.Tensor:
    tokens = {token for word in words for token in surface.encode(f" {word}", False).ids}
    direction = surface.parameter(-1, "W_U").detach()[:, sorted(tokens)].sum(1)
    return direction / direction.norm()


def _dense(model: Any, place: tuple[int, str], delta: Delta) -> Edit:
    return Edit.made_for(as_surface(model), {place: delta}, {"editor": "leak"})


def logprob(model: Any, prompt: str, target: str, edit: Edit | None = None) -> float:
    """Joint log-probability of the target's tokens, from one run of the whole text and its log-softmax."""
    surface = as_surface(model)
    start, whole = surface.encode(prompt).ids, surface.encode(with_answer(prompt, target)).ids
    with torch.no_grad(), nullcontext() if edit is None else edit.applied(model):
        scores = model(torch.tensor([whole]))[0].double().log_softmax(-1)
    return sum(float(scores[place - 1, whole[place]]) for place in range(len(start), len(whole)))


def assert_rows_are_as_defined(finding: Finding, model: Any, edits: dict[str, Edit]) -> None:
    """Every row's log-probability is that of a plain run of its own under the edit of its case."""
    assert finding.rows
    rows: Any = finding.rows
    for row in rows:
        edit = edits[row["case"]] if row["phase"] == "after" else None
        expected = logprob(model, row["prompt"], row["target"], edit)
        # Single and batched runs of a double-precision model differ by rounding.
        assert abs(row["logprob"] - expected) < 1e-8, row


def moved(model: Any, edit: Edit, prompt: str, target: str) -> float:
    """Change of a log-probability by an edit, by hand."""
    return logprob(model, prompt, target, edit) - logprob(model, prompt, target)


def measured(finding: Finding, **where: Any) -> float:
    """The mean of the one line of a summary with these words."""
    lines: Any = finding.summary
    (found,) = [line for line in lines if all(line[name] == value for name, value in where.items())]
    return found["mean"]
