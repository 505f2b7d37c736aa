"""The shell of every page: one file without a single outside resource, readable from the disk for years."""

import base64
import hashlib
from importlib.resources import files

from lens_rome.studies.pages.elements import Markup, join, tag

GENERATOR = "lens_rome page"
"""What a page calls its maker, so that it can be told from other files."""

_FOLDER = "lens_rome.studies.pages"


def document(title: str, *body: str) -> str:
    """A whole page.

    Its policy lets a browser run the page's own script and style, known by their digests, and nothing else: no other
    script, no picture, no font, no address.
    """
    style, script = (_resource(name) for name in ("page.css", "page.js"))
    policy = "; ".join(
        [
            "default-src 'none'",
            f"style-src {_digest(style)}",
            f"script-src {_digest(script)}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", **{"http-equiv": "Content-Security-Policy", "content": policy}),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="generator", content=GENERATOR),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", style),
    )
    content = tag("body", tag("main", *body), tag("script", script))
    return "<!DOCTYPE html>\n" + tag("html", head, "\n", content, lang="en") + "\n"


def section(heading: str, *content: str, about: str = "", name: str | None = None) -> Markup:
    """A part of a page below its heading.

    Args:
        about: a sentence on how to read it.
        name: its id.
    """
    told = [tag("p", about, class_="about")] if about else []
    return join(["\n", tag("section", tag("h2", heading), *told, *content, id=name)])


def folded(summary: str, *content: str) -> Markup:
    """What is shown when its summary is opened."""
    return tag("details", tag("summary", summary), *content)


def _resource(name: str) -> Markup:
    """A file of the package as it stands; it is ours, so it is not escaped."""
    return Markup("\n" + (files(_FOLDER) / name).read_text(encoding="utf-8"))


def _digest(content: str) -> Markup:
    return Markup(f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'")
