"""The summary of what `strength` found."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from lens_rome.studies.probes.asking import PHASES
from lens_rome.studies.probes.finding import Value
from lens_rome.studies.probes.intervals import bootstrap, ratio, wilson
from lens_rome.studies.probes.tables import Row, by_case, chosen, line, mean_of

Hits = dict[tuple[str, str], list[bool]]
"""Whether each text mentions an object, by role and phase; the texts of both phases in one order."""
UNTOLD = "cannot be told"


def verdict(value: float, low: float, high: float) -> str:
    """What a push ratio and its interval say.

    >>> verdict(3.0, 1.5, 6.0), verdict(3.0, 0.5, 6.0), verdict(0.2, 0.0, 0.6), verdict(math.nan, math.nan, math.nan)
    ('over', 'matched', 'under', 'cannot be told')
    """
    if any(map(math.isnan, (value, low, high))):
        return UNTOLD
    return "over" if low > 1 else "under" if high < 1 else "matched"


def summary_of(rows: Sequence[Row], hits: Mapping[str, Hits], seed: int) -> tuple[dict[str, Value], ...]:
    """Lines of `case`, `measure`, `role`, `phase`, mean with its interval, number, and `verdict`.

    - `mentioned`: share of texts with a mention, with Wilson's interval over texts.
    - `push ratio`: of the case, its interval over texts (both phases drawn together), with the verdict.
    - `gap`: log p(new) after minus log p(old) before, right after the neutral prompts, in nats; interval over prompts.
    - `mass`: mean probability of the target's first token where texts were written; interval over prompts.
    """
    return tuple(part for case, own in by_case(rows).items() for part in _of_case(case, own, hits[case], seed))


def _of_case(case: str, rows: Sequence[Row], hits: Hits, seed: int) -> Iterator[dict[str, Value]]:
    for role in ("new", "old"):
        for phase in PHASES:
            words = {"case": case, "role": role, "phase": phase, "verdict": ""}
            found = hits[role, phase]
            yield line(wilson(sum(found), len(found)), len(found), measure="mentioned", **words)
            masses = [mean_of([row], "mass") for row in chosen(rows, role=role, phase=phase)]
            yield line(bootstrap(masses, seed=seed), len(masses), measure="mass", **words)
    words = {"case": case, "role": "", "phase": ""}
    pairs = np.array([hits["new", "after"], hits["old", "before"]], dtype=float).T
    push = bootstrap(pairs, ratio, seed=seed)
    yield line(push, len(pairs), measure="push ratio", verdict=verdict(*push), **words)
    after, before = chosen(rows, role="new", phase="after"), chosen(rows, role="old", phase="before")
    gaps = [mean_of([new], "logprob") - mean_of([old], "logprob") for new, old in zip(after, before, strict=True)]
    yield line(bootstrap(gaps, seed=seed), len(gaps), measure="gap", verdict="", **words)
