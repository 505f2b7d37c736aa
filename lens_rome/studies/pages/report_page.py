"""The page of a report."""

from collections.abc import Sequence
from pathlib import Path

from lens_rome._files import written_whole
from lens_rome.errors import FileFormatError
from lens_rome.evaluation import EvalReport, ReportError
from lens_rome.studies.pages.cases_section import cases_section
from lens_rome.studies.pages.differences import difference_section
from lens_rome.studies.pages.document import GENERATOR, document
from lens_rome.studies.pages.elements import tag, text
from lens_rome.studies.pages.relations import relation_section
from lens_rome.studies.pages.scores import Scores, headline, models, score_section
from lens_rome.studies.pages.settings_list import settings_section

_HEAD = 4096  # bytes in which a page names its maker


def report_page(reports: EvalReport | Sequence[EvalReport], *, title: str = "", cases: int = 10) -> str:
    """One HTML page about one report, or about several editors on the same records.

    It is whole in itself: no address is asked for anything, and it opens from the disk. The same reports give the same
    page. Scores are of all records; of the records themselves only some are on the page, and it says which.

    Args:
        reports: the first is the one that the others are compared with.
        title: empty for the editors and their model.
        cases: how many of the best, of the worst and of the other records are shown with all prompts and texts; 0 for
            none.

    Raises:
        ReportError: no reports, or fewer than no cases.
    """
    scores = Scores((reports,) if isinstance(reports, EvalReport) else tuple(reports))
    if not scores.reports:
        raise ReportError("a page needs a report at least.")
    if cases < 0:
        raise ReportError(f"a page shows a whole number of cases from 0, got {cases}.")
    title = title or f"{', '.join(scores.labels)} on {models(scores.reports)}"
    parts = [
        tag("header", tag("h1", title, dir="auto"), headline(scores)),
        score_section(scores),
        difference_section(scores),
        relation_section(scores),
        cases_section(scores, cases),
        settings_section(scores),
    ]
    return document(title, *parts)


def save_report_page(
    reports: EvalReport | Sequence[EvalReport], path: str | Path, *, title: str = "", cases: int = 10
) -> Path:
    """Write `report_page` to a file, which appears whole or not at all; an older page is replaced.

    Returns:
        The path.

    Raises:
        ReportError: as `report_page`.
        FileFormatError: the folder does not exist, or the file is there and is no page of this package.
    """
    path = Path(path)
    content = report_page(reports, title=title, cases=cases)
    check_replaceable(path)
    with written_whole(path) as temporary:
        temporary.write_text(content, encoding="utf-8")
    return path


def check_replaceable(path: Path) -> None:
    """`FileFormatError` if the file is there and no page of this package."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(_HEAD)
    if text(tag("meta", name="generator", content=GENERATOR)).encode() not in start:
        raise FileFormatError(
            f"{path} is there and is not a page that lens_rome wrote, so it is not replaced. Take another name."
        )
