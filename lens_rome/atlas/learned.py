"""`python -m lens_rome.atlas.learned --editor MEND --out FILE` trains a learned editor on the atlas and scores it.

It is trained on facts about the subjects of the split `train`, chosen by those of `validation`, and scored on records
about subjects of `evaluation`, which it has never seen: minutes on a CPU. FILE is then what `TrainedMEND.load` (or
`TrainedKnowledgeEditor.load`) reads; the scores lie beside it as JSON.
"""

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from lens_rome.atlas.load import load_atlas
from lens_rome.atlas.world import World
from lens_rome.editing.learned import MEND, KnowledgeEditor, TrainedKnowledgeEditor, TrainedMEND
from lens_rome.evaluation import EvalReport, evaluate, table
from lens_rome.facts import EditRequest, EvalRecord, Fact

EDITORS: dict[str, MEND | KnowledgeEditor] = {
    "MEND": MEND(layers=(0, 1, 2), steps=300, validate_every=75, edit_weight=0.4, neighbor_weight=1.0),
    "KE": KnowledgeEditor(layers=(0, 1, 2), steps=240, validate_every=60, edit_weight=0.4, neighbor_weight=1.0),
}
"""Settings for the bundled model. It looks subjects up in its first blocks; in the last three, which are published,
what is left of a subject is what its neighbours share, and an edit of it is one of them too.
"""
VALIDATION_FACTS = 64

WORDINGS = 3
"""Phrasings of a training record besides its own, at most."""

NEIGHBORS = 5
"""Neighbourhood prompts of a training record at most."""

FACTS_A_TEXT = 3
"""Sentences in one unrelated text."""


def training_records(world: World, split: str, seed: int = 0, targets: int = 2) -> list[EvalRecord]:
    """Records about the subjects of a split: each fact with up to `targets` wrong objects of its relation. No
    wording is a held-out phrasing: those are left for the scores.
    """
    subjects, made, objects = set(world.split(split)), [], _objects(world)
    for fact in (fact for fact in world.facts if fact.subject in subjects):
        rng = random.Random(f"{seed} {fact.subject} {fact.relation}")
        for target in _sample(rng, objects[fact.relation] - {fact.target}, targets):
            request = EditRequest(fact.subject, fact.template, target, fact.target, fact.relation)
            wordings, near = _wordings(world, fact, rng), _neighbors(world, fact, split, rng)
            made.append(EvalRecord(len(made), request, wordings, near))
    random.Random(seed).shuffle(made)
    return made


def _objects(world: World) -> dict[str, set[str]]:
    """The objects of each relation."""
    found: dict[str, set[str]] = {}
    for fact in world.facts:
        found.setdefault(fact.relation, set()).add(fact.target)
    return found


def _sample(rng: random.Random, objects: set[str], most: int) -> list[str]:
    return rng.sample(sorted(objects), min(most, len(objects)))


def _wordings(world: World, fact: Fact, rng: random.Random) -> tuple[str, ...]:
    """Some phrasings of the training text, and as many after a sentence that has nothing to do with the fact."""
    templates = [template for template in world.phrasings(fact) if template != fact.template]
    others = [template.replace("{}", fact.subject) for template in rng.sample(templates, min(WORDINGS, len(templates)))]
    return (*others, *(f"{rng.choice(world.source.distractors)} {prompt}" for prompt in others))


def _neighbors(world: World, fact: Fact, split: str, rng: random.Random) -> tuple[str, ...]:
    """Prompts in the canonical phrasing about other subjects of the split with the same object."""
    subjects = {"train", split}
    same = [
        other
        for other in world.subjects_with(fact.relation, fact.target)
        if other != fact.subject and world.subjects[other].split in subjects
    ]
    chosen = rng.sample(same, min(NEIGHBORS, len(same)))
    return tuple(world.fact(other, fact.relation).prompt for other in chosen)


def unrelated_texts(world: World, split: str = "train", seed: int = 0, count: int = 2000) -> list[str]:
    """Texts of a few true sentences about subjects of a split, in the wordings of the training text."""
    subjects, rng = set(world.split(split)), random.Random(seed)
    facts = [fact for fact in world.facts if fact.subject in subjects]
    return [" ".join(_sentence(world, fact, rng) for fact in rng.sample(facts, FACTS_A_TEXT)) for _ in range(count)]


def _sentence(world: World, fact: Fact, rng: random.Random) -> str:
    prompt = rng.choice(world.phrasings(fact)).replace("{}", fact.subject)
    return f"{prompt} {fact.target}."


def evaluation_records(world: World, count: int, seed: int = 0) -> list[EvalRecord]:
    """Records about subjects of the split `evaluation`, at random, in the order of their numbers."""
    subjects = set(world.split("evaluation"))
    asked = [record for record in world.records if record.request.subject in subjects]
    return sorted(random.Random(seed).sample(asked, min(count, len(asked))), key=lambda record: record.case_id)


def train(
    world: World, model: Any, editor: MEND | KnowledgeEditor, checkpoint: Path | None = None
) -> TrainedMEND | TrainedKnowledgeEditor:
    """The editor, trained on the atlas."""
    return editor.fit(
        model,
        training_records(world, "train"),
        validation=training_records(world, "validation", targets=1)[:VALIDATION_FACTS],
        texts=unrelated_texts(world),
        checkpoint=checkpoint,
    )


def train_into(
    path: Path, world: World, model: Any, editor: MEND | KnowledgeEditor
) -> TrainedMEND | TrainedKnowledgeEditor:
    """The editor, trained on the atlas and saved. What a killed call left beside `path` is continued."""
    checkpoint = path.with_suffix(".checkpoint")
    trained = train(world, model, editor, checkpoint)
    trained.save(path)
    checkpoint.unlink()
    return trained


def score(
    model: Any, trained: TrainedMEND | TrainedKnowledgeEditor, records: Sequence[EvalRecord]
) -> tuple[EvalReport, EvalReport]:
    """Reports of the unedited model, and of one edit a record."""
    return evaluate(model, records, label="unedited"), evaluate(model, records, trained, label=trained.name)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m lens_rome.atlas.learned", description=__doc__)
    parser.add_argument("--editor", choices=list(EDITORS), default="MEND")
    parser.add_argument("--out", type=Path, required=True, help="file of the trained editor (*.safetensors)")
    parser.add_argument("--records", type=int, default=60, help="records to score on")
    parser.add_argument("--steps", type=int, help="optimiser steps at most")
    parser.add_argument("--layers", type=int, nargs="+", help="blocks to edit")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chosen = {name: getattr(given, name) for name in ("steps", "seed") if getattr(given, name) is not None}
    chosen |= {"layers": tuple(given.layers)} if given.layers else {}
    editor = replace(EDITORS[given.editor], **chosen)
    (model, world), busy = load_atlas(), time.process_time()
    trained = train_into(given.out, world, model, editor)
    busy = time.process_time() - busy
    reports = score(model, trained, evaluation_records(world, given.records))
    Console().print(table(reports), trained, sep="\n", highlight=False)
    told = {
        "scores": {r.label: [r.efficacy.mean, r.paraphrase.mean, r.neighborhood.mean, r.overall] for r in reports},
        "records": given.records,
        "seconds": round(trained.record.seconds, 1),
        "cpu_seconds": round(busy, 1),
        "history": trained.record.history,
    }
    given.out.with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
