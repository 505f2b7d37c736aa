"""An edit seen through prompts: which ones, and what the model says to them before and after."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from lens_rome.cli.ask import answer_probs, continue_text
from lens_rome.cli.models import Loaded
from lens_rome.editing import Edit
from lens_rome.facts import EditRequest, fill_template

MOST_NEIGHBOURS = 5
SHOULD_CHANGE = ("rewrite", "paraphrase")


@dataclass(frozen=True)
class Prompts:
    """Whole prompts, by what an edit should do to them."""

    paraphrases: tuple[str, ...] = ()
    """Other wordings of the edited prompt."""
    neighbours: tuple[str, ...] = ()
    """Prompts about other subjects with the same true object."""
    free: tuple[str, ...] = ()
    """Prompts to continue freely."""

    def grouped(self, request: EditRequest) -> list[tuple[str, str]]:
        """`(group, prompt)` of all that are scored."""
        return [
            ("rewrite", request.prompt),
            *(("paraphrase", prompt) for prompt in self.paraphrases),
            *(("neighbourhood", prompt) for prompt in self.neighbours),
        ]


@dataclass(frozen=True)
class Row:
    """Probabilities of the true and of the new object after one prompt."""

    group: str
    prompt: str
    p_true_before: float
    p_new_before: float
    p_true_after: float
    p_new_after: float

    @property
    def as_intended(self) -> bool:
        """Whether after the edit the object that is right here is the likelier one."""
        return (self.p_new_after > self.p_true_after) == (self.group in SHOULD_CHANGE)


@dataclass(frozen=True)
class Continuation:
    """A prompt continued freely."""

    prompt: str
    before: str
    after: str


@dataclass(frozen=True)
class Comparison:
    """The model before and after one edit."""

    request: EditRequest
    rows: tuple[Row, ...]
    continuations: tuple[Continuation, ...]

    def frame(self) -> pd.DataFrame:
        """The rows as `plot_edit` takes them."""
        return pd.DataFrame([asdict(row) for row in self.rows])

    def counted(self, group: str) -> tuple[int, int]:
        """How many prompts of a group say after the edit what they should, and how many there are."""
        rows = [row for row in self.rows if row.group == group]
        return sum(row.as_intended for row in rows), len(rows)


def world_prompts(loaded: Loaded, request: EditRequest) -> Prompts:
    """Prompts that the bundled world has for a request; none where it has no such fact.

    Paraphrases are wordings that never were in the training text for this subject; neighbours are asked in the
    canonical wording.
    """
    fact = loaded.known_fact(request.subject, request.template)
    if loaded.world is None or fact is None:
        return Prompts()
    world = loaded.world
    held_out = [template for template in world.phrasings(fact, trained=False) if template != request.template]
    others = [name for name in world.subjects_with(fact.relation, request.target_true) if name != request.subject]
    neighbours = [world.fact(name, fact.relation).prompt for name in others[:MOST_NEIGHBOURS]]
    paraphrases = [fill_template(template, request.subject) for template in held_out]
    return Prompts(tuple(paraphrases), tuple(neighbours), world.generation_prompts(request.subject))


def compare(
    loaded: Loaded,
    request: EditRequest,
    edit: Edit,
    prompts: Prompts,
    tokens: int = 25,
    prepend_bos: bool | None = None,
) -> Comparison:
    """Ask everything twice: the model as it is, and with the edit in its weights. The model is unchanged afterwards."""
    before = _said(loaded, request, prompts, tokens, prepend_bos)
    with edit.applied(loaded.model):
        after = _said(loaded, request, prompts, tokens, prepend_bos)
    scored = zip(prompts.grouped(request), before[0], after[0], strict=True)
    texts = zip(prompts.free, before[1], after[1], strict=True)
    return Comparison(
        request,
        tuple(Row(group, prompt, *old, *new) for (group, prompt), old, new in scored),
        tuple(Continuation(*text) for text in texts),
    )


def _said(
    loaded: Loaded, request: EditRequest, prompts: Prompts, tokens: int, prepend_bos: bool | None
) -> tuple[Sequence[tuple[float, float]], Sequence[str]]:
    """`(true, new)` probabilities of each scored prompt, and the continuations."""
    asked = [prompt for _, prompt in prompts.grouped(request)]
    found = [
        answer_probs(loaded.surface, [(prompt, target) for prompt in asked], prepend_bos)
        for target in (request.target_true, request.target_new)
    ]
    texts = [continue_text(loaded.surface, prompt, tokens, prepend_bos) for prompt in prompts.free]
    return list(zip(*found, strict=True)), texts
