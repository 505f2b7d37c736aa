"""What an edit changes, parameter by parameter."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from rich.table import Table

from lens_rome.cli.tables import plain_table
from lens_rome.editing import Edit
from lens_rome.editing.describe import sizes
from lens_rome.surface import OUTSIDE


def describe_places(edit: Edit) -> list[dict[str, Any]]:
    """Each changed parameter for JSON: where, kind and size of the change, precision, fingerprints."""
    norms = edit.norms()
    return [
        {
            "layer": layer,
            "parameter": name,
            "kind": delta.kind,
            "rank": delta.rank,
            "norm": norms[layer, name][0],
            "relative_norm": norms[layer, name][1],
            "weight_norm": base.norm,
            "dtype": base.dtype,
            "rounding": base.rounding,
            "before": base.before,
            "after": base.after,
        }
        for (layer, name), delta in edit.deltas.items()
        for base in [edit.bases[layer, name]]
    ]


def places_table(edit: Edit, written: Mapping[int, float] | None = None) -> Table:
    """A row for each changed parameter; `written`, by layer, is told in a last column where it is given."""
    heads = ["place", "change", "norm", "of the weight's", "precision", "lost by rounding"]
    table = plain_table(*heads, *(["written at the keys"] if written else []))
    norms = edit.norms()
    for (layer, name), delta in edit.deltas.items():
        (norm, share), base = norms[layer, name], edit.bases[layer, name]
        lost = "–" if base.rounding is None else f"{base.rounding:.1e}"
        cells = [place(layer, name), sizes([delta]), f"{norm:.3g}", f"{share:.2%}", base.dtype, lost]
        table.add_row(*cells, *([f"{written[layer]:.0%}" if layer in written else "–"] if written else []))
    return table


def place(layer: int, name: str) -> str:
    """`layer 1 W_out`; the name alone outside the blocks."""
    return name if layer == OUTSIDE else f"layer {layer} {name}"


def median_written(diagnostics: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """By layer, the median over requests of the share of its residual that was written at the request's key; empty
    where the editor does not tell. The share of a residual near zero is anything, which would spoil a mean.
    """
    told = [each["written"] for each in diagnostics if "written" in each]
    layers = dict.fromkeys(layer for each in told for layer in each)
    return {int(layer): median(each[layer] for each in told) for layer in layers}
