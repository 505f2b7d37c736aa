"""Every editor on the atlas's own records: scores as the papers print them, seconds an edit
(by the clock), size of the change.

    python benchmarks/atlas_editors.py --learned FOLDER                 # 200 records; the table of docs/editors.md
    python benchmarks/atlas_editors.py --records 40 --editors MEMIT,FT

Records are a seeded sample of the evaluation split (no trained editor has seen their subjects). Each edit is made for
and scored on the unedited model. The change of an edit is its Frobenius norm over all parameters it touches, in per
cent of theirs. With `--learned` MEND and KE come from FOLDER; where it lacks one, it is trained first, as
`python -m lens_rome.atlas.learned` does (minutes).
"""

import argparse
import random
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import lens_rome as lr
from lens_rome.atlas import learned
from lens_rome.editing import TrainedKnowledgeEditor, TrainedMEND
from lens_rome.editing.presets import EDITORS

AS_CODED = "EMMET as coded (w 1000, ε 0.1)"
"""Published weight and ridge. For a single request the code adds no ridge, so this row should equal EMMET's."""
TRAINED = {"MEND": TrainedMEND, "KE": TrainedKnowledgeEditor}


def measured(model: Any, editor: Any, records: Sequence[lr.EvalRecord], moments: lr.SecondMoments) -> dict[str, Any]:
    """Scores of one editor; a record whose edit is refused counts as unedited, and is counted."""
    report = lr.evaluate(model, records, editor, moments=moments, refused="unedited")
    return {
        "report": report,
        "seconds": fmean(case.seconds or 0.0 for case in report.cases),
        "norm": 100 * fmean(case.change for case in report.cases if case.change is not None),
        "refused": sum(bool(case.refused) for case in report.cases),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200)
    parser.add_argument("--editors", help="presets by commas, and EMMET as coded; all by default")
    parser.add_argument("--learned", type=Path, metavar="FOLDER", help="add MEND and KE, from files there or trained")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="2 records, MEMIT and FT+L")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    model, world = lr.load_atlas()
    split = set(world.split("evaluation"))
    pool = [record for record in world.records if record.request.subject in split]
    records = random.Random(options.seed).sample(pool, 2 if options.quick else min(options.records, len(pool)))
    every = [*EDITORS, "EMMET as coded"] if options.editors is None else options.editors.split(",")
    editors = dict(map(chosen, filter(None, ["MEMIT", "FT+L"] if options.quick else every)))
    if options.learned:
        editors |= {name: trained(options.learned, name, model, world) for name in TRAINED}
    moments = world.moments
    print(f"{len(records)} of {len(pool)} records of the evaluation split\n")
    print("| editor | S | ES | PS | NS | seconds an edit | change of the weights |")
    print("|---|---|---|---|---|---|---|")
    print(f"| unedited | {cells(lr.evaluate(model, records))} | | |")
    for name, editor in editors.items():
        row = measured(model, editor, records, moments)
        note = f" ({row['refused']} refused)" if row["refused"] else ""
        print(f"| {name}{note} | {cells(row['report'])} | {row['seconds']:.2f} | {row['norm']:.1f} % |", flush=True)


def chosen(name: str) -> tuple[str, Any]:
    """The row's name and the editor."""
    if name == "EMMET as coded":
        return AS_CODED, replace(lr.preset("EMMET", "atlas"), weight=1000.0, ridge=0.1)
    return name, lr.preset(name, "atlas")


def trained(folder: Path, name: str, model: Any, world: Any) -> Any:
    """The trained editor of the folder; trained into it where there is none."""
    path = folder / f"{name}.safetensors"
    if path.is_file():
        return TRAINED[name].load(path)
    folder.mkdir(parents=True, exist_ok=True)
    return learned.train_into(path, world, model, learned.EDITORS[name])


def cells(report: lr.EvalReport) -> str:
    return f"{100 * report.overall:.1f} | {report.efficacy} | {report.paraphrase} | {report.neighborhood}"


if __name__ == "__main__":
    main()
