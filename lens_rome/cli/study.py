"""`lens-rome study`: the questions that people bring to an edit, one command each."""

import typer

study = typer.Typer(help="Ask what tracing tells about editing, and what an edit did.", no_args_is_help=True)
