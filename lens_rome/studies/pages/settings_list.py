"""How the reports of a page were made."""

from collections.abc import Iterator, Mapping
from typing import Any

from lens_rome.studies.pages.document import folded, section
from lens_rome.studies.pages.elements import Markup, isolated, tag
from lens_rome.studies.pages.scores import Scores

_REMAKE = """import lens_rome as lr
from lens_rome.studies.pages import save_report_page

report = lr.EvalReport.load(...)  # the saved report, or the folder of a run
save_report_page(report, "report.html")  # or in a shell: lens-rome report PATH"""


def settings_section(scores: Scores) -> Markup:
    """Folded: every setting of each report, versions among them, and how to make the page anew."""
    parts = []
    for label, report in zip(scores.labels, scores.reports, strict=True):
        lines = [tag("div", tag("dt", name), tag("dd", isolated(value))) for name, value in flat(report.settings)]
        told = tag("dl", *lines, class_="settings") if lines else tag("p", "This report tells no settings.")
        parts.append(folded(f"Settings of {label}", told))
    remake = folded("How to make this page again", tag("pre", tag("code", _REMAKE)), tag("p", _SAME))
    return section("How it was made", *parts, remake, name="settings")


_SAME = (
    "The same report gives the same page, byte for byte, under the same version of lens_rome. The report itself comes "
    "from lens_rome.evaluate or `lens-rome evaluate` with the settings above."
)


def flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Names with dots, and values as text."""
    for name, value in settings.items():
        full = f"{before}{name}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{full}.")
        elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
            yield from flat({str(place): each for place, each in enumerate(value, 1)}, f"{full}.")
        elif isinstance(value, list):
            yield full, ", ".join(map(str, value))
        else:
            yield full, _NAMES.get(value, str(value)) if value is None or isinstance(value, bool) else str(value)


_NAMES = {True: "yes", False: "no", None: "not set"}
