"""How an edit was made, told of its sums and multiples, and as text."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lens_rome.editing.delta import Delta, LowRankDelta, RowsDelta

Provenance = Mapping[str, Any]


def of_sum(first: Provenance, second: Provenance) -> dict[str, Any]:
    """Provenance of a sum: its parts (a sum's own parts one by one), all requests, and what the parts share."""
    parts = [*_parts(first), *_parts(second)]
    told: dict[str, Any] = {"sum": parts}
    for name in ("model", "prepend_bos"):
        found = [part.get(name) for part in parts]
        if all(value == found[0] for value in found):
            told[name] = found[0]
    told["requests"] = [request for part in parts for request in part.get("requests", ())]
    return told


def _parts(provenance: Provenance) -> list[dict[str, Any]]:
    whole = "sum" in provenance and "scaled" not in provenance
    return [dict(part) for part in provenance["sum"]] if whole else [dict(provenance)]


def of_multiple(provenance: Provenance, factor: float) -> dict[str, Any]:
    """Provenance of `factor` times an edit. What was measured of the edit itself is kept under another name."""
    told = {**provenance, "scaled": factor * provenance.get("scaled", 1.0)}
    if "diagnostics" in told and factor != 1:
        told["unscaled_diagnostics"] = told.pop("diagnostics")
    return told


def title(provenance: Provenance) -> str:
    """What an edit is: `ROME`, `0.5 × ROME`, `ROME + R-ROME`."""
    parts: Sequence[Provenance] = provenance.get("sum", ())
    name = " + ".join(title(part) for part in parts) if parts else str(provenance.get("editor", "unknown"))
    factor = provenance.get("scaled", 1.0)
    if factor == 1:
        return name
    return f"{factor:g} × ({name})" if parts else f"{factor:g} × {name}"


def request_lines(provenance: Provenance) -> list[str]:
    """One line for each request."""
    return [
        f"  {request['template'].replace('{}', request['subject'])} → {request['target_new']}"
        for request in provenance.get("requests", ())
    ]


def sizes(deltas: Iterable[Delta]) -> str:
    """How large the changes are together: `rank 3`, `rank 3, 2 rows`, `2 dense`."""
    ranks = rows = dense = 0
    several = list(deltas)
    for delta in several:
        if isinstance(delta, LowRankDelta):
            ranks += delta.rank
        elif isinstance(delta, RowsDelta):
            rows += len(delta.rows)
        else:
            dense += 1
    low_rank = any(isinstance(delta, LowRankDelta) for delta in several) or not several
    told = [f"rank {ranks}" if low_rank else "", f"{rows} rows" if rows else "", f"{dense} dense" if dense else ""]
    return ", ".join(filter(None, told))
