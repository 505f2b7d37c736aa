"""The prompts of one record, with the probabilities of both objects before and after."""

import math
from collections.abc import Mapping, Sequence

from lens_rome.evaluation import PromptScore, RecordCase
from lens_rome.evaluation.likelihood import Likelihood
from lens_rome.evaluation.rows import GROUPS
from lens_rome.studies.pages.elements import Markup, isolated, tag
from lens_rome.studies.pages.highlight import marked
from lens_rome.studies.pages.prob_bars import prob_bars

_TITLES = {
    "rewrite": "Rewritten prompt",
    "paraphrase": "Paraphrases",
    "neighborhood": "Neighbours: the old object should stay",
    "distracting_neighborhood": "Neighbours after the edit's own sentence: the old object should stay",
    "attribute": "Things that have the new object already",
}


def prompt_table(scores: Sequence[PromptScore], case: RecordCase | None) -> Markup:
    """A line a prompt, below the heading of its group."""
    words = {case.subject: "subject"} if case else {}
    new = case.target_new if case else "new object"
    true = (case.target_true if case else "old object") or "right answer"
    head = tag(
        "tr",
        tag("th", "prompt", scope="col"),
        tag("th", "p(", isolated(new), ")", scope="col"),
        tag("th", "p(", isolated(true), ")", scope="col"),
        tag("th", "success", scope="col"),
    )
    bodies = [
        tag("tbody", tag("tr", tag("th", _TITLES[group], colspan=4, scope="rowgroup")), *lines)
        for group in GROUPS
        if (lines := [_line(row, words, new, true) for row in scores if row.group == group])
    ]
    return tag("table", tag("thead", head), *bodies, class_="prompts")


def _line(row: PromptScore, words: Mapping[str, str], new: str, true: str) -> Markup:
    shown = marked(row.prompt, words) if row.prompt else "(the report does not keep its prompt)"
    kind, sign, told = _outcome(row)
    wants_new = GROUPS[row.group] == "new"
    return tag(
        "tr",
        tag("td", shown, dir="auto", class_="prompt"),
        tag("td", prob_bars(_prob(row.before_new), _prob(row.new), kind=kind if wants_new else ""), data_label=new),
        tag("td", prob_bars(_prob(row.before_true), _prob(row.true), kind="" if wants_new else kind), data_label=true),
        tag("td", tag("span", sign, class_=f"sign {kind}", aria_hidden="true"), " ", told, class_="outcome"),
    )


def _prob(likelihood: Likelihood | None) -> float | None:
    return None if likelihood is None else likelihood.mean_prob


def _outcome(row: PromptScore) -> tuple[str, str, str]:
    """Colour, sign and word: by the comparison of both objects, or by the answer's own tokens where there is none."""
    right = row.new if GROUPS[row.group] == "new" else row.true
    known = row.true is not None and not math.isnan(row.nll_new) and not math.isnan(row.nll_true)
    if known:
        return ("good", "✓", "yes") if row.success else ("bad", "✗", "no")
    if right is None or "tokens" not in row.known:
        return "", "", "–"
    told = f"{right.top} of {right.tokens} tokens"
    return ("good", "✓", told) if right.exact else ("bad", "✗", told)
