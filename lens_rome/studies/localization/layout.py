"""A table of text: columns below their headings, a caption, notes; plain, Markdown or LaTeX."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lens_rome.evaluation.paper_table import latex_text
from lens_rome.studies.localization.errors import StudyError

NONE = "–"
"""A cell without a number."""


@dataclass(frozen=True)
class Layout:
    """What a table says."""

    caption: str
    labels: tuple[str, ...]
    """Heads of the first columns, which are words."""
    heads: Mapping[str, tuple[str, ...]]
    """Heads of the further columns, which are numbers, below the heading that stands over them ("" for none)."""
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    @property
    def columns(self) -> list[str]:
        """All heads in a line."""
        return [*self.labels, *(head for heads in self.heads.values() for head in heads)]


@dataclass
class Notes:
    """Notes below a table, each told once and numbered in the order of their marks."""

    told: list[str] = field(default_factory=list)

    def mark(self, note: str) -> str:
        """What follows the word that the note is about; "" for no note."""
        if not note:
            return ""
        if note not in self.told:
            self.told.append(note)
        return f" [{self.told.index(note) + 1}]"

    @property
    def lines(self) -> list[str]:
        """Each with its number."""
        return [f"[{number}] {note}" for number, note in enumerate(self.told, 1)]


def check_format(format: str) -> None:
    """Raise `StudyError` for a format that does not exist."""
    if format not in _FORMATS:
        raise StudyError(f"a table is {', '.join(_FORMATS)}, got {format!r}.")


def shown(layout: Layout, format: str) -> str:
    """The table as text, Markdown or LaTeX (for booktabs, the caption as a comment)."""
    return _FORMATS[format](layout)


def _text(layout: Layout) -> str:
    lines = [layout.columns, *layout.rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(layout.columns))]
    n_words = len(layout.labels)
    above, start = [" " * (sum(widths[:n_words]) + 2 * (n_words - 1))], n_words
    for head, below in layout.heads.items():
        end = start + len(below)
        widths[end - 1] += max(0, len(head) - sum(widths[start:end]) - 2 * (len(below) - 1))
        above.append(f" {head} ".center(sum(widths[start:end]) + 2 * (len(below) - 1), "-" if head else " "))
        start = end
    aligned = [
        "  ".join(cell.ljust(n) if place < n_words else cell.rjust(n) for place, (cell, n) in enumerate(cells))
        for cells in (list(zip(line, widths, strict=True)) for line in lines)
    ]
    heads = ["  ".join(above)] if any(layout.heads) else []
    rule = "  ".join("-" * width for width in widths)
    body = [line.rstrip() for line in (*heads, aligned[0], rule, *aligned[1:])]
    return "\n".join([layout.caption, "", *body, *([""] if layout.notes else []), *layout.notes])


def _markdown(layout: Layout) -> str:
    # Markdown has no heading over several columns, so each column tells it.
    heads = [f"{over}: {head}" if over else head for over, heads in layout.heads.items() for head in heads]
    lines = [[*layout.labels, *heads], ["---"] * len(layout.labels) + ["---:"] * len(heads), *layout.rows]
    table = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([layout.caption, "", *table, *(line for note in layout.notes for line in ("", note))])


def _latex(layout: Layout) -> str:
    n_words, n_numbers = len(layout.labels), len(layout.columns) - len(layout.labels)
    lines = [f"% {layout.caption}", rf"\begin{{tabular}}{{{'l' * n_words}{'r' * n_numbers}}}", r"\toprule"]
    if any(layout.heads):
        over = [rf"\multicolumn{{{len(below)}}}{{c}}{{{latex_text(head)}}}" for head, below in layout.heads.items()]
        lines.append(" & " * n_words + " & ".join(over) + r" \\")
        start = n_words + 1
        for head, below in layout.heads.items():
            lines += [rf"\cmidrule(lr){{{start}-{start + len(below) - 1}}}"] * bool(head)
            start += len(below)
    rows = [" & ".join(map(latex_text, row)) + r" \\" for row in (layout.columns, *layout.rows)]
    lines += [rows[0], r"\midrule", *rows[1:], r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*lines, *(rf"\par {latex_text(note)}" for note in layout.notes)])


_FORMATS: Mapping[str, Callable[[Layout], str]] = {"text": _text, "markdown": _markdown, "latex": _latex}
