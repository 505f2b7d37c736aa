"""Every editor on the atlas's own records: scores as the papers print them, seconds of CPU
an edit, size of the change.

    python benchmarks/atlas_editors.py --learned FOLDER                 # 200 records; the table of docs/editors.md
    python benchmarks/atlas_editors.py --records 40 --editors MEMIT,FT

Records are a seeded sample of the evaluation split (no trained editor has seen their subjects). Each edit is made for
and scored on the unedited model. The change of an edit is its Frobenius norm over all parameters it touches, in per
cent of theirs. With `--learned` MEND and KE come from FOLDER; where it lacks one, it is trained first, as
`python -m lens_rome.atlas.learned` does (minutes).
"""

import argparse
import random
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import lens_rome as lr
from lens_rome.atlas import learned
from lens_rome.editing import TrainedKnowledgeEditor, TrainedMEND
from lens_rome.editing.presets import EDITORS
from lens_rome.errors import EditError

TOGETHER = 32
AS_CODED = "EMMET as coded (w 1000, ε 0.1)"
"""Published weight and ridge. For a single request the code adds no ridge, so this row should equal EMMET's."""
TRAINED = {"MEND": TrainedMEND, "KE": TrainedKnowledgeEditor}


def relative_norm(edit: lr.Edit) -> float:
    """Size of the whole change in per cent of the parameters that it touches."""
    changes = sum(norm**2 for norm, _ in edit.norms().values())
    weights = sum(base.norm**2 for base in edit.bases.values())
    return 100 * (changes / weights) ** 0.5


def measured(model: Any, editor: Any, records: Sequence[lr.EvalRecord], moments: lr.SecondMoments) -> dict[str, Any]:
    """Scores of one editor; a record whose edit is refused counts as unedited, and is counted."""
    edits: dict[int, lr.Edit] = {}
    refused, spent = 0, 0.0
    for start in range(0, len(records), TOGETHER):
        some = records[start : start + TOGETHER]
        begun = time.process_time()
        made = list(attempts(model, editor, some, moments))
        spent += time.process_time() - begun
        refused += made.count(None)
        edits |= {record.case_id: edit for record, edit in zip(some, made, strict=True) if edit is not None}
    report = lr.evaluate(model, [record for record in records if record.case_id in edits], edits)
    plain = [record for record in records if record.case_id not in edits]
    if plain:
        untouched = lr.evaluate(model, plain)
        report = lr.EvalReport((*report.scores, *untouched.scores), "")
    return {
        "report": report,
        "seconds": spent / len(records),
        "norm": fmean(map(relative_norm, edits.values())),
        "refused": refused,
    }


def attempts(
    model: Any, editor: Any, records: Sequence[lr.EvalRecord], moments: lr.SecondMoments
) -> Iterator[lr.Edit | None]:
    """The edits in one batch; one by one where one of them is refused."""
    requests = [record.request for record in records]
    try:
        yield from editor.edit_each(model, requests, moments=moments)
        return
    except EditError:
        pass
    for request in requests:
        try:
            yield editor.edit(model, request, moments=moments)
        except EditError:
            yield None


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
    print("| editor | S | ES | PS | NS | CPU seconds an edit | change of the weights |")
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
