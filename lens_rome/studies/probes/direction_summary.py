"""The summary of what `direction` found."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lens_rome.studies.probes.asking import PHASES
from lens_rome.studies.probes.finding import Value
from lens_rome.studies.probes.intervals import bootstrap, ratio, wilson
from lens_rome.studies.probes.tables import Row, by_case, change, chosen, line, mean_of

_OF_THE_EDIT = (("forward", "object"), ("reverse", "subject"))


def told_inconsistent(rows: Sequence[Row]) -> bool:
    """Whether, of a case, the edited model says the new object forward and still the subject of the old object."""
    after = chosen(rows, phase="after")
    forward = chosen(after, direction="forward", object="new")
    back = chosen(after, direction="reverse", object="old", role="subject")
    return all(bool(row["says"]) for row in forward) and any(bool(row["says"]) for row in back)


def summary_of(rows: Sequence[Row], seed: int) -> tuple[dict[str, Value], ...]:
    """Lines of `measure`, `direction`, `object`, `phase`, mean over cases with its interval, and number of cases.

    - `change`: of log p(target), after minus before, in nats: the table of both directions and both objects.
    - `says`: share of prompts after which the model says the target.
    - `mentions`: share of reverse prompts' samples that mention the subject; `then new`: of those, the share that goes
      on to mention the new object.
    - `competitor`: share of reverse prompts with the new object after which some competitor is likelier than the
      subject.
    - `inconsistent`: share of cases, with Wilson's interval.
    """
    cases = list(by_case(rows).values())
    return tuple([*_changes(cases, seed), *_shares(cases, seed), *_inconsistent(cases)]) if cases else ()


def _changes(cases: list[list[Row]], seed: int) -> Iterator[dict[str, Value]]:
    for way, role in _OF_THE_EDIT:
        for which in ("new", "old"):
            values = [change(own, direction=way, object=which, role=role) for own in cases]
            words = {"measure": "change", "direction": way, "object": which, "phase": "change"}
            yield line(bootstrap(values, seed=seed), len(values), **words)


def _shares(cases: list[list[Row]], seed: int) -> Iterator[dict[str, Value]]:
    for phase in PHASES:
        for way, role in _OF_THE_EDIT:
            for which in ("new", "old"):
                own = [chosen(rows, phase=phase, direction=way, object=which, role=role) for rows in cases]
                words = {"direction": way, "object": which, "phase": phase}
                says = [mean_of(rows, "says") for rows in own]
                yield line(bootstrap(says, seed=seed), len(own), measure="says", **words)
                if way == "reverse":
                    yield from _of_texts(own, words, seed)
        yield from _competitors(cases, phase, seed)


def _of_texts(own: list[list[Row]], words: dict[str, str], seed: int) -> Iterator[dict[str, Value]]:
    counts = [[_total(rows, name) for name in ("then_new", "mentioned", "samples")] for rows in own]
    for measure, columns in (("mentions", (1, 2)), ("then new", (0, 1))):
        pairs = np.array([[row[column] for column in columns] for row in counts])
        # A case without a mention has nothing after it, and weighs nothing.
        yield line(bootstrap(pairs, ratio, seed=seed), int((pairs[:, 1] > 0).sum()), measure=measure, **words)


def _competitors(cases: list[list[Row]], phase: str, seed: int) -> Iterator[dict[str, Value]]:
    values = []
    for rows in cases:
        own = chosen(rows, phase=phase, direction="reverse", object="new")
        rivals: dict[Any, list[Any]] = {}
        for row in chosen(own, role="competitor"):
            rivals.setdefault(row["prompt"], []).append(row["logprob"])
        subject: dict[Any, Any] = {row["prompt"]: row["logprob"] for row in chosen(own, role="subject")}
        if rivals:
            values.append(sum(max(each) > subject[prompt] for prompt, each in rivals.items()) / len(rivals))
    if values:
        words = {"measure": "competitor", "direction": "reverse", "object": "new", "phase": phase}
        yield line(bootstrap(values, seed=seed), len(values), **words)


def _inconsistent(cases: list[list[Row]]) -> Iterator[dict[str, Value]]:
    share = wilson(sum(map(told_inconsistent, cases)), len(cases))
    yield line(share, len(cases), measure="inconsistent", direction="", object="", phase="after")


def _total(rows: Sequence[Row], column: str) -> float:
    numbers: list[Any] = [row[column] for row in rows]
    return float(sum(numbers))
