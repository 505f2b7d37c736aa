"""Pages as trees, read by Python's own parser, which repairs nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"br", "input", "meta"}


@dataclass
class Node:
    name: str
    attributes: dict[str, str | None]
    parts: list["Node | str"] = field(default_factory=list)

    def walk(self) -> Iterator["Node"]:
        yield self
        for part in self.parts:
            if isinstance(part, Node):
                yield from part.walk()

    def all(self, name: str, class_: str | None = None) -> list["Node"]:
        return [node for node in self.walk() if node.name == name and (class_ is None or class_ in node.classes)]

    def one(self, name: str, class_: str | None = None) -> "Node":
        (found,) = self.all(name, class_)
        return found

    @property
    def classes(self) -> list[str]:
        return (self.attributes.get("class") or "").split()

    @property
    def text(self) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in self.parts)

    @property
    def cells(self) -> list[list[str]]:
        """Of a table, its heads among them."""
        rows = [[part for part in row.parts if isinstance(part, Node)] for row in self.all("tr")]
        return [[cell.text for cell in row] for row in rows]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Node("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        node = Node(tag, dict(attrs))
        self.open[-1].parts.append(node)
        if tag not in _VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        closed = self.open.pop()
        assert closed.name == tag, f"<{closed.name}> is closed by </{tag}>"

    def handle_data(self, data: str) -> None:
        self.open[-1].parts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def parse(page: str) -> Node:
    """The `html` element; every element is closed where it belongs."""
    assert page.startswith("<!DOCTYPE html>\n")
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == [reader.root]
    return reader.root.one("html")


def section(page: Node, name: str) -> Node:
    (found,) = [node for node in page.all("section") if node.attributes.get("id") == name]
    return found
