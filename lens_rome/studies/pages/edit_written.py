"""What was written: which weights changed and by how much, what the key and the value are, and the search for it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lens_rome.editing import Edit
from lens_rome.editing.describe import sizes, title
from lens_rome.editing.weights import place_name
from lens_rome.studies.one_edit import EditStory
from lens_rome.studies.pages.document import folded, section
from lens_rome.studies.pages.edit_key_value import is_identity, key_and_value
from lens_rome.studies.pages.elements import Markup, isolated, tag
from lens_rome.studies.pages.line_chart import line_chart
from lens_rome.studies.pages.shares import number
from lens_rome.studies.pages.table import Head, data_table

HEADING = "2 · What was written"
_WORTH_TELLING = 0.01  # share of the change that rounding loses
_MEANINGS = {
    "prob_before": "probability of the new object at the edited prompt, before",
    "prob_after": "the same after the edit",
    "delta_norm": "length of what the search added to the layer’s output",
    "relative_norm": "norm of the change over the norm of the weight",
    "key_energy": "kᵀC⁻¹k: how unusual the key is for the corpus; the larger, the cheaper to write at it alone",
    "key_angle_degrees": "mean angle between the keys of single contexts and their mean",
    "overshoot": "how far the new value is overshot at the averaged key; near 1 is on the mark",
    "condition": "condition number of the second moment C",
}
"""Diagnostics that a reader may not know by their names."""
_ALIKE = {"key_energy": "kᵀk: the squared length of the key"}
"""What they are where there is no second moment."""


def written_section(story: EditStory, *findings: Markup) -> Markup:
    """The sentence about the change, its places, key and value, losses and diagnostics."""
    edit, provenance = story.edit, story.edit.provenance
    parts = [_lead(edit), *key_and_value(provenance), _places(edit), *_losses(provenance), *_diagnostics(provenance)]
    contexts = [str(each) for each in provenance.get("contexts", ()) if each]
    if contexts:
        listed = tag("ul", *(tag("li", isolated(each)) for each in contexts))
        parts.append(folded(f"Contexts in front of the prompt: {len(contexts)}", listed))
    return section(HEADING, *parts, *findings, name="written")


def _lead(edit: Edit) -> Markup:
    """Who wrote where, and how large that is."""
    norms = edit.norms()
    names = [place_name(place) for place in norms]
    several = f"{len(names)} parameters ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
    where = names[0] if len(names) == 1 else several
    whole = math.hypot(*(edit.bases[place].norm for place in norms))
    share = math.hypot(*(norm for norm, _ in norms.values())) / whole if whole else math.inf
    told = [tag("b", title(edit.provenance)), f" changed {where} by {100 * share:.3g}% of its norm ({_size(edit)})."]
    return tag("p", *told, _uncertainty(edit), class_="lead")


def _size(edit: Edit) -> str:
    return sizes(edit.deltas.values())


def _uncertainty(edit: Edit) -> str:
    """An edit is one computation and no sample; what another one would give differs by the contexts that a seed draws,
    and by rounding.
    """
    lost = max((base.rounding or 0.0 for base in edit.bases.values()), default=0.0)
    dtype = next(iter(edit.bases.values())).dtype
    rounded = f"; rounding to {dtype} lost {100 * lost:.2g}% of it" if lost > _WORTH_TELLING else ""
    seed = edit.provenance.get("settings", {}).get("seed")
    told = "" if seed is None else f"; another seed than {seed} would give a slightly different one"
    return f" The figure is exact and has no interval, for the edit is one computation and no sample{told}{rounded}."


def _places(edit: Edit) -> Markup:
    heads = [
        Head("parameter", number=False),
        Head("change", "Kind and size of the change", number=False),
        Head("norm", "Frobenius norm of the change"),
        Head("of the weight’s", "The same over the weight’s norm"),
    ]
    rows = [
        [place_name(place), sizes([edit.deltas[place]]), number(norm), f"{100 * share:.3g}%"]
        for place, (norm, share) in edit.norms().items()
    ]
    return data_table(heads, rows, caption="What the edit adds to the weights")


def _losses(provenance: Mapping[str, Any]) -> list[Markup]:
    """The total loss by step."""
    told: Sequence[Any] = provenance.get("losses", ())
    if len(told) != 1:
        return []
    totals = [float(step["total"]) for step in told[0] if isinstance(step, Mapping) and "total" in step]
    return [line_chart(totals, caption="Loss of the search for the new value (nats)")] if totals else []


def _shown(name: str, value: float) -> str:
    return f"{100 * value:.4g}%" if name.startswith("prob") else number(value)


def _diagnostics(provenance: Mapping[str, Any]) -> list[Markup]:
    """What the editor measured of its own edit."""
    told = provenance.get("diagnostics", ())
    found = told[0] if len(told) == 1 and isinstance(told[0], Mapping) else {}
    meanings = {**_MEANINGS, **(_ALIKE if is_identity(provenance) else {})}
    rows = [
        [name.replace("_", " "), _shown(name, float(value)), meanings.get(name, "")]
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    heads = [Head("diagnostic", number=False), Head("value"), Head("what it is", number=False)]
    return [data_table(heads, rows, caption="What the editor measured of its own edit")] if rows else []
