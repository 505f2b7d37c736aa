"""`lens-rome study`: the questions that people bring to an edit, one command each."""

import typer

from lens_rome.cli.study_edit import study_edit
from lens_rome.cli.study_limits import limits
from lens_rome.cli.study_localization import localization
from lens_rome.cli.trace_task import Command

study = typer.Typer(help="Ask what tracing tells about editing, and what an edit did.", no_args_is_help=True)

study.command(cls=Command)(localization)
study.command(cls=Command)(limits)
study.command("edit", cls=Command)(study_edit)
