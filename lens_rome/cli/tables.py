"""Small pieces of terminal output that several commands print."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lens_rome.cli.output import Folder


def plain_table(*columns: str) -> Table:
    """A table with a head line and no frame; columns but the first stand on the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", header_style="bold")
    return table


def show_files(console: Console, folder: Folder) -> None:
    """The files that were written and what they are."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    for path, what in folder.written:
        table.add_row(escape(path.name), what, style="" if path.suffix in (".png", ".html") else "dim")
    console.print(f"\n[bold]Written to {escape(str(folder.path))}[/bold]", soft_wrap=True)
    console.print(table)
    if folder.missing:
        console.print(f"No pictures: {escape(folder.missing)}", style="yellow", soft_wrap=True)
