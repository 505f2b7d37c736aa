"""`lens-rome edits`: what edit files hold. No model is loaded."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lens_rome.cli.output import plain
from lens_rome.cli.reporting import console, reporting
from lens_rome.cli.show_places import describe_places, places_table
from lens_rome.cli.tables import plain_table
from lens_rome.editing import Edit
from lens_rome.editing.describe import title

edits = typer.Typer(help="Look at files of edits.", no_args_is_help=True)
_FIRST = 20


@edits.callback()
def _about() -> None:
    """Look at files of edits."""


@edits.command()
@reporting
def show(
    file: Annotated[Path, typer.Argument(help="A file that `lens-rome edit --save` or Edit.save wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    every: Annotated[bool, typer.Option("--all", help=f"All requests, not only the first {_FIRST}.")] = False,
) -> None:
    """Print what an edit changes and how it was made, without its model.

    Example: lens-rome edits show eiffel_in_rome.safetensors
    """
    edit = Edit.load(file)
    if as_json:
        # Straight out: rich would break long lines.
        typer.echo(json.dumps(plain(describe_file(edit)), indent=1, ensure_ascii=False, allow_nan=False))
        return
    _show(console(), edit, every)


def describe_file(edit: Edit) -> dict[str, Any]:
    """An edit for JSON: title, changed places, number of keys by layer, provenance."""
    return {
        "title": title(edit.provenance),
        "places": describe_places(edit),
        "keys": {str(layer): len(keys) for layer, keys in edit.keys.items()},
        "provenance": dict(edit.provenance),
    }


def _show(screen: Console, edit: Edit, every: bool) -> None:
    told = edit.provenance
    screen.print(f"\n[bold]{escape(title(told))}[/bold] of {escape(str(told.get('model', 'an unknown model')))}")
    screen.print(_made(told), soft_wrap=True)
    for part in told.get("sum", [told]):
        screen.print(_settings(part), style="dim", soft_wrap=True)
    screen.print()
    screen.print(places_table(edit))
    if edit.keys:
        keys = ", ".join(f"{len(keys)} at layer {layer}" for layer, keys in edit.keys.items())
        screen.print(f"Keys kept, for later edits to leave alone: {keys}.", style="dim", soft_wrap=True)
    requests, found = told.get("requests", []), _diagnostics(told)
    most = len(requests) if every else _FIRST
    screen.print()
    screen.print(_requests_table(requests[:most], found[:most]))
    if len(requests) > most:
        screen.print(f"… and {len(requests) - most} more; --all prints them.", style="dim")


def _made(told: Mapping[str, Any]) -> str:
    """Surface, BOS and moments, where the file tells."""
    bos = {True: "with BOS", False: "without BOS"}.get(told.get("prepend_bos", "untold"), "")
    surface = f"on the {told['surface']} surface" if "surface" in told else ""
    parts = [*filter(None, [surface, bos]), *dict.fromkeys(_moments(part) for part in told.get("sum", [told]))]
    return f"Made {', '.join(filter(None, parts))}." if any(parts) else ""


def _moments(told: Mapping[str, Any]) -> str:
    """`moments of 20,000 tokens of atlas corpus`; the moments of several layers are of one corpus."""
    found = told.get("moment", {})
    # Editors of one layer keep one moment, those of several a moment by layer.
    one = found if "count" in found else next(iter(found.values()), {})
    if "count" not in one:
        return ""
    corpus = one.get("corpus")
    return f"moments of {one['count']:,} tokens" + (f" of {corpus}" if corpus else "")


def _settings(told: Mapping[str, Any]) -> str:
    """The editor's settings in one line, those of its parts with a dot."""
    flat = _flat(told.get("settings", {}))
    return escape(f"{title(told)}: {', '.join(f'{name}={value}' for name, value in flat.items())}") if flat else ""


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {before + name: value}
    return flat


def _diagnostics(told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What was measured for each request, those of a sum's parts one after the other; empty where not all tell."""
    parts = told.get("sum", [told])
    found = [each for part in parts for each in part.get("diagnostics", part.get("unscaled_diagnostics", ()))]
    return found if len(found) == len(told.get("requests", ())) else []


def _requests_table(requests: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> Table:
    """A row for each request, with the numbers that were measured when the edit was made."""
    flat = [_flat(each) for each in found]
    names = list(dict.fromkeys(name for each in flat for name, value in each.items() if isinstance(value, int | float)))
    table = plain_table("request", *(_head(name) for name in names))
    for index, request in enumerate(requests):
        numbers = [flat[index].get(name) if flat else None for name in names]
        prompt = request["template"].replace("{}", request["subject"])
        cells = ["–" if number is None else f"{number:.3g}" for number in numbers]
        table.add_row(escape(f"{prompt} → {request['target_new']}"), *cells)
    return table


def _head(name: str) -> str:
    """`prob_after` as `p after`, `written.3` as `written L3`."""
    return name.replace("prob_", "p ").replace("_", " ").replace(".", " L")
