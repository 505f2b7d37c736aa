"""What the tests of studies share: few requests, an editor of few steps, and moments made for the purpose."""

from typing import Any

from lens_rome.editing import MEMIT, ValueSettings
from lens_rome.facts import EditRequest, EvalRecord
from lens_rome.moments import SecondMoments
from lens_rome.surface import as_surface
from tests.editing.support import CONTEXTS, SHORT, quick_rome, random_moment

REQUESTS = [
    EditRequest("Steve Jobs", "{} was the founder of", "Spanish", "Apple"),
    EditRequest("Danielle Darrieux", "The mother tongue of {} is", "English", "French"),
    EditRequest("The Space Needle", "{} is in the city of", "Rome", "Seattle"),
    EditRequest("Catalonia", "The language in {} is", "Russian", "Catalan"),
]
OTHERS = [
    EvalRecord(
        7,
        EditRequest("The Eiffel Tower", "{} is in", "Rome", "Paris"),
        neighborhood_prompts=("The Louvre is in", "The Space Needle is in the city of"),
    )
]
TEXTS = ("The Eiffel Tower is in Paris.", "He said that it was a quiet day.")
PROMPTS = ("The city of", "He said that")
ROME = quick_rome()
MEMIT_EDITOR = MEMIT((0, 1), weight=3.0, value=ValueSettings(steps=4, clamp=0.75), contexts=CONTEXTS)
MEASURED: dict[str, Any] = {"others": OTHERS, "texts": TEXTS, "prompts": PROMPTS, "tokens": 6, "progress": False}

__all__ = ["MEASURED", "MEMIT_EDITOR", "OTHERS", "PROMPTS", "REQUESTS", "ROME", "SHORT", "TEXTS", "moments_of"]


def moments_of(model: Any) -> SecondMoments:
    return SecondMoments([random_moment(model, layer, seed=layer) for layer in range(as_surface(model).n_layers)])
