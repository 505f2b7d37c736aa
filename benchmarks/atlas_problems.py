"""ROME, MEMIT and FT+L, by their presets, on Hase et al.'s five editing problems, on the atlas's own records.

    python benchmarks/atlas_problems.py --records 30

Records are a seeded sample of those whose true object's first token is the model's own top token and for which the
noised model says something else than the truth; for amplification, of those whose true object has a probability of
0.95 at most, since the atlas is certain of most facts and there is nothing to amplify. The noise is three standard
deviations of their subjects' token embeddings. Scores are means over records: rewrite and paraphrase (erasure form for
erasure) of the problem's target on the problem's input, neighbourhood of the false object without noise, and the mean
of the three. NaN scores (nothing to gain) are left out and counted.
"""

import argparse
import math
import random
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

import lens_rome as lr
from lens_rome.editing import (
    EditingProblem,
    ErrorInjection,
    FactAmplification,
    TracingReversal,
    editing_problems,
    neighborhood_score,
)
from lens_rome.errors import EditError
from lens_rome.surface import as_surface
from lens_rome.tracing import subject_deviation


@dataclass(frozen=True)
class Questions:
    """What is asked about one record under one problem; the first is the edit's own request."""

    own: tuple[lr.EditRequest, ...]
    neighbors: tuple[lr.EditRequest, ...]

    @classmethod
    def of(cls, model: Any, problem: EditingProblem, record: lr.EvalRecord) -> "Questions":
        asked = record.request
        fact = lr.Fact(asked.subject, asked.template, asked.target_true, asked.relation)
        request = problem.request(model, fact, asked.target_new)
        others = [
            lr.Fact.from_prompt(prompt, request.subject, request.target_new) for prompt in record.paraphrase_prompts
        ]
        own = (request, *(lr.EditRequest(each.subject, each.template, each.target) for each in others))
        return cls(own, tuple(lr.EditRequest(prompt, "{}", asked.target_new) for prompt in record.neighborhood_prompts))

    def probabilities(self, model: Any, problem: EditingProblem) -> tuple[list[float], list[float]]:
        """Of the problem's own prompts, and of the false object after the neighbours'."""
        return problem.probabilities(model, self.own), ErrorInjection().probabilities(model, self.neighbors)


def usable_records(
    model: Any, world: Any, count: int, seed: int, noise: float, most: float = 1.0
) -> list[lr.EvalRecord]:
    """A seeded sample of known facts that can be reversed; the truth's probability is at most `most`."""
    surface, truth, found = as_surface(model), FactAmplification(), []
    for record in random.Random(seed).sample(world.records, len(world.records)):
        asked = record.request
        (true, *_) = lr.facts.answer_tokens(surface, asked.prompt, asked.target_true)
        with torch.no_grad():
            logits = surface.run(torch.tensor([surface.encode(asked.prompt).ids]))
        if int(logits[0, -1].argmax()) != true:
            continue
        if most < 1 and truth.probabilities(model, Questions.of(model, truth, record).own[:1])[0] > most:
            continue
        try:
            Questions.of(model, TracingReversal(noise), record)
        except EditError:
            continue
        found.append(record)
        if len(found) == count:
            break
    return found


def scores(problem: EditingProblem, before: Sequence[Any], after: Sequence[Any]) -> list[float]:
    """Rewrite, paraphrase and neighbourhood of one record."""
    gains = [problem.score(*pair) for pair in zip(before[0], after[0], strict=True)]
    kept = [neighborhood_score(*pair) for pair in zip(before[1], after[1], strict=True)]
    return [gains[0], _mean(gains[1:]), _mean(kept)]


def _mean(values: Sequence[float]) -> float:
    told = [value for value in values if not math.isnan(value)]
    return sum(told) / len(told) if told else math.nan


def measure(model: Any, world: Any, problem: EditingProblem, editor: Any, records: Sequence[lr.EvalRecord]) -> str:
    """One line of the table."""
    questions = [Questions.of(model, problem, record) for record in records]
    start = time.perf_counter()
    edits = problem.adapt(editor).edit_each(model, [each.own[0] for each in questions], moments=world.moments)
    seconds = time.perf_counter() - start
    found = []
    for each, edit in zip(questions, edits, strict=True):
        before = each.probabilities(model, problem)
        with edit.applied(model):
            found.append(scores(problem, before, each.probabilities(model, problem)))
    columns = list(zip(*found, strict=True))
    means = [_mean(column) for column in columns]
    missing = sum(math.isnan(value) for column in columns for value in column)
    cells = " | ".join(f"{100 * value:.1f}" for value in [*means, _mean(means)])
    return f"| {problem.name} | {editor.name} | {cells} | {missing} | {seconds / len(records):.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--problems", default="", help="names by commas; default: all")
    parser.add_argument("--editors", default="ROME,MEMIT,FT+L")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore", lr.DisablingEditWarning)
    model, world = lr.load_atlas()
    noise = 3 * subject_deviation(as_surface(model), [record.request.subject for record in world.records])
    count = 1 if options.quick else options.records
    if options.quick:
        options.editors = "MEMIT"
    records = usable_records(model, world, count, options.seed, noise)
    unsure = usable_records(model, world, count, options.seed, noise, most=0.95)
    print(f"{len(records)} records, {len(unsure)} for amplification; noise {noise:.3f}\n")
    print("| problem | editor | rewrite | paraphrase | neighborhood | mean | NaN | s an edit |")
    print("|---|---|---|---|---|---|---|---|")
    for problem in editing_problems(noise):
        if not options.problems or problem.name in options.problems.split(","):
            for name in options.editors.split(","):
                sample = unsure if isinstance(problem, FactAmplification) else records
                print(measure(model, world, problem, lr.preset(name, "atlas"), sample), flush=True)


if __name__ == "__main__":
    main()
