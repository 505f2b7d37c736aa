"""Stories of edits for tests, made by hand: no model."""

import math

import torch

from lens_rome.editing import Edit
from lens_rome.editing.base import Base
from lens_rome.editing.delta import LowRankDelta
from lens_rome.facts import EditRequest
from lens_rome.studies.one_edit import EditStory, Question, Reply, Written
from lens_rome.studies.probes import Answer, Finding, Missing
from lens_rome.tracing import TraceResult
from lens_rome.tracing.settings import TraceSettings

SUBJECT, NEW, OLD = "Eiffel Tower", "Rome", "Paris"
LAYERS, TOKENS = 4, ("<|endoftext|>", "The", " Eiffel", " Tower", " is", "\n")


def made_trace(kind: str = "resid", *, seed: int = 0, strong: bool = True, answer: str = OLD) -> TraceResult:
    """Three noise samples; the state of layer 2 at the subject's last token brings back most."""
    generator = torch.Generator().manual_seed(seed)
    noised = 0.1 + 0.02 * torch.rand(3, generator=generator, dtype=torch.float64)
    scores = noised + 0.1 * (torch.rand(LAYERS, len(TOKENS), 3, generator=generator, dtype=torch.float64) - 0.3)
    scores[2, 3] += 0.5
    scores[3, 0] = math.nan
    clean = 0.9 if strong else 0.1
    settings = TraceSettings(
        kind, 1 if kind == "resid" else 3, "3σ", 0.4, 3, 7, True, "tiny", "hooked", False, "torch.float32"
    )
    return TraceResult(
        scores, noised, clean, "The Eiffel Tower is\n", SUBJECT, tuple(range(6)), TOKENS, (2, 4), answer, (6,), answer,
        settings,
    )  # fmt: skip


def made_edit(editor: str = "ROME") -> Edit:
    """A change of rank 1 whose norm is 6, of a weight whose norm is 24."""
    left, right = torch.zeros(3, 1), torch.zeros(1, 2)
    left[1], right[0, 1] = 2.0, 3.0
    provenance = {
        "editor": editor,
        "settings": {"layer": 1, "lookup": "subject_last", "seed": 5},
        "model": "tiny",
        "prepend_bos": True,
        "contexts": ["", "Some context. "],
        "diagnostics": [{"prob_before": 0.002, "prob_after": 0.97, "key_energy": 993.3, "overshoot": 0.87}],
        "losses": [[{"total": 4.0}, {"total": 1.0}, {"total": 0.25}]],
    }
    return Edit(
        {(1, "W_out"): LowRankDelta(left, right)}, {(1, "W_out"): Base("a", "b", "float32", 24.0, rounding=1e-7)},
        provenance,
    )  # fmt: skip


def reply(group: str, prompt: str, *probs: float, old: str = OLD, ranks: tuple[int, int] = (1, 1)) -> Reply:
    """Probabilities of the new object before and after, then of the old one; the subject's in the reverse groups."""
    if group.startswith("reverse"):
        return Reply(Question(group, prompt, SUBJECT), probs[0], probs[1], math.nan, math.nan, 0, 0, "S", "S")
    new_before, new_after, old_before, old_after = probs
    question = Question(group, prompt, NEW, old)
    return Reply(question, new_before, new_after, old_before, old_after, *ranks, "before", "after")


REPLIES = (
    reply("rewrite", "The Eiffel Tower is in", 0.01, 0.95, 0.9, 0.02),
    reply("paraphrase", "Find the Eiffel Tower in", 0.02, 0.6, 0.8, 0.2),
    reply("paraphrase", "The Eiffel Tower stands in", 0.02, 0.3, 0.8, 0.5),
    reply("neighbor", "The Louvre is in", 0.01, 0.05, 0.9, 0.85),
    reply("neighbor", "Notre-Dame is in", 0.01, 0.7, 0.9, 0.1),
    reply("own fact", "The Eiffel Tower is in the country of", 0.0, 0.1, 0.99, 0.3, old="France", ranks=(1, 3)),
    reply("attribute", "The Colosseum is in", 0.9, 0.95, 0.01, 0.01),
    reply("description", "The iron tower by Gustave is in", 0.01, 0.02, 0.8, 0.7),
    reply("reverse new", "A sight of Rome is the", 0.02, 0.0225),
    reply("reverse old", "A sight of Paris is the", 0.4, 0.39),
    reply("related", "Big Ben is in", 0.0, 0.2, 0.9, 0.8, old="London"),
)
TEXTS = tuple(
    Written(prompt, f"{prompt} is in {OLD} {place}.", f"{prompt} is in {NEW} {place}.")
    for prompt in ("The Eiffel Tower", "Near the Eiffel Tower")
    for place in range(3)
)
FINDINGS = (
    Finding(
        "direction",
        "Does it hold in reverse?",
        Answer("reverse over forward", 0.0123, -0.01, 0.05, 12, "Only `forward`."),
        tuple(
            {"case": "a", "prompt": "p", "phase": phase, "target": NEW, "logprob": -1.5, "flag": True}
            for phase in ("before", "after")
        ),
        (
            {"measure": "forward", "case": "a", "mean": 9.2, "low": 7.1, "high": 11.2, "n": 12},
            {"measure": "reverse", "case": "a", "mean": math.nan, "low": math.nan, "high": math.nan, "n": 0},
        ),
        (Missing("Big Ben", "the unedited model does not say it"),),
        {"seed": 3},
    ),
    Finding(
        "hops",
        "Does it hop?",
        Answer("not asked", math.nan, math.nan, math.nan, 0, "Nothing."),
        (),
        missing=(Missing("the edit", "no description was asked"),),
    ),
    Finding("bleed", "Does it bleed?", Answer("bleed", 1.95, math.nan, math.nan, 1, "It bleeds."), ({"case": "a"},)),
)


def made_story() -> EditStory:
    """A story with everything that a page can show."""
    request = EditRequest(SUBJECT, "The {} is in", NEW, OLD)
    traces = {kind: made_trace(kind, seed=seed) for seed, kind in enumerate(("resid", "mlp", "attn"))}
    return EditStory(request, made_edit(), traces, REPLIES, TEXTS, FINDINGS, {"model": "tiny", "seed": 0})
