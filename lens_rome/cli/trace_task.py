"""Which of its three tasks `lens-rome trace` was given, and that all its options are of that task."""

import typer
from typer.core import TyperCommand

from lens_rome.cli.reporting import CommandError

_OF_ONE = ("--subject", "--template", "--target", "--answer", "--top")
_OF_MANY = ("--count", "--whole-target", "--all", "--retry-errors", "--engine", "--workers", "--ray-address", "--shard")
_OF_AVERAGE = ("--average", "--out")


class Command(TyperCommand):
    """A command whose functions get the context that they ask for; typer's own hands them its base class."""

    context_class = typer.Context


def check_one_task(context: typer.Context) -> None:
    """`CommandError` where options of two tasks are given (averaging, many facts, one fact): none is ignored."""
    given = _given(context)
    if "--average" in given:
        wrong = [option for option in given if option not in _OF_AVERAGE]
        if wrong:
            raise CommandError(
                f"--average reads traces that are there; leave out {_listed(wrong)}. What was traced and how was "
                "settled when the folder was made."
            )
    elif "--facts" in given:
        wrong = [option for option in given if option in _OF_ONE]
        if wrong:
            raise CommandError(f"--facts is for many facts; leave out {_listed(wrong)}, which {_is(wrong)} for one.")
    else:
        wrong = [option for option in given if option in _OF_MANY]
        if wrong:
            hint = " Give the text to trace by --answer." if "--whole-target" in wrong else ""
            raise CommandError(f"{_listed(wrong)} {_is(wrong)} for --facts; leave out, or name a file of facts.{hint}")


def _given(context: typer.Context) -> list[str]:
    """The options that were written on the command line, in the order of `--help`."""
    sources = {parameter: context.get_parameter_source(parameter.name or "") for parameter in context.command.params}
    return [parameter.opts[0] for parameter, source in sources.items() if source and source.name == "COMMANDLINE"]


def _listed(options: list[str]) -> str:
    return options[0] if len(options) == 1 else f"{', '.join(options[:-1])} and {options[-1]}"


def _is(options: list[str]) -> str:
    return "is" if len(options) == 1 else "are"
