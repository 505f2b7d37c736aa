"""What the tests of learned editors share: a few facts of a random model, and editors that train in a second."""

from collections.abc import Sequence
from typing import Any

import torch

from lens_rome.editing.delta import Place
from lens_rome.editing.learned import MEND, KnowledgeEditor, TrainedKnowledgeEditor, TrainedMEND
from lens_rome.editing.learned.changes import Change
from lens_rome.editing.learned.rows import TokenPair, token_pair
from lens_rome.facts import EditRequest, EvalRecord
from lens_rome.surface import AbstractSurface, as_surface

REQUEST = EditRequest("Steve Jobs", "{} was the founder of", "French piano")
OTHER_REQUEST = EditRequest("Danielle Darrieux", "The mother of {} is", "Spanish")
PLACES: tuple[Place, ...] = tuple((layer, name) for layer in (2, 3) for name in ("W_in", "W_out"))

TEXTS = ["The weather was fine.", "A quiet day in the winter", "He said that she was the one", "Rain"]


def record(case: int, subject: str, target: str) -> EvalRecord:
    request = EditRequest(subject, "{} is in the city of", target)
    others = (f"They say that {subject} is in", f"Where is {subject}? In")
    return EvalRecord(case, request, others, ("Berlin is in the city of", "The town of Oslo is in"))


_ANSWERS = {
    "Eiffel Tower": "Rome",
    "Louvre": "Berlin",
    "Big Ben": "Madrid",
    "Kremlin": "Old Paris",
    "Colosseum": "Oslo",
}
TRAINING = [record(i, subject, target) for i, (subject, target) in enumerate(_ANSWERS.items())]
VALIDATION = [record(10, "Prado", "Vienna"), record(11, "Tate", "Lisbon"), record(12, "Hermitage", "Rome")]

QUICK = {"steps": 4, "batch": 3, "validate_every": 2, "text_tokens": 6, "seed": 3}


def quick_mend(**settings: Any) -> MEND:
    return MEND(**{**QUICK, "rank": 4, "neighbor_weight": 0.5, **settings})


def quick_ke(**settings: Any) -> KnowledgeEditor:
    return KnowledgeEditor(**{**QUICK, "width": 4, "hidden": 6, **settings})


def fitted(editor: Any, model: Any, **arguments: Any) -> TrainedMEND | TrainedKnowledgeEditor:
    told = {"validation": VALIDATION, "texts": TEXTS, "progress": False, **arguments}
    return editor.fit(model, told.pop("facts", TRAINING), **told)


def pairs_of(model: Any, requests: Sequence[EditRequest] = (REQUEST, OTHER_REQUEST)) -> list[TokenPair]:
    surface = as_surface(model)
    return [token_pair(surface, request.prompt, request.target_new, None) for request in requests]


def random_changes(surface: AbstractSurface, count: int, rank: int = 2, size: float = 0.05) -> dict[Place, Change]:
    """Changes of `PLACES`, large enough to be seen."""
    generator = torch.Generator().manual_seed(1)
    made = {}
    for place in PLACES:
        d_in, d_out = surface.parameter(*place).shape
        left, right = (
            size * torch.randn(count, rank, int(d), generator=generator, dtype=surface.dtype) for d in (d_in, d_out)
        )
        made[place] = Change(left, right)
    return made
