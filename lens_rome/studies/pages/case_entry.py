"""One record as an entry of the list."""

import math
from collections.abc import Iterable, Mapping, Sequence

from lens_rome.evaluation import METRICS, CaseResult, PromptScore, RecordCase, RecordTexts
from lens_rome.evaluation.rows import GROUPS
from lens_rome.studies.pages.case_prompts import prompt_table
from lens_rome.studies.pages.case_texts import text_table
from lens_rome.studies.pages.elements import Markup, isolated, join, tag, text
from lens_rome.studies.pages.filter_list import Item
from lens_rome.studies.pages.line_chart import line_chart

CASE_ID, SECONDS, CHANGE = "case id", "seconds", "size of change"


def case_entry(
    result: CaseResult, values: Mapping[str, float], *, label: str, several: bool, shown: Sequence[str], relation: str
) -> Item:
    """A record under one editor.

    Args:
        values: of each metric that the record has.
        label: of the report.
        several: whether the page has several editors, so that each entry names its own.
        shown: metrics that stand in the summary line.
    """
    case = result.case
    content = [
        _facts(result, case, relation),
        prompt_table(result.scores, case) if result.scores else tag("p", "No prompt was scored.", class_="missing"),
        text_table(result.texts, case),
    ]
    if case is not None and case.losses:
        content.append(line_chart(case.losses, caption="Loss of the search for the new value"))
    choices = {"relation": relation or "no relation", **({"editor": label} if several else {})}
    return Item(
        summary=_summary(
            result, case, {name: values[name] for name in shown if name in values}, label if several else ""
        ),
        content=tag("div", *content, class_="case"),
        words=" ".join(_words(result.scores, result.texts, case, result.case_id)),
        choices=choices,
        values={**values, **_own_values(case), CASE_ID: float(result.case_id)},
    )


def _own_values(case: RecordCase | None) -> dict[str, float]:
    found = {} if case is None else {SECONDS: case.seconds, CHANGE: case.change}
    return {name: value for name, value in found.items() if value is not None and math.isfinite(value)}


def _summary(result: CaseResult, case: RecordCase | None, values: Mapping[str, float], label: str) -> Markup:
    """`The **Eiffel Tower** is in the city of: Paris → Rome`, and how it went."""
    chips = [_chip(name, value) for name, value in values.items()]
    if case is not None and case.refused:
        chips.insert(0, tag("span", "refused", class_="chip bad"))
    if label:
        chips.insert(0, tag("span", label, class_="chip editor"))
    return join([tag("span", asked(case, result), class_="asked"), tag("span", join(chips, " "), class_="chips")], " ")


def asked(case: RecordCase | None, result: CaseResult) -> Markup:
    """The request as a sentence."""
    if case is None:
        prompt = next((row.prompt for row in result.scores if row.group == "rewrite"), "")
        return join([f"case {result.case_id}: ", isolated(prompt or "what was asked is not in this report")])
    before, _, after = case.template.partition("{}")
    sentence = tag("bdi", text(before), tag("b", case.subject), text(after))
    old = [isolated(case.target_true), " → "] if case.target_true else ["→ "]
    return join([sentence, " … ", *old, tag("b", isolated(case.target_new), class_="object")])


def _chip(name: str, value: float) -> Markup:
    """A score of one record, in percent; red where it is not whole."""
    shown = "–" if math.isnan(value) else f"{METRICS[name].scale * value:.0f}"
    return tag("span", f"{name} {shown}", class_="chip good" if value == 1 else "chip bad", title=METRICS[name].title)


def _facts(result: CaseResult, case: RecordCase | None, relation: str) -> Markup:
    """Case id, relation, and how the edit was made."""
    told = {"case": str(result.case_id), "relation": relation}
    if case is not None:
        told |= {
            "editor": case.editor or "none",
            "time": "" if case.seconds is None else f"{case.seconds:.3g} s",
            "size of change": "" if case.change is None else f"{100 * case.change:.3g}% of the weights' norm",
        }
    lines = [tag("div", tag("dt", name), tag("dd", isolated(value))) for name, value in told.items() if value]
    facts = tag("dl", *lines, class_="facts")
    if case is None or not case.refused:
        return facts
    reason = tag("p", "The editor refused this record, so it was scored without an edit: ", isolated(case.refused))
    return join([facts, tag("div", reason, class_="refused")])


def _words(
    scores: Sequence[PromptScore], texts: RecordTexts | None, case: RecordCase | None, case_id: int
) -> Iterable[str]:
    """What a search finds the record by: the request, the prompts, the case id."""
    yield str(case_id)
    if case is not None:
        yield from (case.subject, case.template.replace("{}", case.subject), case.target_true, case.target_new)
    yield from (row.prompt for row in scores if GROUPS[row.group] == "new")
    yield from texts.texts if texts is not None else ()
