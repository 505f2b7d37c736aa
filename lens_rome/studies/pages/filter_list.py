"""A list that can be searched, filtered and sorted; without a script it is a list in its first order."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lens_rome.studies.pages.elements import Markup, join, tag

WORST, BEST = "worst", "best"
_SEARCH = "subject, object, words"


@dataclass(frozen=True)
class Item:
    """An entry of the list."""

    summary: str
    """The line that is always shown."""
    content: str
    """What opens below it."""
    words: str
    """What a search looks through."""
    choices: Mapping[str, str] = field(default_factory=dict)
    """What it is, by the name of the choice, such as relation."""
    values: Mapping[str, float] = field(default_factory=dict)
    """What it can be sorted by; finite numbers."""


@dataclass(frozen=True)
class Order:
    """A value to sort by."""

    name: str
    shown: str
    lower_is_better: bool = False


def filter_list(items: Sequence[Item], orders: Sequence[Order], *, name: str, first: str) -> Markup:
    """The list below its controls.

    Args:
        orders: what can be sorted by; without any there is nothing to sort.
        name: what an entry is called, in the plural.
        first: name of the order that the items are in, the worst first.
    """
    selects = [
        _select(choice, choice, {"": f"every {choice}", **{value: value for value in values}})
        for choice, values in _choices(items).items()
        if len(values) > 1
    ]
    if orders:
        selects.append(_select("order", "sort by", {order.name: order.shown for order in orders}, first))
        selects.append(_select("direction", "order", {WORST: "worst first", BEST: "best first"}, WORST))
    search = tag("input", type="search", data_control="search", placeholder=_SEARCH, autocomplete="off")
    controls = tag(
        "div",
        tag("label", tag("span", "search"), search),
        *selects,
        tag("output", f"{len(items)} {name}", data_name=name, aria_live="polite"),
        class_="controls",
    )
    lower = json.dumps([order.name for order in orders if order.lower_is_better])
    entries = tag("div", join(map(_entry, items), "\n"), class_="entries")
    return tag("div", controls, entries, class_="filter-list", data_lower_is_better=lower)


def _choices(items: Sequence[Item]) -> dict[str, list[str]]:
    """All values of each choice, in the order of their names."""
    found: dict[str, set[str]] = {}
    for item in items:
        for choice, value in item.choices.items():
            found.setdefault(choice, set()).add(value)
    return {choice: sorted(values) for choice, values in found.items()}


def _select(control: str, label: str, options: Mapping[str, str], chosen: str = "") -> Markup:
    entries = [tag("option", shown, value=value, selected=value == chosen) for value, shown in options.items()]
    return tag("label", tag("span", label), tag("select", *entries, data_control=control))


def _entry(item: Item) -> Markup:
    data = {
        "data_words": item.words.casefold(),
        "data_choices": json.dumps(dict(item.choices), ensure_ascii=False),
        "data_values": json.dumps(dict(item.values), allow_nan=False),
    }
    return tag("details", tag("summary", item.summary), item.content, class_="entry", **data)
