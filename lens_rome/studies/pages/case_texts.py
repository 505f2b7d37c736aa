"""What the model wrote about a record, before and after side by side."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest

from lens_rome.evaluation import RecordCase, RecordTexts
from lens_rome.studies.pages.elements import Markup, join, tag, text
from lens_rome.studies.pages.highlight import marked, shared_words


def text_table(texts: RecordTexts | None, case: RecordCase | None) -> Markup:
    """A row a generation prompt; nothing where nothing was written."""
    if texts is None or not (texts.texts or texts.before_texts):
        return text("")
    words = {} if case is None else {case.target_true: "old", case.target_new: "new", case.subject: "subject"}
    return pair_table(texts.before_texts, texts.texts, words)


def pair_table(before: Sequence[str], after: Sequence[str], words: Mapping[str, str]) -> Markup:
    """Texts of the unedited model, where there are any, beside those of the edited one.

    Args:
        words: what is marked, and the class of its mark.
    """
    both = bool(before)
    titles = ["Written before", "Written after"] if both else ["Written"]
    rows = [tag("tr", *_cells(*each, words, both)) for each in zip_longest(before, after, fillvalue="")]
    head = tag("thead", tag("tr", *(tag("th", title, scope="col") for title in titles)))
    return tag("table", head, tag("tbody", *rows), class_="texts")


def _cells(before: str, after: str, words: Mapping[str, str], both: bool) -> list[Markup]:
    if not both:
        return [tag("td", _shown(after, 0, words), dir="auto")]
    shared = shared_words(before, after)
    return [
        tag("td", _shown(each, shared, words), dir="auto", data_label=name)
        for each, name in ((before, "before"), (after, "after"))
    ]


def _shown(content: str, shared: int, words: Mapping[str, str]) -> Markup:
    """The text; what both begin with stands back."""
    if not content:
        return text("–")
    start = [tag("span", marked(content[:shared], words), class_="shared")] if shared else []
    return join([*start, marked(content[shared:], words)])
