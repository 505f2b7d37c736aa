"""The command line: `lens-rome demo`, `trace`, `edit`, `evaluate`, `edits`, `moments`, `report` and `study`."""

from typing import Annotated

import typer

import lens_rome
from lens_rome.cli.demo import demo
from lens_rome.cli.edit import edit
from lens_rome.cli.edits import edits
from lens_rome.cli.evaluate import evaluate
from lens_rome.cli.moments import moments
from lens_rome.cli.report import report
from lens_rome.cli.study import study
from lens_rome.cli.trace import trace
from lens_rome.cli.trace_task import Command


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"lens_rome {lens_rome.__version__}")
        raise typer.Exit
    return wanted


_HELP = "Locate, rewrite and measure facts in TransformerLens models. Begin with: lens-rome demo"
app = typer.Typer(
    help=_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(help=_HELP)
def _about(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options of the command line itself."""


for _command in (demo, trace, edit, evaluate, moments, report):
    app.command(cls=Command)(_command)
app.add_typer(edits, name="edits")
app.add_typer(study, name="study")


def main() -> None:
    """What the script `lens-rome` runs."""
    app(prog_name="lens-rome")
