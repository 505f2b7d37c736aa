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
from dataclasses import replace

import torch
from _machine import random_gpt2
from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache as KeyValueCache
from transformers import DynamicCache

import lens_rome as lr
from lens_rome.editing import Edit, LowRankDelta
from lens_rome.evaluation import TextSettings
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


@torch.no_grad()
def straightforward_with_texts(model, records, edits, length: int) -> None:
    """The same, and before and after each edit the record's texts, in one batch with a cache of keys and values."""
    surface = as_surface(model)
    for record in records:
        ((place, delta),) = edits[record.case_id].deltas.items()
        weight = surface.parameter(*place)
        saved = weight.detach().clone()
        for change in (0, 1):
            weight += change * (delta.left.to(weight) @ delta.right.to(weight))
            all_rows(surface, record, attributes=False)
            write_texts(surface, record.generation_prompts, length)
        weight.copy_(saved)


def write_texts(surface, prompts, length: int, top_k: int = 5) -> list[str]:
    """Texts of one record, token by token from the shortest prompt's end on."""
    starts = [surface.encode(prompt).ids for prompt in prompts]
    tokens, given = (
        pad_right([[*start, *[0] * (length + 1 - len(start))] for start in starts])[0],
        min(map(len, starts)),
    )
    cache, seen = own_cache(surface, len(starts)), 0
    for place in range(given, length + 1):
        best = surface.grow(cache, tokens[:, seen:place]).topk(top_k)
        drawn = best.indices.gather(-1, torch.multinomial(best.values.softmax(-1), 1))[:, 0].cpu()
        writing = torch.tensor([len(start) <= place for start in starts])
        tokens[:, place] = torch.where(writing, drawn, tokens[:, place])
        seen = place
    return [surface.tokenizer.decode(row[1:]) for row in tokens]


def own_cache(surface, rows: int):
    """The library's, which is copied for every token."""
    return DynamicCache() if surface.name == "bridge" else KeyValueCache.init_cache(surface.cfg, surface.device, rows)


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


def compare_texts(model, records, few: int, layer: int, title: str, length: int) -> None:
    """As `compare`, every record with ten texts before its edit and ten after."""
    records = [replace(record, generation_prompts=(record.generation_prompts * 10)[:10]) for record in records]
    edits = random_edits(model, records, layer)
    first, _ = timed(lambda: straightforward_with_texts(model, records[:few], edits, length))
    ours, _ = timed(lambda: lr.evaluate(model, records, edits, before=True, texts=TextSettings(length)))
    second, _ = timed(lambda: straightforward_with_texts(model, records[few : 2 * few], edits, length))
    plain, ours = 2 * few / (first + second), len(records) / ours
    print(
        f"{title:20s} {as_surface(model).name:6s} layer {layer:2d}, with texts: straightforward {plain:6.3f} records a "
        f"second, ours {ours:6.3f}, {ours / plain:4.1f} times faster",
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
    parser.add_argument(
        "--records", type=int, default=512, help="as many for the atlas; a sixteenth for other shapes and with texts"
    )
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    surfaces = ["bridge"] if HookedTransformer is None else ["hooked", "bridge"]
    count, length = (4, 30) if options.quick else (options.records, 100)
    for surface in surfaces:
        model, world = lr.load_atlas(surface)
        records = random.Random(0).sample(world.records, count)
        if "atlas" in options.shapes:
            layer = lr.preset("ROME", "atlas").layer
            compare(model, records, max(count // 16, 1), layer, "atlas")
            compare_texts(model, records[: max(count // 16, 2)], max(count // 256, 1), layer, "atlas", length)
        for name, shape in {"tiny": (4, 64, 4, 2048)}.items() if options.quick else SHAPES.items():
            if options.quick or name in options.shapes:
                model = random_gpt2(*shape, surface, options.device)
                few = max(count // 64, 1)
                compare(model, records[: max(count // 16, 1)], few, shape[0] // 3, f"GPT-2 {name}'s shape")


if __name__ == "__main__":
    main()
