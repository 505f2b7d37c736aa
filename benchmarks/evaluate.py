"""Scores of edited models against the straightforward way, on one model in one run.

    python benchmarks/evaluate.py            # the atlas and GPT-2 small's shape with random weights
    python benchmarks/evaluate.py --quick

The straightforward way does record by record what the released code of ROME does: all prompts with either object as
rows of a whole forward with all logits, before the edit, then again with the edit in the weights, which are restored
from a copy. Both score the same prompts (rewrite, paraphrases, neighbours) of the same edits: random rank-one changes
of one layer, for it does not matter to the time what an edit says. A second figure is against the straightforward way
with the attribute prompts, which the released code runs too though no figure is made of them.
"""

import argparse
import math
import random
import time

import torch
from _machine import random_gpt2

import lens_rome as lr
from lens_rome.editing import Edit, LowRankDelta
from lens_rome.evaluation.questions import ASKED_GROUPS, asked_prompts
from lens_rome.facts import answer_tokens
from lens_rome.surface import as_surface, pad_right
from lens_rome.surface.load import HookedTransformer

GROUPS = (*ASKED_GROUPS, "attribute")
SHAPES = {"small": (12, 768, 12, 50257), "medium": (24, 1024, 16, 50257)}


@torch.no_grad()
def straightforward(model, records, edits, attributes: bool = False) -> list[float]:
    """Mean nats a token of every prompt and object, before and after each edit."""
    surface, found = as_surface(model), []
    for record in records:
        ((place, delta),) = edits[record.case_id].deltas.items()
        weight = surface.parameter(*place)
        saved = weight.detach().clone()
        found += all_rows(surface, record, attributes)
        weight += delta.left.to(weight) @ delta.right.to(weight)
        found += all_rows(surface, record, attributes)
        weight.copy_(saved)
    return found


def all_rows(surface, record, attributes: bool) -> list[float]:
    """Every prompt with each object, one row each, in one forward."""
    asked = [
        question
        for prompt in asked_prompts(record, True, GROUPS if attributes else ASKED_GROUPS)
        for question in prompt.questions
    ]
    targets = [answer_tokens(surface, question.prompt, question.target) for question in asked]
    prompts = [surface.encode(question.prompt).ids for question in asked]
    logits = surface.run(pad_right([[*p, *t] for p, t in zip(prompts, targets, strict=True)])[0])
    told = []
    for row, prompt, target in zip(logits, prompts, targets, strict=True):
        each = [row[len(prompt) + j - 1].log_softmax(-1)[token].item() for j, token in enumerate(target)]
        told.append(-sum(each) / len(each))
    return told


def random_edits(model, records, layer: int) -> dict[int, Edit]:
    """A small change of rank one for each record."""
    surface, generator = as_surface(model), torch.Generator().manual_seed(0)
    shape = surface.weight(layer).shape
    edits = {}
    for record in records:
        left, right = (torch.randn(n, generator=generator) * 0.05 for n in shape)
        edits[record.case_id] = Edit.made_for(
            surface, {(layer, "W_out"): LowRankDelta(left[:, None], right[None])}, {"model": surface.model_name}
        )
    return edits


def compare(model, records, few: int, layer: int, title: str) -> None:
    """The straightforward way scores `few` records, half before ours and half after: machines have moods."""
    edits = random_edits(model, records, layer)
    lr.evaluate(model, records[:2], edits, before=True)
    straightforward(model, records[:1], edits)
    half = max(few // 2, 1)
    first, found = timed(lambda: straightforward(model, records[:half], edits))
    ours, report = timed(lambda: lr.evaluate(model, records, edits, before=True))
    second, more = timed(lambda: straightforward(model, records[half : 2 * half], edits))
    released, _ = timed(lambda: straightforward(model, records[:half], edits, attributes=True))
    plain, released, ours = 2 * half / (first + second), half / released, len(records) / ours
    error = largest_difference(report, records[: 2 * half], found + more)
    print(
        f"{title:20s} {as_surface(model).name:6s} layer {layer:2d}: straightforward {plain:6.2f} records a second, "
        f"ours {ours:6.2f}, {ours / plain:4.1f} times faster ({ours / released:4.1f} with attribute prompts there); "
        f"largest difference {error:.0e} nats",
        flush=True,
    )


def timed(run):
    begin = time.perf_counter()
    found = run()
    return time.perf_counter() - begin, found


def largest_difference(report, records, expected) -> float:
    """Of the nats a token, over the first records."""
    scores, found = iter(report.scores), []
    for record in records:
        own = [next(scores) for _ in asked_prompts(record, True)]
        found += [each.nll for score in own for each in (score.before_new, score.before_true)]
        found += [each.nll for score in own for each in (score.new, score.true)]
    return max((abs(one - other) for one, other in zip(found, expected, strict=True)), default=math.nan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--shapes", default="atlas,small", help=f"any of atlas, {', '.join(SHAPES)}")
    parser.add_argument("--records", type=int, default=128, help="as many for the atlas; a quarter for other shapes")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    surfaces = ["bridge"] if HookedTransformer is None else ["hooked", "bridge"]
    count = 4 if options.quick else options.records
    for surface in surfaces:
        model, world = lr.load_atlas(surface)
        records = random.Random(0).sample(world.records, count)
        if "atlas" in options.shapes:
            compare(model, records, max(count // 4, 1), lr.preset("ROME", "atlas").layer, "atlas")
        for name, shape in {"tiny": (4, 64, 4, 2048)}.items() if options.quick else SHAPES.items():
            if options.quick or name in options.shapes:
                model = random_gpt2(*shape, surface, options.device)
                few = max(count // 16, 1)
                compare(model, records[: max(count // 4, 1)], few, shape[0] // 3, f"GPT-2 {name}'s shape")


if __name__ == "__main__":
    main()
