"""Average causal trace over known facts of the atlas, by the role of the restored token: the figures of docs/atlas.md.

    python benchmarks/atlas_trace.py --facts 150 --out build/atlas_trace

Facts are a seeded sample of those whose object is the model's own top token. The noise is three standard deviations
of all their subjects' token embeddings, 10 samples. The effect is the restored minus the corrupted probability of the
object's first token.
"""

import argparse
import warnings
from pathlib import Path

import pandas as pd
import torch

import lens_rome as lr
from lens_rome.plotting import plot_average, save_figure
from lens_rome.surface import as_surface
from lens_rome.tracing import TraceResult, WeakTraceWarning, subject_deviation

ROLES = ("first subject", "middle subject", "last subject", "first after", "further", "last")


def role_of(result: TraceResult, position: int) -> list[str]:
    """The roles of a position, as the paper buckets them; a position can have two (one-token subjects)."""
    first, after = result.subject_span
    last = len(result.tokens) - 1
    roles = []
    if position == first:
        roles.append("first subject")
    if first < position < after - 1:
        roles.append("middle subject")
    if position == after - 1:
        roles.append("last subject")
    if position == after:
        roles.append("first after")
    if after < position < last:
        roles.append("further")
    if position == last:
        roles.append("last")
    return roles


def known_facts(model, world, count: int, seed: int) -> list[lr.Fact]:
    """A seeded sample of facts that the model answers right with its first token."""
    surface, found = as_surface(model), []
    for fact in world.sample(len(world.facts), seed):
        answer = lr.facts.answer_tokens(surface, fact.prompt, fact.target)
        tokens = torch.tensor([surface.encode(fact.prompt).ids])
        with torch.no_grad():
            if int(surface.run(tokens)[0, -1].argmax()) == answer[0]:
                found.append(fact)
        if len(found) == count:
            break
    return found


def effects(results: list[TraceResult]) -> pd.DataFrame:
    """Mean indirect effect by kind, layer and role with its 95% interval (normal), one row each."""
    rows = []
    for result in results:
        for position in range(len(result.tokens)):
            for role in role_of(result, position):
                for layer, value in enumerate(result.indirect_effects[:, position].tolist()):
                    rows.append({"kind": result.settings.kind, "layer": layer, "role": role, "effect": value})
    grouped = (
        pd.DataFrame(rows).groupby(["kind", "layer", "role"])["effect"].agg(["mean", "sem", "count"]).reset_index()
    )
    half = 1.96 * grouped["sem"]
    return grouped.assign(effect=grouped["mean"], low=grouped["mean"] - half, high=grouped["mean"] + half)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--facts", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/atlas_trace"))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore", WeakTraceWarning)
    model, world = lr.load_atlas()
    facts = known_facts(model, world, 4 if options.quick else options.facts, options.seed)
    level = 3 * subject_deviation(as_surface(model), [fact.subject for fact in facts])
    results = [lr.trace(model, fact, kind, noise=level) for fact in facts for kind in ("resid", "mlp", "attn")]
    resid = [result for result in results if result.settings.kind == "resid"]
    clean = sum(result.clean_score for result in resid) / len(resid)
    total = sum(result.total_effect for result in resid) / len(resid)
    window = results[1].settings.window
    print(
        f"{len(facts)} facts, noise {level:.3f}: clean {clean:.3f}, corrupted {clean - total:.3f}, total effect "
        f"{total:.3f}; window {window} for mlp and attn"
    )
    frame = effects(results)
    for kind in ("resid", "mlp", "attn"):
        shares = frame[frame.kind == kind].pivot_table(index="role", columns="layer", values="effect") / total
        print(
            f"\n{kind}: average indirect effect, share of the total "
            f"effect\n{shares.reindex(ROLES).map('{:.0%}'.format).to_string()}"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    frame.to_csv(options.out / "effects.csv", index=False)
    save_figure(plot_average(frame), options.out / "average_trace.png")


if __name__ == "__main__":
    main()
