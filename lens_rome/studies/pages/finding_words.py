"""After which prompts of a probe the edit changed the most likely word."""

from collections.abc import Mapping

from lens_rome.studies.pages.document import folded
from lens_rome.studies.pages.elements import Markup, isolated, tag
from lens_rome.studies.probes.finding import Finding, Value

SHOWN = ("bleed", "direction", "concept", "hops")
"""Probes whose rows tell the most likely word (`top`), of a few prompts each."""
_OPEN = 8  # prompts that stand open
_PLACES = {"with": "with a mention of the subject", "without": "without one"}

Row = Mapping[str, Value]


def changed_words(finding: Finding) -> list[Markup]:
    """How many prompts have another most likely word after the edit, and which, before → after; nothing where no rows
    tell it. In related subjects only edits of others count.
    """
    words = _words(finding)
    if not words:
        return []
    changed = {key: (before, after) for key, (before, after) in words.items() if before != after}
    parts = [tag("p", f"{_counts(words, changed)}{':' if changed else '.'}", class_="words")]
    several = len({case for case, _, _ in words}) > 1
    items = [_item(*key, *each, several) for key, each in changed.items()]
    if items:
        parts.append(tag("ul", *items[:_OPEN], class_="words"))
    if items[_OPEN:]:
        parts.append(folded(f"{len(items) - _OPEN} more prompts", tag("ul", *items[_OPEN:], class_="words")))
    return parts


def _words(finding: Finding) -> dict[tuple[str, str, str], tuple[str, str]]:
    """The most likely words before and after, by case, prompt and place; prompts with a mention first."""
    told: dict[tuple[str, str, str], dict[Value, str]] = {}
    for row in finding.rows:
        if {"phase", "prompt", "top"} <= row.keys() and not ("tested" in row and row["tested"] == row["case"]):
            place = _PLACES.get(str(row.get("distractor")), "")
            told.setdefault((str(row.get("case")), str(row["prompt"]), place), {})[row["phase"]] = str(row["top"])
    order = sorted(told, key=lambda key: key[2])
    return {key: (told[key]["before"], told[key]["after"]) for key in order if {"before", "after"} <= told[key].keys()}


def _counts(words: Mapping[tuple[str, str, str], object], changed: Mapping[tuple[str, str, str], object]) -> str:
    """`The most likely word changed after 2 of 14 prompts with a mention of the subject and 0 of 7 without one`."""
    counts = []
    for place in dict.fromkeys(place for *_, place in words):
        n, found = (sum(key[2] == place for key in keys) for keys in (words, changed))
        noun = f" prompt{'s' * (n != 1)}" if not counts else ""
        counts.append(f"{found} of {n}{noun} {place}".strip())
    return f"The most likely word changed after {' and '.join(counts)}"


def _item(case: str, prompt: str, _: str, before: str, after: str, several: bool) -> Markup:
    parts = [tag("b", isolated(case)), ": "] if several else []
    shown = [isolated(each.strip() or "\N{OPEN BOX}") for each in (before, after)]
    return tag("li", *parts, isolated(prompt), ": ", shown[0], " → ", tag("b", shown[1]))
