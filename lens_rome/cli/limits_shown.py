"""Which lines of a probe's summary `lens-rome study limits` prints, those that decide the answer first."""

import math
from collections.abc import Callable, Mapping, Sequence

from lens_rome.studies.probes.finding import Value

Row = Mapping[str, Value]
Rows = Sequence[Row]


def of_direction(rows: Rows) -> Rows:
    """Cases that contradict themselves, then changes, then what the edited model says."""
    after = [row for row in rows if row["phase"] != "before"]
    return _first(after, lambda row: row["measure"] == "inconsistent", lambda row: row["measure"] == "change")


def of_hops(rows: Rows) -> Rows:
    """Changes, then the edited model, then the unedited one."""
    return _first(rows, lambda row: row["phase"] == "change", lambda row: row["phase"] == "after")


def of_strength(rows: Rows) -> Rows:
    """Of each case the ratio with its verdict; then both shares and the gap."""
    both = (("new", "after"), ("old", "before"))
    chosen = [
        row
        for row in rows
        if row["measure"] in ("push ratio", "gap")
        or (row["measure"] == "mentioned" and (row["role"], row["phase"]) in both)
    ]
    return _first(chosen, lambda row: row["measure"] == "push ratio")


def of_bleed(rows: Rows) -> Rows:
    """The bleed of the new object, how often it is the most likely word, and the same of known answers."""
    shown = [row for row in rows if row["measure"] != "logprob"]
    return _first(
        shown,
        lambda row: row["role"] == "new" and str(row["measure"]).startswith("bleed"),
        lambda row: row["role"] == "new" and row["measure"] == "most likely",
        lambda row: row["role"] == "new",
    )


def of_concept(rows: Rows) -> Rows:
    """Of all tests: ratios of leaks, then the other lines of both objects' difference and of the margin."""
    chosen = [
        {name: value for name, value in row.items() if name not in ("template", "over")}
        for row in rows
        if row["template"] == "all" and row["of"] in ("shift", "margin")
    ]
    return _first(chosen, lambda row: str(row["measure"]).startswith("leak ratio"))


def best_layers(rows: Rows) -> Rows:
    """The best layer of each token by S, and the unedited model."""
    scores = [row for row in rows if row["measure"] == "S"]
    found: dict[Value, Row] = {}
    for row in scores:
        best = found.get(row["token"])
        if best is None or _number(row["mean"]) > _number(best["mean"]):
            found[row["token"]] = row
    return list(found.values())


def of_sets(rows: Rows) -> Rows:
    """S of each set, then how far keys spread, and how large the change is."""
    chosen = [row for row in rows if row["measure"] in ("S", "relative spread", "change")]
    return _first(chosen, lambda row: row["measure"] == "S")


def _first(rows: Rows, *wanted: Callable[[Row], bool]) -> Rows:
    """The rows that each condition chooses, one condition after the other, then all others; each in its order."""
    return sorted(rows, key=lambda row: next((place for place, of in enumerate(wanted) if of(row)), len(wanted)))


def _number(value: Value) -> float:
    return float(value) if isinstance(value, int | float) and not math.isnan(value) else float("-inf")
