"""What the tests of editing share: a request, contexts of different lengths, and moments made for the purpose."""

from typing import Any

import torch

from lens_rome.editing import ROME, RROME, Edit, ValueSettings
from lens_rome.editing.key import KeyValues, read_keys
from lens_rome.editing.rows import prompt_rows
from lens_rome.facts import EditRequest
from lens_rome.moments import MomentOrigin, SecondMoment
from lens_rome.surface import as_surface

REQUEST = EditRequest("Steve Jobs", "{} was the founder of", "French piano")
"""Its target has several tokens."""
OTHER_REQUEST = EditRequest("Danielle Darrieux", "The mother of {} is", "Spanish")
CONTEXTS = ("", "He said that. ", "It was a quiet day in the winter. ")
LAYER = 1
SHORT = ValueSettings(steps=4)

NO_PROBE = "ignore:the moment of layer .* does not say which model it is of"
"""Filter for moments made here: they were not collected, so no probe text tells their model."""
DISABLING = "ignore::lens_rome.editing.DisablingEditWarning"
"""Filter where the size of an edit does not matter: random models are easily ruined."""


def random_moment(model: Any, layer: int = LAYER, seed: int = 0) -> SecondMoment:
    """A well conditioned moment that is far from the identity."""
    size = int(as_surface(model).weight(layer).shape[0])
    generator = torch.Generator().manual_seed(seed)
    scales = torch.logspace(0, 0.7, size, dtype=torch.float64)[:, None]
    factor = scales * torch.randn(size, 4 * size, generator=generator, dtype=torch.float64)
    return SecondMoment(layer, factor @ factor.T, 4 * size, MomentOrigin("random", None, "made up"))


def quick_rome(layer: int = LAYER, **settings: Any) -> ROME:
    return ROME(layer, **{"value": SHORT, "contexts": CONTEXTS, **settings})


def quick_rrome(layer: int = LAYER, **settings: Any) -> RROME:
    return RROME(layer, **{"value": SHORT, "contexts": CONTEXTS, **settings})


def quick_edit(model: Any, request: EditRequest = REQUEST, layer: int = LAYER, **settings: Any) -> Edit:
    """An ordinary ROME edit in few steps."""
    return quick_rome(layer, **settings).edit(model, request, moments=random_moment(model, layer))


def keys_of(model: Any, contexts: tuple[str, ...] = CONTEXTS, layer: int = LAYER) -> KeyValues:
    """Keys and values of `REQUEST`, a row a context."""
    surface = as_surface(model)
    (found,) = read_keys(surface, [prompt_rows(surface, REQUEST, contexts, "subject_last", None)], layer)
    return found


def dense(edit: Edit, layer: int = LAYER) -> torch.Tensor:
    return edit.deltas[layer, "W_out"].dense()
