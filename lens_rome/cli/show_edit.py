"""An edit on the terminal: what it did to every prompt, and what it is."""

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lens_rome.cli.comparison import SHOULD_CHANGE, Comparison, Row
from lens_rome.editing import Edit
from lens_rome.facts import EditRequest

_TITLES = {
    "rewrite": "Rewritten prompt",
    "paraphrase": "Paraphrases",
    "neighbourhood": "Neighbours",
}


def show_edit(console: Console, edit: Edit, comparison: Comparison) -> None:
    """Diagnostics, the before/after table, and the free continuations."""
    request = comparison.request
    console.print(
        f"\n[bold]{escape(request.prompt)}[/bold]: {escape(request.target_true)} → "
        f"[bold]{escape(request.target_new)}[/bold]",
        soft_wrap=True,
    )
    console.print(_diagnostics(edit), soft_wrap=True)
    console.print()
    console.print(_table(comparison))
    for text in comparison.continuations:
        console.print(f"\n[bold]{escape(text.prompt)}[/bold] …")
        table = Table(box=None, show_header=False, pad_edge=True, padding=(0, 1, 0, 1))
        table.add_row("before:", _marked(text.before, request))
        table.add_row("after:", _marked(text.after, request))
        console.print(table)


def _marked(text: str, request: EditRequest) -> Text:
    """The text with both objects in bold, and dots where it was cut inside a sentence."""
    marked = Text(text if text.endswith((".", "!", "?")) else text + " …")
    marked.highlight_words([request.target_true, request.target_new], "bold")
    return marked


def _diagnostics(edit: Edit) -> str:
    provenance, ((layer, name),) = edit.provenance, edit.deltas
    found = provenance["diagnostics"][0]
    return (
        f"{provenance['editor']} at layer {layer}: a rank-{edit.rank} change of {name}, "
        f"{found['relative_norm']:.1%} of its norm, found in {len(provenance['losses'][0])} steps.\n"
        f"kᵀC⁻¹k {found['key_energy']:.3g}, keys {found['key_angle_degrees']:.0f}° apart, "
        f"overshoot {found['overshoot']:.2f}, condition number of C {found['condition']:.1e}."
    )


def _table(comparison: Comparison) -> Table:
    request = comparison.request
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("probability of", header_style="bold", ratio=1)
    for when in ("before", "after"):
        for target in (request.target_true, request.target_new):
            table.add_column(Text(f"{target}\n{when}"), header_style="bold", justify="right", min_width=6)
    for group in dict.fromkeys(row.group for row in comparison.rows):
        table.add_row(Text(_heading(comparison, group), style="bold"), *[""] * 4)
        for row in comparison.rows:
            if row.group == group:
                table.add_row(Padding(Text(row.prompt), (0, 0, 0, 2)), *_cells(row))
    return table


def _heading(comparison: Comparison, group: str) -> str:
    right, count = comparison.counted(group)
    verb = "changed" if group in SHOULD_CHANGE else "unchanged"
    return f"{_TITLES[group]}: {right} of {count} {verb}"


def _cells(row: Row) -> list[Text]:
    """The likelier object of each pair in bold; after the edit green where it is the right one, else red."""
    cells = []
    for true, new, style in (
        (row.p_true_before, row.p_new_before, "bold"),
        (row.p_true_after, row.p_new_after, "bold green" if row.as_intended else "bold red"),
    ):
        cells += [Text(f"{true:.1%}", style=style if true > new else ""),
                  Text(f"{new:.1%}", style=style if new > true else "")]  # fmt: skip
    return cells
