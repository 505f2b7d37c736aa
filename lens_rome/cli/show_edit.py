"""An edit on the terminal: what it did to every prompt, and what it is."""

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lens_rome.cli.comparison import SHOULD_CHANGE, Comparison, Row
from lens_rome.cli.show_places import median_written, places_table
from lens_rome.editing import Edit
from lens_rome.editing.describe import sizes
from lens_rome.facts import EditRequest
from lens_rome.surface import OUTSIDE

_TITLES = {
    "rewrite": "Rewritten prompt",
    "paraphrase": "Paraphrases",
    "neighbourhood": "Neighbours",
}
# Probabilities stand in the table of prompts, the size beside the change.
_ELSEWHERE = ("prob_before", "prob_after", "relative_norm")


def show_edit(console: Console, edit: Edit, comparison: Comparison) -> None:
    """Diagnostics, the before/after table, and the free continuations."""
    request = comparison.request
    console.print(
        f"\n[bold]{escape(request.prompt)}[/bold]: {escape(request.target_true)} → "
        f"[bold]{escape(request.target_new)}[/bold]",
        soft_wrap=True,
    )
    console.print(_diagnostics(edit), soft_wrap=True)
    if len(edit.deltas) > 1:
        console.print()
        console.print(places_table(edit, median_written(edit.provenance["diagnostics"])))
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
    """What the edit is, and what was measured when it was made."""
    (found,) = edit.provenance["diagnostics"]
    if "key_energy" in found:
        measured = (
            f"kᵀC⁻¹k {found['key_energy']:.3g}, keys {found['key_angle_degrees']:.0f}° apart, "
            f"overshoot {found['overshoot']:.2f}, condition number of C {found['condition']:.1e}."
        )
    else:
        numbers = {name: value for name, value in found.items() if isinstance(value, int | float)}
        shown = [f"{name.replace('_', ' ')} {value:.3g}" for name, value in numbers.items() if name not in _ELSEWHERE]
        measured = f"{', '.join(shown)}." if shown else ""
    return "\n".join(filter(None, (_headline(edit), measured)))


def _headline(edit: Edit) -> str:
    """One change in a sentence, several in number; a table follows for these."""
    losses = edit.provenance.get("losses", ())
    steps = f", found in {len(losses[0])} steps" if len(losses) == 1 else ""
    editor = edit.provenance["editor"]
    if len(edit.deltas) > 1:
        return f"{editor}: a change of {len(edit.deltas)} parameters{steps}."
    (((layer, name), delta),) = edit.deltas.items()
    ((_, share),) = edit.norms().values()
    kind = f"a rank-{delta.rank} change" if delta.kind == "lowrank" else f"a change ({sizes([delta])})"
    at = "" if layer == OUTSIDE else f" at layer {layer}"
    return f"{editor}{at}: {kind} of {name}, {share:.1%} of its norm{steps}."


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
    request, new = comparison.request, group in SHOULD_CHANGE
    told = f"{request.target_new} likelier" if new else f"{request.target_true} still likelier"
    return f"{_TITLES[group]}: {told} in {right} of {count}"


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
