"""HTML as values: every text is escaped on its way in, so no page can forget it."""

import re
from collections.abc import Iterable
from html import escape

_VOID = frozenset({"br", "input", "meta"})
_NOT_IN_HTML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")

Attribute = str | int | float | bool | None


class Markup(str):
    """Text that is HTML already. Any other text is not, and is escaped."""

    __slots__ = ()


def text(value: object) -> Markup:
    """The value as text of a page; what HTML cannot hold (control characters, halves of pairs) becomes U+FFFD."""
    if isinstance(value, Markup):
        return value
    return Markup(escape(_NOT_IN_HTML.sub("\ufffd", str(value)), quote=True))


def join(parts: Iterable[str], between: str = "") -> Markup:
    """The parts one after the other."""
    return Markup(text(between).join(map(text, parts)))


def tag(name: str, /, *children: str, **attributes: Attribute) -> Markup:
    """An element.

    Args:
        attributes: `class_` is class, `data_value` is data-value; True stands without a value, None and False are left
            out.

    >>> print(tag("td", "a < b", class_="wide", hidden=True))
    <td class="wide" hidden>a &lt; b</td>
    """
    opened = "".join(
        f" {_name(key)}" + ("" if value is True else f'="{text(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    start = f"<{name}{opened}>"
    return Markup(start if name in _VOID else f"{start}{join(children)}</{name}>")


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def isolated(value: object, **attributes: Attribute) -> Markup:
    """Text that came with the data: its direction of writing does not touch what stands beside it."""
    return tag("bdi", text(value), **attributes)
