"""What a probe found, whatever it asks: question, answer, summary, rows, and what is missing."""

import math

from lens_rome.studies.one_edit import NOT_ASKED
from lens_rome.studies.pages.document import folded
from lens_rome.studies.pages.elements import Markup, isolated, tag, text
from lens_rome.studies.pages.finding_summary import summary_parts, value_table
from lens_rome.studies.pages.finding_words import SHOWN, changed_words
from lens_rome.studies.pages.shares import number
from lens_rome.studies.probes.finding import Answer, Finding

_MOST_ROWS = 200
_SCORE = (
    "S is the harmonic mean of three shares, of 1 at most: of the edited prompt and of its paraphrases where the new "
    "object is the likelier one, and of the neighbours where their own is."
)
_SAMPLE = (
    "The texts of this probe are a sample of their own, not the ones that are counted under “Mentions in texts”, so "
    "that both shares differ by chance, and with the length and the prompts of the texts."
)
_NOTES = {"layers": _SCORE, "prefixes": _SCORE, "strength": _SAMPLE}
"""What a reader needs to know beside the sentence of a probe."""


def finding_part(finding: Finding) -> Markup:
    """The question as a heading, the number that answers it, and all behind it."""
    heading = tag("h3", finding.question, dir="auto")
    if not finding.rows and finding.missing:
        told = "Not answered: " if finding.answer.name == NOT_ASKED else "Cannot be told: "
        reasons = (tag("p", told, isolated(each.reason), class_="missing") for each in finding.missing)
        return tag("div", heading, *reasons, class_="finding", data_probe=finding.probe)
    parts = [heading, _answer(finding.answer)]
    if finding.probe in _NOTES:
        parts.append(tag("p", _NOTES[finding.probe], class_="about"))
    if finding.probe in SHOWN:
        parts += changed_words(finding)
    if finding.summary:
        parts += summary_parts(finding)
    if finding.rows:
        parts.append(_rows(finding))
    if finding.missing:
        listed = (tag("li", tag("b", isolated(each.case)), ": ", isolated(each.reason)) for each in finding.missing)
        parts.append(tag("p", "Missing, and why:", class_="missing"))
        parts.append(tag("ul", *listed, class_="missing"))
    return tag("div", *parts, class_="finding", data_probe=finding.probe)


def _answer(answer: Answer) -> Markup:
    cases = f"{answer.n} case{'s' * (answer.n != 1)}"
    if math.isnan(answer.low) or math.isnan(answer.high):
        interval = f"{cases}; no interval can be told" + (" of one" if answer.n == 1 else "")
    else:
        interval = f"95% interval {number(answer.low)} to {number(answer.high)}; {cases}"
    figure = tag("p", tag("b", number(answer.value)), " ", isolated(answer.name), f" ({interval})", class_="figure")
    return tag("div", figure, tag("p", _with_code(answer.reading)))


def _rows(finding: Finding) -> Markup:
    n = len(finding.rows)
    cut = f", the first {_MOST_ROWS} of {n:,}; the saved finding has all" if n > _MOST_ROWS else ""
    table = value_table(finding.rows[:_MOST_ROWS], f"Every prompt, target and phase{cut}")
    return folded(f"All {n:,} row{'s' * (n != 1)}", table)


def _with_code(sentence: str) -> Markup:
    """A sentence with names between backticks as code."""
    parts = sentence.split("`")
    if len(parts) % 2 == 0:
        return isolated(sentence)
    return tag("bdi", *(tag("code", part) if place % 2 else text(part) for place, part in enumerate(parts)))
