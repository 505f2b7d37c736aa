"""Editing in sequence on the atlas: what each editor leaves of the model, and of its own earlier edits.

    python benchmarks/atlas_sequence.py                              # 500 edits each; minutes an editor
    python benchmarks/atlas_sequence.py --editors ROME,R-ROME --edits 100 --out .

Prints a table a run, and with `--out` writes the picture of docs/editors.md (sequence.png) and a JSON report a run. The
same seeded records for all editors, one request a fact. ROME and R-ROME write one edit at a time, the others ten. For
speed the value is searched for in 20 steps and with five context prefixes, for all editors alike; layers, weights and
the threshold are those at the top of this file.
"""

import argparse
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lens_rome as lr
from lens_rome.editing import EMMET, MEMIT, AlphaEdit
from lens_rome.plotting import plot_sequence, save_figure
from lens_rome.studies import SequenceReport, sequence

LAYERS = (1, 2, 3)
VALUE = lr.ValueSettings(steps=20, stop_loss=0.05)
SPREAD = replace(VALUE, clamp=4.0)
LENGTHS = ((5, 2), (10, 3))


def one_by_one(name: str) -> Callable[[], Any]:
    """The preset's editor with the short search and few contexts."""
    return lambda: replace(lr.preset(name, "atlas"), value=VALUE, context_lengths=LENGTHS)


@dataclass(frozen=True)
class Way:
    """An editor and how it is used."""

    editor: Callable[[], Any]
    batch: int = 10
    protect: bool = False


WAYS = {
    "ROME": Way(one_by_one("ROME"), batch=1),
    "R-ROME": Way(one_by_one("R-ROME"), batch=1),
    "MEMIT": Way(lambda: MEMIT(LAYERS, value=SPREAD, weight=20.0)),
    "MEMIT with memory": Way(lambda: MEMIT(LAYERS, value=SPREAD, weight=20.0), protect=True),
    "EMMET": Way(lambda: EMMET(LAYERS, value=SPREAD)),
    "AlphaEdit with memory": Way(lambda: AlphaEdit(LAYERS, value=SPREAD, threshold=0.05, penalty=1.0), protect=True),
}


def sample(world: Any, edits: int, others: int, seed: int) -> tuple[list[lr.EvalRecord], list[lr.EvalRecord]]:
    """Records to edit and records to leave, at random; a record a fact."""
    chosen = random.Random(seed).sample(world.records, edits + others)
    return chosen[:edits], chosen[edits:]


def held_out(world: Any, texts: int = 8) -> list[str]:
    """Texts that the moments were not made from (theirs have seed 0), cut to fit the context."""
    return [" ".join(text.split()[:40]) for text in world.corpus(seed=1, texts=texts)]


def run(name: str, model: Any, world: Any, options: argparse.Namespace) -> SequenceReport:
    """One editor's run."""
    way, (records, others) = WAYS[name], sample(world, options.edits, options.others, options.seed)
    texts = held_out(world)
    prompts = [world.generation_prompts(record.request.subject)[0] for record in others[:8]]
    return sequence(
        model,
        records,
        way.editor(),
        moments=world.moments,
        batch=way.batch,
        protect=way.protect,
        every=options.every,
        others=others,
        texts=texts,
        prompts=prompts,
        seed=options.seed,
        label=name,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=500)
    parser.add_argument("--every", type=int, default=25)
    parser.add_argument("--others", type=int, default=20, help="records that are not edited, for the neighbourhood")
    parser.add_argument("--editors", default=",".join(WAYS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder for sequence.png and the reports")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.edits, options.every, options.others, options.editors = 2, 1, 2, "ROME,MEMIT with memory"
    model, world = lr.load_atlas()
    reports = []
    for name in options.editors.split(","):
        begin = time.perf_counter()
        reports.append(run(name, model, world, options))
        print(f"{reports[-1]}\n{time.perf_counter() - begin:.0f} s\n", flush=True)
        if options.out:
            reports[-1].save(options.out / f"sequence_{name.lower().replace(' ', '_')}.json")
    figure = plot_sequence(reports, title=f"{options.edits} facts of the atlas")
    if options.out:
        print(save_figure(figure, options.out / "sequence.png"))


if __name__ == "__main__":
    main()
