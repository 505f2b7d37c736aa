"""What a caller may hand to `trace` and its kin, checked in one place before anything runs."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, SupportsFloat, SupportsIndex, TypedDict, cast

import numpy as np

from lens_rome.errors import TraceError
from lens_rome.facts import EditRequest, Fact
from lens_rome.tracing.compute import MEMORY
from lens_rome.tracing.corruption import AbstractCorruption, check_samples, check_seed
from lens_rome.tracing.places import Positions, Spans, is_whole
from lens_rome.tracing.window import whole_window


class SharedOptions(TypedDict, total=False):
    """The options of `trace` that have the same value for all facts of a call of `trace_facts`."""

    noise: SupportsFloat | str | AbstractCorruption
    samples: SupportsIndex
    window: SupportsIndex | None
    positions: Positions | None
    layers: SupportsIndex | Iterable[SupportsIndex] | None
    head: SupportsIndex | None
    together: bool
    answer: str | None
    metric: str
    direction: str
    corrupt: Spans | None
    severed: str | None
    original: bool
    seed: SupportsIndex
    prepend_bos: bool | None
    memory: SupportsFloat


class TraceOptions(SharedOptions, total=False):
    """The options of `trace` by name, for the functions that hand them on."""

    against: str | None


DEFAULTS: TraceOptions = {
    "noise": "3σ",
    "samples": 10,
    "window": None,
    "positions": None,
    "layers": None,
    "head": None,
    "together": False,
    "answer": None,
    "metric": "prob",
    "against": None,
    "direction": "denoise",
    "corrupt": None,
    "severed": None,
    "original": False,
    "seed": 1,
    "prepend_bos": None,
    "memory": MEMORY,
}
"""What `trace` does if nobody says otherwise."""

_TEXTS = ("metric", "direction")
_TEXTS_OR_NONE = ("answer", "against", "severed")
_SWITCHES = ("together", "original")


def check_options(options: Mapping[str, object]) -> TraceOptions:
    """All options, those not given at their defaults; NumPy's numbers as Python's.

    Whether names such as a metric's exist, and what fits the model and the fact, is checked where it is used.

    Raises:
        TraceError: an option that there is not, or a value of another type than the option takes.
    """
    check_names(options, DEFAULTS)
    found: dict[str, Any] = {**DEFAULTS, **options}
    for name in (*_TEXTS, *_TEXTS_OR_NONE):
        if not (isinstance(found[name], str) or (found[name] is None and name in _TEXTS_OR_NONE)):
            raise TraceError(f"{name} must be a text, got {found[name]!r}.")
    for name in (*_SWITCHES, "prepend_bos"):
        if not (isinstance(found[name], bool) or (found[name] is None and name == "prepend_bos")):
            raise TraceError(f"{name} must be True or False, got {found[name]!r}.")
    if found["corrupt"] is not None and not isinstance(found["corrupt"], Iterable):
        raise TraceError(
            f"corrupt takes texts and ranges (first, last) of positions in a list, got {found['corrupt']!r}."
        )
    for name in ("positions", "layers", "corrupt"):
        if isinstance(found[name], Iterator):
            found[name] = list(found[name])  # it is read for every kind and fact
    found["samples"], found["seed"] = check_samples(found["samples"]), check_seed(found["seed"])
    found["window"], found["head"] = whole_window(found["window"]), _head(found["head"])
    found["memory"] = _memory(found["memory"])
    return cast("TraceOptions", found)


def check_names(given: Iterable[str], known: Iterable[str]) -> None:
    """`TraceError` for an option that there is not; it names the nearest one."""
    names = list(known)
    for name in given:
        if name not in names:
            near = get_close_matches(name, names, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise TraceError(f"unknown option {name!r}; options are {', '.join(names)}.{hint}")


def check_kinds(kinds: object) -> list[str]:
    """The kinds, each once, in order; `TraceError` unless they are several texts. Whether they exist is not checked."""
    if isinstance(kinds, str) or not isinstance(kinds, Iterable):
        raise TraceError(f"kinds are a list of texts, got {kinds!r}; write e.g. ('resid',) for one kind.")
    found = list(kinds)
    if not found:
        raise TraceError("no kinds to trace; give e.g. ('resid', 'mlp', 'attn').")
    for kind in found:
        if not isinstance(kind, str):
            raise TraceError(f"a kind is a text such as 'resid', got {kind!r}.")
    return list(dict.fromkeys(found))


def check_fact(fact: object) -> Fact:
    """The fact itself; `TraceError` for anything else, such as a prompt or a request to edit."""
    if isinstance(fact, Fact):
        return fact
    hint = ""
    if isinstance(fact, EditRequest):
        hint = " The fact of a request is Fact(request.subject, request.template, request.target_true)."
    raise TraceError(f"a trace is of a Fact(subject, template, target), got {fact!r}.{hint}")


def named_facts(facts: object) -> dict[str, Fact]:
    """Facts by id, in their order: the keys of a mapping, as texts, or the places in a sequence.

    Raises:
        TraceError: none, a single fact, something that is no fact, or keys that are the same text.
    """
    if isinstance(facts, (str, Fact, EditRequest)) or not isinstance(facts, Iterable):
        raise TraceError(f"facts are a list of Fact or a mapping from ids to them, got {facts!r}. Put one in a list.")
    items = list(facts.items()) if isinstance(facts, Mapping) else list(enumerate(facts))
    if not items:
        raise TraceError("no facts to trace.")
    named: dict[str, Fact] = {}
    for key, fact in items:
        if str(key) in named:
            raise TraceError(f"two keys of the facts are written {str(key)!r}; give each fact an id of its own.")
        try:
            named[str(key)] = check_fact(fact)
        except TraceError as error:
            raise TraceError(f"fact {key!r}: {error}") from error
    return named


def named_answers(texts: Mapping[Any, object], facts: Collection[str]) -> dict[str, str]:
    """The second answer of each fact by id; `TraceError` where one is missing or no text."""
    given = {str(key): text for key, text in texts.items()}
    for name in facts:
        text = given.get(name)
        if not isinstance(text, str) or not text.strip():
            found = f"{text!r}" if name in given else "none"
            raise TraceError(f"against must hold a text for every fact; for {name!r} it holds {found}.")
    return {name: str(given[name]) for name in facts}


def _head(head: object) -> int | None:
    if head is not None and not is_whole(head):
        raise TraceError(f"head must be a whole number from 0 up, got {head!r}.")
    return None if head is None else int(head)


def _memory(memory: object) -> float:
    # A truth value is a number for Python.
    if isinstance(memory, bool) or not isinstance(memory, (int, float, np.number)) or not memory > 0:
        raise TraceError(f"memory must be a number of bytes above 0, got {memory!r}.")
    return float(memory)
