"""What the tests of evaluation share: records with targets of several tokens, and edits of every hooked kind."""

from typing import Any

import torch

from lens_rome.editing import Edit, LowRankDelta
from lens_rome.editing.delta import Delta, DenseDelta, Place, RowsDelta
from lens_rome.facts import EditRequest, EvalRecord
from lens_rome.surface import as_surface

RECORDS = [
    EvalRecord(
        11,
        EditRequest("Steve Jobs", "{} was the founder of", "Spanish piano", "Apple"),
        paraphrase_prompts=("He said that Steve Jobs made", "The work of Steve Jobs is"),
        neighborhood_prompts=("The founder of the iPhone is", "The Eiffel Tower is in"),
        attribute_prompts=("In Rome they say",),
    ),
    EvalRecord(
        12,
        EditRequest("Danielle Darrieux", "The mother tongue of {} is", "French piano", "Russian in Rome"),
        paraphrase_prompts=("Danielle Darrieux was born in",),
        neighborhood_prompts=("The language in Catalonia is", "The Eiffel Tower is in"),
    ),
    EvalRecord(
        13,
        EditRequest("Rome", "{} is", "E"),
        neighborhood_prompts=("The Eiffel Tower is in", "Steve Jobs"),
        neighborhood_answers=("Spanish", "was the founder"),
    ),
]
"""Two targets of several tokens after one prompt; a prompt of all records; no object that held before; answers of the
neighbours' own.
"""


def made(model: Any, deltas: dict[Place, Delta]) -> Edit:
    return Edit.made_for(as_surface(model), deltas, {"model": "tiny"})


def lowrank(model: Any, place: Place, rank: int, seed: int = 0, size: float = 0.1) -> LowRankDelta:
    generator = torch.Generator().manual_seed(seed)
    d_in, d_out = as_surface(model).parameter(*place).shape
    left = torch.randn(d_in, rank, generator=generator, dtype=torch.float64)
    return LowRankDelta(size * left, torch.randn(rank, d_out, generator=generator, dtype=torch.float64))


def bias(model: Any, place: Place, seed: int = 0) -> DenseDelta:
    shape = as_surface(model).parameter(*place).shape
    return DenseDelta(torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def rank_one(model: Any, layer: int, seed: int = 0) -> Edit:
    """As ROME's."""
    return made(model, {(layer, "W_out"): lowrank(model, (layer, "W_out"), 1, seed)})


def several_layers(model: Any, seed: int = 0) -> Edit:
    """As MEMIT's: other ranks in other layers."""
    return made(model, {(i, "W_out"): lowrank(model, (i, "W_out"), rank, seed + i) for i, rank in ((1, 3), (2, 2))})


def inner(model: Any, seed: int = 0) -> Edit:
    """As MEND's: both matrices of the last layers, and a bias where there is one."""
    places = [(layer, name) for layer in (2, 3) for name in ("W_in", "W_out")]
    deltas: dict[Place, Delta] = {place: lowrank(model, place, 2, seed + i) for i, place in enumerate(places)}
    if getattr(as_surface(model).model.blocks[3].mlp, "b_out", None) is not None:
        deltas[3, "b_out"] = bias(model, (3, "b_out"), seed)
    return made(model, deltas)


def embedding_row(model: Any) -> Edit:
    """No hook form, and it changes what enters the first block."""
    shape = as_surface(model).parameter(-1, "W_E").shape
    change = torch.randn((1, shape[1]), generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return made(model, {(-1, "W_E"): RowsDelta(torch.tensor([7]), change, shape[0])})


def dense(model: Any) -> Edit:
    """As fine-tuning's."""
    return made(model, {(1, "W_out"): DenseDelta(lowrank(model, (1, "W_out"), 8, 3).dense())})
