"""What both models said to the prompts of a group."""

from collections.abc import Mapping

from lens_rome.studies.one_edit import GROUPS, EditStory, Reply
from lens_rome.studies.pages.elements import Markup, isolated, join, tag
from lens_rome.studies.pages.highlight import marked
from lens_rome.studies.pages.prob_bars import prob_bars, shown_prob
from lens_rome.studies.pages.shares import points

_HOW: Mapping[str, str] = {
    "paraphrase": "No other wording was asked: give --paraphrase PROMPT.",
    "neighbor": "No neighbour was asked: give --neighbor PROMPT, a prompt of which the old object stays right.",
    "own fact": "No other fact of the subject was asked: give --keep “PROMPT=ANSWER”.",
    "attribute": "No subject was asked that has the new object already: a CounterFact record (--record) has some.",
    "description": "No description of the subject was asked: give --describe PROMPT, the prompt with a description in "
    "the subject’s place.",
    "reverse new": "The other way round was not asked from the new object: give --reverse PROMPT with the new object "
    "in it, ending before the subject.",
    "reverse old": "The other way round was not asked from the old object: give --reverse PROMPT with the old object "
    "in it, ending before the subject.",
    "related": "No related subject was asked: give --related “PROMPT=ANSWER”.",
}
"""How to get what is not there; in Python each is a `Question` of the group."""
_JOINT = (
    "The finding about descriptions below compares joint probabilities of whole objects, and can rank objects of "
    "different lengths otherwise."
)


def reply_groups(story: EditStory, part: str) -> Markup:
    """Every group of a part of the story, below its title; those without prompts say how to ask."""
    names = [name for name, group in GROUPS.items() if group.part == part]
    return join([_group(story, name) for name in names])


def _group(story: EditStory, name: str) -> Markup:
    replies = story.group(name)
    heading = tag("h3", GROUPS[name].title)
    if not replies:
        return join([heading, tag("p", _HOW.get(name, "Nothing was asked."), class_="missing")])
    told = _count(story, replies)
    return join([heading, *([tag("p", told)] if told else []), _table(story, replies)])


def _count(story: EditStory, replies: tuple[Reply, ...]) -> str:
    """The group in one sentence; nothing of the edited prompt, which the part's first sentence tells."""
    request, question = story.request, replies[0].question
    group = GROUPS[question.group]
    n = len(replies)
    prompts = f"{n} prompt{'s' * (n != 1)}"
    if question.group == "rewrite":
        return ""
    if not question.old:
        before, after = mean_probs(replies)
        return f"The mean probability of {request.subject} went from {precise(before)} to {precise(after)}."
    if not group.wants:
        followed = sum(each.new_after > each.old_after for each in replies)
        told = f"The new object is the likelier one after {followed} of {prompts}"
        hops = any(each.probe == "hops" and each.rows for each in story.findings)
        return f"{told} by the geometric mean a token. {_JOINT}" if hops else f"{told}."
    share = story.right(replies)
    what = (
        "the prompt’s own answer is the model’s first choice" if group.first
        else f"{request.target_new if group.wants == 'new' else request.target_true} is the likelier object"
    )  # fmt: skip
    told = f"After the edit {what} in {share.after} of {n}; before it in {share.before}."
    follows = " What follows from the new fact may change with it; it counts as a change all the same."
    return told + (follows if question.group == "own fact" and share.after < n else "")


def mean_probs(replies: tuple[Reply, ...]) -> tuple[float, float]:
    """Mean probability of what is new over prompts, before and after."""
    n = len(replies)
    return sum(each.new_before for each in replies) / n, sum(each.new_after for each in replies) / n


def precise(prob: float) -> str:
    """A probability that may be small: `3.65%`, `0.0012%`."""
    return f"{100 * prob:.3g}%"


def _table(story: EditStory, replies: tuple[Reply, ...]) -> Markup:
    first = replies[0].question
    own = GROUPS[first.group].first
    names = [first.new] if not first.old else [first.new, "its own answer" if own else first.old]
    heads = ["prompt", *(join(["p(", isolated(name), ")"]) for name in names), "outcome"]
    head = tag("tr", *(tag("th", each, scope="col") for each in heads))
    words = {story.request.subject: "subject", story.request.target_new: "new", story.request.target_true: "old"}
    lines = [_line(each, words) for each in replies]
    kind = "prompts" if first.old else "prompts single"
    return tag("table", tag("thead", head), tag("tbody", *lines), class_=kind)


def _line(reply: Reply, words: Mapping[str, str]) -> Markup:
    question = reply.question
    group = GROUPS[question.group]
    kind = {True: "good", False: "bad", None: ""}[reply.right]
    cells = [tag("td", marked(question.prompt, words), dir="auto", class_="prompt")]
    bars = prob_bars(reply.new_before, reply.new_after, kind=kind if group.wants == "new" else "")
    if not question.old:
        bars = join([prob_bars(reply.new_before, reply.new_after)])
    cells.append(tag("td", bars, data_label=f"p({question.new})"))
    if question.old:
        bars = prob_bars(reply.old_before, reply.old_after, kind=kind if group.wants == "old" else "")
        cells.append(tag("td", bars, data_label=f"p({question.old})"))
    sign = {True: "✓ ", False: "✗ ", None: ""}[reply.right]
    mark = [tag("span", sign, class_=f"sign {kind}", aria_hidden="true")] if sign else []
    cells.append(tag("td", *mark, _outcome(reply), class_="outcome"))
    return tag("tr", *cells)


def _outcome(reply: Reply) -> Markup:
    """In a word what happened."""
    question = reply.question
    group = GROUPS[question.group]
    if not question.old:
        return join([f"{points(reply.new_after - reply.new_before)} points"])
    if group.first:
        if reply.right:
            return isolated(question.old)
        return join([isolated(question.old), " → ", isolated(reply.top_after or "␣")])
    if group.wants == "old":
        return join(["kept" if reply.right else "lost"])
    if question.group == "attribute":
        return join(["kept" if reply.right else "not said"])
    followed = reply.new_after > reply.old_after
    return join(["changed" if followed else "not changed"])


def rewrite_probs(story: EditStory) -> Markup:
    """Both objects at the edited prompt, in words."""
    (reply,) = story.group("rewrite")
    request = story.request
    return join([
        "At the edited prompt ", tag("b", isolated(request.target_new)),
        f" went from {shown_prob(reply.new_before)} to {shown_prob(reply.new_after)} and ",
        tag("b", isolated(request.target_true)),
        f" from {shown_prob(reply.old_before)} to {shown_prob(reply.old_after)}.",
    ])  # fmt: skip
