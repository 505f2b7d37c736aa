"""The summary of what `strength` found."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from lens_rome.studies.probes.asking import PHASES
from lens_rome.studies.probes.finding import Value
from lens_rome.studies.probes.intervals import LEAST, bootstrap, ratio, wilson
from lens_rome.studies.probes.tables import Row, by_case, chosen, line, mean_of

Hits = dict[tuple[str, str], list[bool]]
"""Whether each text mentions an object, by role and phase; the texts of both phases in one order."""
UNTOLD, UNCHANGED = "cannot be told", "unchanged"


def verdict(push: float, difference: tuple[float, float, float]) -> str:
    """What a push ratio and the difference of its two shares, with its interval, say.

    The ratio is above 1 where the difference is above 0. Its own interval would be of no width where one share is 0.

    >>> verdict(3.0, (0.2, 0.1, 0.3)), verdict(3.0, (0.2, -0.1, 0.5)), verdict(0.2, (-0.4, -0.6, -0.2))
    ('over', 'matched', 'under')
    """
    _, low, high = difference
    if not math.isfinite(push) or math.isnan(low) or math.isnan(high):
        return UNTOLD
    return "over" if low > 0 else "under" if high < 0 else "matched"


def push_of(
    shares: Float[np.ndarray, "case two"], seed: int, units: Sequence[str] | None = None
) -> tuple[float, float, float]:
    """The push ratio of the new object's share after and the old one's before, with its interval; all NaN where the old
    object is never mentioned, for nothing can be said to be as often as that.
    """
    push = bootstrap(shares, ratio, seed=seed, units=units)
    return push if math.isfinite(push[0]) else (math.nan, math.nan, math.nan)


def changes_nothing(rows: Sequence[Row], hits: Hits) -> bool:
    """Whether an edit left all texts' mentions, and what is said right after the neutral prompts, as they were."""
    before, after = (chosen(rows, phase=phase) for phase in PHASES)
    moved = [abs(mean_of([b], "logprob") - mean_of([a], "logprob")) for b, a in zip(before, after, strict=True)]
    return max(moved) < LEAST and all(hits[role, "before"] == hits[role, "after"] for role in ("new", "old"))


def summary_of(rows: Sequence[Row], hits: Mapping[str, Hits], seed: int) -> tuple[dict[str, Value], ...]:
    """Lines of `case`, `measure`, `role`, `phase`, mean with its interval, number, and `verdict`.

    - `mentioned`: share of texts with a mention, with Wilson's interval over the texts of these prompts.
    - `push ratio`: of the case, its interval over texts (both phases drawn together), with the verdict: "unchanged",
      "over", "matched", "under" or "cannot be told".
    - `push difference`: of the same two shares, from which the verdict is read off.
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
    push = push_of(pairs, seed)
    difference = bootstrap(pairs[:, 0] - pairs[:, 1], seed=seed)
    told = verdict(push[0], difference)
    told = UNCHANGED if math.isfinite(push[0]) and changes_nothing(rows, hits) else told
    yield line(push, len(pairs), measure="push ratio", verdict=told, **words)
    yield line(difference, len(pairs), measure="push difference", verdict="", **words)
    after, before = chosen(rows, role="new", phase="after"), chosen(rows, role="old", phase="before")
    gaps = [mean_of([new], "logprob") - mean_of([old], "logprob") for new, old in zip(after, before, strict=True)]
    yield line(bootstrap(gaps, seed=seed), len(gaps), measure="gap", verdict="", **words)
