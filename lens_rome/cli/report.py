"""`lens-rome report`: the page of a saved report. No model is loaded."""

from pathlib import Path
from typing import Annotated

import typer

from lens_rome.cli.reporting import CommandError, console, reporting
from lens_rome.evaluation import EvalReport

_NAME = "report.html"


@reporting
def report(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Saved reports or folders of runs; several are compared with the first.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help=f"File to write; {_NAME} beside the first report if left out.")
    ] = None,
    cases: Annotated[
        int, typer.Option("--cases", help="How many of the best, the worst and the other records are shown.")
    ] = 10,
    unedited: Annotated[
        Path | None,
        typer.Option(
            "--unedited", help="Run or report of the unedited model, to stand before all that lack its scores."
        ),
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Title of the page; editors and model if left out.")] = "",
) -> None:
    """Write one HTML page about a report, to open in any browser: it needs no network and nothing beside it.

    Example: lens-rome report memit.jsonl ft.jsonl --out both.html
    """
    from lens_rome.studies.pages import save_report_page

    missing = [path for path in (*paths, *([unedited] if unedited else [])) if not path.exists()]
    if missing:
        raise CommandError(
            f"there is no {missing[0]}. Name a report that EvalReport.save wrote, or the folder of a run."
        )
    first = paths[0]
    out = out or (first if first.is_dir() else first.parent) / _NAME
    reports = [EvalReport.load(path) for path in paths]
    if unedited is not None:
        plain = EvalReport.load(unedited)
        reports = [each if each.settings.get("before") else each.with_before(plain) for each in reports]
    save_report_page(reports, out, title=title, cases=cases)
    for each in reports:
        console().print(str(each), soft_wrap=True, markup=False)
    console().print(f"{out}: open it in a browser", soft_wrap=True, markup=False)
