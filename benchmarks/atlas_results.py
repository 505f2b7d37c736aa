"""Every editor on the atlas's evaluation split with all scores of the papers, texts included: the table of
docs/results.md.

    python benchmarks/atlas_results.py --out FOLDER                         # 521 records; about two hours of one core
    torchrun --nproc-per-node 2 benchmarks/atlas_results.py --out FOLDER    # shared by two processes

Every editor is a run in a folder of its own below FOLDER, so a stop costs little: the same command goes on. MEND and KE
are trained into FOLDER first (minutes), where they are not there yet. The unedited model is scored once. When all is
done, the table is printed and FOLDER/report.html shows it with its cases.
"""

import argparse
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

from atlas_editors import TRAINED, trained

import lens_rome as lr
from lens_rome.datasets import References
from lens_rome.evaluation import TextSettings, UnfinishedRunWarning, paper_table
from lens_rome.studies.pages import save_report_page

ORDER = ("FT", "FT+L", "KN", "KE", "MEND", "ROME", "R-ROME", "MEMIT", "EMMET", "AlphaEdit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--records", type=int, help="the first so many; all by default")
    parser.add_argument("--editors", help=f"by commas, of {', '.join(ORDER)}; all by default")
    parser.add_argument("--length", type=int, default=100, help="tokens of a text")
    parser.add_argument("--shard", help="this process's share, such as 1/2")
    parser.add_argument("--quick", action="store_true", help="2 records, MEMIT and FT+L, short texts, nothing is kept")
    options = parser.parse_args()
    if options.quick:
        with TemporaryDirectory() as folder:
            measure(Path(folder), ("MEMIT", "FT+L"), 2, 12, None)
        return
    names = ORDER if options.editors is None else tuple(options.editors.split(","))
    measure(options.out, names, options.records, options.length, options.shard)


def measure(out: Path, names: tuple[str, ...], count: int | None, length: int, shard: str | None) -> None:
    """All runs, and the tables where nothing is left to do."""
    warnings.simplefilter("ignore")
    out.mkdir(parents=True, exist_ok=True)
    model, world = lr.load_atlas()
    subjects = set(world.split("evaluation"))
    records = [record for record in world.records if record.request.subject in subjects][:count]
    references, texts = References.of(world.snippets), TextSettings(length=length)

    def run(name: str, editor: object) -> lr.EvalReport:
        return lr.evaluate(
            model,
            records,
            editor,
            moments=world.moments if editor is not None else None,
            label=name,
            texts=texts,
            references=references,
            refused="unedited",
            out=out / name,
            shard=shard,
            progress=True,
        )

    editors = {name: chosen(name, out, model, world) for name in names}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UnfinishedRunWarning)
        unedited = run("unedited", None)
        reports = [run(name, editor) for name, editor in editors.items()]
    if any(issubclass(each.category, UnfinishedRunWarning) for each in caught):
        print("Not everything is done yet: other workers are at it, or start this again.")
        return
    told = [report.with_before(unedited) for report in reports]
    save_report_page(told, out / "report.html", title="Every editor on the atlas")
    print(paper_table(told, "markdown", unedited=True))
    print()
    print("| editor | seconds an edit | change of the weights | refused |")
    print("|---|---|---|---|")
    for report in told:
        made = [case for case in report.cases if not case.refused]
        seconds = sum(case.seconds or 0 for case in made) / len(made)
        change = sum(case.change or 0 for case in made) / len(made)
        print(f"| {report.label} | {seconds:.2f} | {100 * change:.1f} % | {len(report.cases) - len(made)} |")


def chosen(name: str, folder: Path, model: object, world: object) -> object:
    """The editor of a row."""
    return trained(folder / "learned", name, model, world) if name in TRAINED else lr.preset(name, "atlas")


if __name__ == "__main__":
    main()
