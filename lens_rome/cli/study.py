"""`lens-rome study`: the questions that people bring to an edit, one command each."""

import typer

from lens_rome.cli.study_localization import localization
from lens_rome.cli.trace_task import Command

study = typer.Typer(help="Ask what tracing tells about editing, and what an edit did.", no_args_is_help=True)


@study.callback()
def _about() -> None:
    """Keeps the name of a command in its place while there is only one."""


study.command(cls=Command)(localization)
