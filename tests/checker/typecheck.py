"""The checker that jaxtyping's pytest option puts on every function of the package, see `pyproject.toml`."""

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException

# An `int` is a `float`, as it is for static checkers.
_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def typechecked(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with its arguments and its result checked at every call.

    Hints that only static checkers can check, such as plain protocols, leave their function as it is.
    """
    try:
        return _checked(function)
    except BeartypeDecorHintException:
        return function
