"""The page about one edit."""

import json
from pathlib import Path

from lens_rome._files import written_whole
from lens_rome.editing.describe import title as editor_title
from lens_rome.studies.one_edit import EditStory
from lens_rome.studies.pages.document import document, folded, section
from lens_rome.studies.pages.edit_sections import changed_section, kept_section, leaked_section
from lens_rome.studies.pages.edit_where import where_section
from lens_rome.studies.pages.edit_written import written_section
from lens_rome.studies.pages.elements import Markup, isolated, join, tag
from lens_rome.studies.pages.finding_part import finding_part
from lens_rome.studies.pages.report_page import check_replaceable
from lens_rome.studies.pages.settings_list import flat

_PARTS = {
    "layers": "written",
    "prefixes": "written",
    "direction": "kept",
    "hops": "kept",
    "strength": "leaked",
    "concept": "leaked",
    "bleed": "leaked",
}
"""Which part of the story a probe belongs to, by its name; others stand at the end of the story."""
_ELSEWHERE = ("contexts", "losses", "diagnostics", "requests")
"""What the page tells of the provenance in other places."""


def edit_page(story: EditStory) -> str:
    """One HTML page that tells the story of one edit in order: where the fact showed, what was written, what changed,
    what did not, what leaked.

    It is whole in itself: no address is asked for anything, and it opens from the disk. The same story gives the same
    page. What was not asked is said plainly, with how to ask.
    """
    request = story.request
    title = f"{request.prompt}: {request.target_true} → {request.target_new}"
    parts = [
        tag("header", tag("h1", title, dir="auto"), _head(story)),
        where_section(story),
        written_section(story, *_findings(story, "written")),
        changed_section(story, *_findings(story, "changed")),
        kept_section(story, *_findings(story, "kept")),
        leaked_section(story, *_findings(story, "leaked")),
        _made(story),
    ]
    return document(title, tag("div", *parts, class_="story"))


def save_edit_page(story: EditStory, path: str | Path) -> Path:
    """Write `edit_page` to a file, which appears whole or not at all; an older page is replaced. Returns the path.

    Raises:
        FileFormatError: the folder does not exist, or the file is there and is no page of this package.
    """
    path = Path(path)
    content = edit_page(story)
    check_replaceable(path)
    with written_whole(path) as temporary:
        temporary.write_text(content, encoding="utf-8")
    return path


def _head(story: EditStory) -> Markup:
    request = story.request
    told = [
        tag("b", isolated(editor_title(story.edit.provenance))), " was asked to make ",
        tag("b", isolated(str(story.settings.get("model") or "a model"))), " continue “", isolated(request.prompt),
        "” with ", tag("mark", isolated(request.target_new), class_="new"), " instead of ",
        tag("mark", isolated(request.target_true), class_="old"),
        ". The page tells in order where the fact showed, what was written, what changed, what did not, and what "
        "leaked.",
    ]  # fmt: skip
    doubt = [tag("p", isolated(story.doubt), class_="missing doubt")] if story.doubt else []
    return join([tag("p", *told, class_="headline"), *doubt])


def _findings(story: EditStory, part: str) -> list[Markup]:
    return [finding_part(each) for each in story.findings if _PARTS.get(each.probe, "leaked") == part]


def _made(story: EditStory) -> Markup:
    """Folded: every setting, and how to make the page anew."""
    told = {name: value for name, value in story.edit.provenance.items() if name not in _ELSEWHERE}
    provenance = json.loads(json.dumps(told, default=str))  # as a saved edit tells it: the page is the same
    probes = {found.probe: dict(found.settings) for found in story.findings}
    parts = [
        folded(name, tag("dl", *(tag("div", tag("dt", key), tag("dd", isolated(value))) for key, value in flat(each)),
                         class_="settings"))
        for name, each in (("Settings of the story", dict(story.settings)), ("Settings of the edit", provenance),
                           ("Settings of the probes", probes))
        if each
    ]  # fmt: skip
    remake = folded("How to make this page again", tag("pre", tag("code", _REMAKE)), tag("p", _SAME))
    return section("How it was made", *parts, remake, name="settings")


_REMAKE = """from lens_rome.studies.one_edit import EditStory
from lens_rome.studies.pages import save_edit_page

story = EditStory.load(...)  # the folder that `lens-rome study edit --save` or EditStory.save wrote
save_edit_page(story, "edit.html")"""
_SAME = (
    "The same story gives the same page, byte for byte, under the same version of lens_rome. The story itself comes "
    "from lens_rome.studies.one_edit.edit_story or `lens-rome study edit` with the settings above."
)
