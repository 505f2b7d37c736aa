"""What an edit changed, what it did not, and what leaked."""

from dataclasses import replace

from lens_rome.studies.one_edit import EditStory
from lens_rome.studies.one_edit.story import Share
from lens_rome.studies.pages.case_texts import pair_table
from lens_rome.studies.pages.document import folded, section
from lens_rome.studies.pages.edit_replies import mean_probs, precise, reply_groups, rewrite_probs
from lens_rome.studies.pages.elements import Markup, isolated, tag
from lens_rome.studies.pages.forest import Interval, forest_plot
from lens_rome.studies.pages.shares import counted, percents, points
from lens_rome.studies.probes.texts import mentions

CHANGED, KEPT, LEAKED = "3 · What changed", "4 · What did not change", "5 · What leaked"
_SHOWN = 4  # texts that stand open
_READ = (
    "Probabilities are those of an object’s tokens (geometric mean, so that objects of different lengths compare), "
    "before → after the edit; the thin bar is before. Intervals are Wilson’s, as if the prompts were drawn from many "
    "alike. The probes tell joint log-probabilities of all of an object’s tokens unless they say otherwise."
)
_NO_TEXTS = "Nothing was written: give --generate PROMPT for texts before and after the edit."


def changed_section(story: EditStory, *findings: Markup) -> Markup:
    """The edited prompt, its paraphrases, and texts."""
    new, old = story.request.target_new, story.request.target_true
    share = story.right(story.part("changed"))
    lead = tag(
        "p", tag("b", isolated(new)), " is likelier than ", tag("b", isolated(old)),
        f" after {counted(share, 'prompts that ask for the fact')}. ", rewrite_probs(story), class_="lead",
    )  # fmt: skip
    return section(CHANGED, lead, tag("p", _READ, class_="about"), reply_groups(story, "changed"), _texts(story),
                   *findings, name="changed")  # fmt: skip


def _texts(story: EditStory) -> Markup:
    """Texts of the same streams side by side, of different prompts first."""
    heading = tag("h3", "What it writes")
    if not story.texts:
        return tag("div", heading, tag("p", _NO_TEXTS, class_="missing"))
    request = story.request
    words = {request.target_true: "old", request.target_new: "new", request.subject: "subject"}
    firsts = {each.prompt: place for place, each in reversed(list(enumerate(story.texts)))}
    shown = sorted(firsts.values())[:_SHOWN]
    rest = [place for place in range(len(story.texts)) if place not in shown]

    def table(places: list[int]) -> Markup:
        chosen = [story.texts[place] for place in places]
        return pair_table([each.before for each in chosen], [each.after for each in chosen], words)

    told = (
        "Both models continue the same prompts with the same stream of chance, so that a difference is the edit’s. "
        "The beginning that both share is grey."
    )
    more = [folded(f"{len(rest)} more texts", table(rest))] if rest else []
    return tag("div", heading, tag("p", told, class_="about"), table(shown), *more)


def kept_section(story: EditStory, *findings: Markup) -> Markup:
    """Neighbours, other facts of the subject, descriptions, and the reverse direction."""
    lead = tag("p", _stayed(story), _reverse(story), class_="lead")
    return section(KEPT, lead, reply_groups(story, "kept"), *findings, name="kept")


def _stayed(story: EditStory) -> str:
    """How many of the prompts about other things that were right before the edit still are."""
    asked = [each for each in story.part("kept") if each.right is not None]
    if not asked:
        return "No prompt was asked that should stay as it was. "
    had = [each for each in asked if each.right_before]
    without = len(asked) - len(had)
    if not had:
        none = "The prompt" if without == 1 else f"Each of the {without} prompts"
        return f"{none} about other things was wrong before the edit already: nothing could be lost. "
    stayed = Share(len(had), len(had), sum(bool(each.right) for each in had))
    wrong = f"; {without} more {'was' if without == 1 else 'were'} wrong before" if without else ""
    return (
        f"What should stay stayed after {stayed.after} of {stayed.n} prompts about other things that were right before "
        f"the edit (95% interval {percents(*stayed.interval)}{wrong}). "
    )


def _reverse(story: EditStory) -> str:
    """Whether the model learned the new fact in the other direction."""
    replies = story.group("reverse new")
    if not replies:
        return ""
    before, after = mean_probs(replies)
    prompts = "the prompt" if len(replies) == 1 else f"{len(replies)} prompts"
    changes = [each.new_after - each.new_before for each in replies]
    return (
        f"Asked the other way round, from {story.request.target_new}, the probability of {story.request.subject} went "
        f"from {precise(before)} to {precise(after)} (mean of {prompts}; single changes {points(min(changes))} to "
        f"{points(max(changes))} points)."
    )


def leaked_section(story: EditStory, *findings: Markup) -> Markup:
    """Related subjects, mentions in texts, and what the probes of leaks found."""
    bled = [each.answer.reading for each in story.findings if each.probe == "bleed" and each.answer.n]
    lead = tag("p", " ".join([_lost(story), _mentioned(story), *bled]), class_="lead")
    return section(LEAKED, lead, reply_groups(story, "leaked"), _mentions(story), *findings, name="leaked")


def _lost(story: EditStory) -> str:
    """How many of the related subjects that had their own answer lost it."""
    replies = story.part("leaked")
    if not replies:
        return "No related subject was asked."
    had = [each for each in replies if each.right_before]
    without = len(replies) - len(had)
    none = f"{without} had none before the edit" if without else "all had it before the edit"
    if not had:
        return f"No related subject had its own answer to lose: {none}."
    lost = Share(len(had), 0, sum(not each.right for each in had))
    return (
        f"{lost.after} of {lost.n} related subjects lost their own answer (95% interval {percents(*lost.interval)}; "
        f"{none})."
    )


def _mentioned(story: EditStory) -> str:
    """How many texts name the new object, and the old one before, by whether their prompt names the subject."""
    new, old = story.request.target_new, story.request.target_true
    if not story.texts:
        return "No text was written that could mention the new object."
    told = []
    for what, part in _parts(story).items():
        found, before = part.mentions(new), part.mentions(old).before
        told.append(f"{new} is mentioned in {counted(found, what)}; {old} was mentioned in {before} before the edit.")
    return " ".join(told)


def _parts(story: EditStory) -> dict[str, EditStory]:
    """The story with the texts whose prompt names the subject, and with the others; none without texts."""
    about = [each for each in story.texts if mentions(each.prompt, [story.request.subject])]
    others = [each for each in story.texts if each not in about]
    parts = {"texts whose prompt names the subject": about, "texts of other prompts": others}
    return {what: replace(story, texts=tuple(texts)) for what, texts in parts.items() if texts}


_WANTED = {
    "texts whose prompt names the subject": "Where the prompt names the subject a mention of the new object is wanted "
    "if the old one stood there; more mentions after than of the old object before is too much of it.",
    "texts of other prompts": "Where the prompt does not name the subject, a mention that was not there before is a "
    "leak.",
}


def _mentions(story: EditStory) -> Markup:
    """How often texts name either object."""
    if not story.texts:
        return tag("div", tag("h3", "Mentions in texts"), tag("p", _NO_TEXTS, class_="missing"))
    parts = _parts(story)
    groups = {
        f"{words} in {what}": _before_and_after(part.mentions(words))
        for what, part in parts.items()
        for words in (story.request.target_new, story.request.target_true)
    }
    told = " ".join(_WANTED[what] for what in parts)
    caption = "Share of texts with a mention after their prompt, with 95% intervals (percent)"
    return tag(
        "div", tag("h3", "Mentions in texts"), tag("p", told, class_="about"), forest_plot(groups, caption=caption)
    )


def _before_and_after(found: Share) -> list[Interval]:
    return [
        Interval("before", found.before / found.n, *found.interval_before, f"{found.before} of {found.n}", True),
        Interval("after", found.after / found.n, *found.interval, f"{found.after} of {found.n}"),
    ]
