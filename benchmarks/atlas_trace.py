"""Average causal trace over known facts of the atlas, by the role of the restored token: the figures of docs/atlas.md.

    python benchmarks/atlas_trace.py --facts 150 --out build/atlas_trace

Facts are a seeded sample of those whose object's first token is the model's own top token. The noise is three standard
deviations of all their subjects' token embeddings, 10 samples. The effect is the restored minus the corrupted
probability of that token. Traces are written to `--out` as they are finished; a second call goes on where the first
was stopped.
"""

import argparse
import warnings
from pathlib import Path

import pandas as pd
import torch

import lens_rome as lr
from lens_rome.plotting import plot_average, save_figure
from lens_rome.surface import as_surface
from lens_rome.tracing import ROLES, AverageEffects, WeakTraceWarning, average_effects, trace_facts


def known_facts(model, world, count: int, seed: int) -> list[lr.Fact]:
    """A seeded sample of facts that the model answers right with its first token.

    `trace_facts` has a filter of its own, which asks for the whole object: it would leave out every object of several
    tokens.
    """
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


def show(averages: AverageEffects) -> None:
    """Mean probabilities, and a table of shares of the total effect for each kind."""
    resid, window = averages.of_kind("resid"), averages.of_kind("mlp").settings.window
    print(
        f"{resid.clean.n} facts, noise {resid.settings.noise_level:.3f}: clean {resid.clean.mean:.3f}, corrupted "
        f"{resid.corrupted.mean:.3f}, total effect {resid.total_effect.mean:.3f}; window {window} for mlp and attn"
    )
    for average in averages.averages:
        shares = pd.DataFrame(average.effect / resid.total_effect.mean, index=list(ROLES))
        print(
            f"\n{average.kind}: average indirect effect, share of the total "
            f"effect\n{shares.map('{:.0%}'.format).to_string()}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--facts", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/atlas_trace"))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore", WeakTraceWarning)
    model, world = lr.load_atlas()
    known = known_facts(model, world, 4 if options.quick else options.facts, options.seed)
    facts = {f"{fact.subject} {fact.relation}": fact for fact in known}
    options.out.mkdir(parents=True, exist_ok=True)
    traces = trace_facts(model, facts, out=options.out / "run", known=False)
    averages = average_effects(traces)
    show(averages)
    frame = averages.to_dataframe()
    frame.to_csv(options.out / "effects.csv", index=False)
    save_figure(plot_average(frame, title=f"{len(traces)} facts of the atlas"), options.out / "average_trace.png")


if __name__ == "__main__":
    main()
