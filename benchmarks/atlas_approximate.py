"""How far the first-order estimate of a trace can be trusted: against the exact grid, over known facts of the atlas.

    python benchmarks/atlas_approximate.py --facts 30

The table of docs/quick_look.md. Facts are a seeded sample of those whose object is the model's own top token; noise of
three standard deviations of each subject's embeddings, 10 samples; prompts from the subject on, all layers. For each
fact the cells of the estimated and of the exact indirect effects are correlated, and the median over facts is printed,
with how often the exact best cell is the estimate's best or among its best five, and the estimate's size: the slope of
a line through 0 from exact to estimated effects (1 where sizes agree). The correlation of all facts' cells together
comes last.
"""

import argparse
import time
import warnings

import pandas as pd
import torch
from atlas_trace import known_facts

import lens_rome as lr
from lens_rome.tracing import TraceResult, WeakTraceWarning, approximate_kinds, trace_kinds

KINDS = ("resid", "mlp", "attn")
METRICS = ("prob", "logprob", "logit_diff")


def other_answer(model, world, fact: lr.Fact) -> str:
    """An object of the same relation whose first token is another one."""
    surface = lr.surface.as_surface(model)
    first = lr.facts.answer_tokens(surface, fact.prompt, fact.target)[0]
    for other in world.facts:
        if other.relation == fact.relation and other.target != fact.target:
            ids = lr.facts.answer_tokens(surface, fact.prompt, other.target)
            if ids[0] != first:
                return other.target
    raise ValueError(f"{fact} has no other answer")


def cells(result: TraceResult) -> torch.Tensor:
    """Indirect effects from the subject on, in one row."""
    return result.indirect_effects[:, result.subject_span[0] :].flatten()


def compared(fact: lr.Fact, metric: str, found: TraceResult, exact: TraceResult) -> dict[str, object]:
    """One row of the long table."""
    estimate, truth = cells(found), cells(exact)
    ranks = [pd.Series(each.numpy()).rank() for each in (estimate, truth)]
    best = int(truth.argmax())
    return {
        "fact": fact.prompt,
        "kind": exact.settings.kind,
        "metric": metric,
        "pearson": float(torch.corrcoef(torch.stack([estimate, truth]))[0, 1]),
        "spearman": float(ranks[0].corr(ranks[1])),
        "size": float((estimate @ truth) / (truth @ truth)),
        "best": best == int(estimate.argmax()),
        "best_in_5": best in estimate.topk(5).indices.tolist(),
        "estimate": estimate.tolist(),
        "exact": truth.tolist(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--facts", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore", WeakTraceWarning)
    model, world = lr.load_atlas()
    rows, took = [], {"estimate": 0.0, "exact": 0.0}
    facts = known_facts(model, world, 2 if options.quick else options.facts, options.seed)
    for fact in facts:
        for metric in METRICS:
            extra = {"against": other_answer(model, world, fact)} if metric == "logit_diff" else {}
            results = {}
            for name, run in (("estimate", approximate_kinds), ("exact", trace_kinds)):
                begin = time.perf_counter()
                results[name] = run(model, fact, KINDS, metric=metric, **extra)
                took[name] += time.perf_counter() - begin
            rows += [compared(fact, metric, results["estimate"][kind], results["exact"][kind]) for kind in KINDS]
    frame = pd.DataFrame(rows)
    grouped = frame.groupby(["metric", "kind"], sort=False)
    table = grouped[["pearson", "spearman", "size"]].median().join(grouped[["best", "best_in_5"]].mean())
    together = frame.explode(["estimate", "exact"]).astype({"estimate": float, "exact": float})
    table["pearson_together"] = [
        group["estimate"].corr(group["exact"]) for _, group in together.groupby(["metric", "kind"], sort=False)
    ]
    print(f"{len(facts)} facts; seconds for all: estimate {took['estimate']:.1f}, exact {took['exact']:.1f}")
    print(table.round(2).to_string())


if __name__ == "__main__":
    main()
