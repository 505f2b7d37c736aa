"""What every probe asks of its cases before it asks anything of a model."""

from collections.abc import Sequence
from typing import Any, TypeVar

from lens_rome.errors import FactError
from lens_rome.facts import EditRequest
from lens_rome.studies.probes.texts import mentions

Kind = TypeVar("Kind")


def by_name(cases: Sequence[Kind], kind: type[Kind]) -> dict[str, Kind]:
    """The cases by their names.

    Raises:
        FactError: none, something else, or two of one name.
    """
    found: dict[str, Kind] = {}
    for case in [cases] if isinstance(cases, kind) else cases:
        if not isinstance(case, kind):
            raise FactError(f"the probe takes {kind.__name__}s, got {case!r}.")
        name: Any = getattr(case, "name")  # noqa: B009
        if name in found:
            raise FactError(f"two cases have the name {name!r}. Give each a name of its own.")
        found[name] = case
    if not found:
        raise FactError(f"no cases to probe. Give one {kind.__name__} at least.")
    return found


def check_case(name: str, request: EditRequest) -> None:
    """Raise `FactError` unless a case has a name, and its request an old object to compare with."""
    if not name.strip():
        raise FactError("a case needs a name.")
    if not request.target_true:
        raise FactError(f"case {name!r}: the request {request} has no target_true. Say which object holds before it.")


def check_texts(name: str, what: str, texts: Sequence[str], *, fewest: int = 1) -> None:
    """Raise `FactError` unless there are so many texts, none of them empty."""
    if isinstance(texts, str) or len(texts) < fewest or not all(isinstance(t, str) and t.strip() for t in texts):
        raise FactError(f"case {name!r}: {what} must be {fewest} or more non-empty texts, got {texts!r}.")


def check_without(name: str, what: str, texts: Sequence[str], names: Sequence[str], why: str) -> None:
    """Raise `FactError` if one of the texts names one of `names`."""
    for text in texts:
        for each in names:
            if mentions(text, [each]):
                raise FactError(f"case {name!r}: {what} {text!r} names {each!r}. {why}")


def check_counts(**counts: int) -> None:
    """Raise `FactError` unless all settings are whole numbers from 1."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise FactError(f"{name} must be a whole number from 1, got {count!r}.")
