"""`lens-rome study`: the questions that people bring to an edit, one command each."""

import typer

from lens_rome.cli.study_edit import edit
from lens_rome.cli.study_limits import limits
from lens_rome.cli.study_localization import localization
from lens_rome.cli.trace_task import Command

study = typer.Typer(help="Ask what tracing tells about editing, and what an edit did.", no_args_is_help=True)

for _command in (localization, limits, edit):
    study.command(cls=Command)(_command)
