"""The command line: `lens-rome demo`, `trace`, `edit` and `moments`, one module a command."""

import typer

from lens_rome.cli.demo import demo
from lens_rome.cli.edit import edit
from lens_rome.cli.moments import moments
from lens_rome.cli.trace import trace

app = typer.Typer(
    help="Locate, rewrite and measure facts in TransformerLens models. Begin with: lens-rome demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (demo, trace, edit, moments):
    app.command()(_command)


def main() -> None:
    """What the script `lens-rome` runs."""
    app(prog_name="lens-rome")
