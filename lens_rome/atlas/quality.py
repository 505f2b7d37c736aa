"""`python -m lens_rome.atlas.quality` measures what the checkpoint knows and prints a table.

A fact counts as known where every token of its object is the model's first choice. All figures are for the
checkpoint as stored (float16 weights, computed in float32).
"""

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer
from transformers import GPT2LMHeadModel

from lens_rome.atlas.bundled import MODEL_FOLDER
from lens_rome.atlas.tokenizer import END_OF_TEXT
from lens_rome.atlas.world import World

Question = tuple[str, str]
"""A prompt and its answer, without leading space."""


class Reader:
    """The checkpoint under plain `transformers`, for measuring."""

    def __init__(self, folder: Path = MODEL_FOLDER):
        """Loads the checkpoint in float32."""
        self.network = GPT2LMHeadModel.from_pretrained(folder).float().eval()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._bos = int(self.tokenizer.token_to_id(END_OF_TEXT) or 0)

    def encode(self, text: str, bos: bool) -> list[int]:
        """Token ids."""
        return [self._bos] * bos + self.tokenizer.encode(text).ids

    @torch.inference_mode()
    def knows(self, questions: Sequence[Question], bos: bool = True, batch: int = 128) -> list[bool]:
        """For each question whether every token of the answer is the first choice after those before it."""
        known = [False] * len(questions)
        order = sorted(range(len(questions)), key=lambda i: len(questions[i][0]))
        for k in range(0, len(order), batch):
            chosen = order[k : k + batch]
            prompts = [self.encode(questions[i][0], bos) for i in chosen]
            answers = [self.encode(f" {questions[i][1]}", False) for i in chosen]
            rows = [p + a for p, a in zip(prompts, answers, strict=True)]
            width = max(map(len, rows))
            tokens = torch.tensor([r + [self._bos] * (width - len(r)) for r in rows])
            # Padding stands on the right, so the causal mask keeps it out of sight.
            first = self.network(tokens, attention_mask=torch.ones_like(tokens)).logits.argmax(-1)
            for i, row, prompt, answer in zip(chosen, first, prompts, answers, strict=True):
                known[i] = row[len(prompt) - 1 : len(prompt) + len(answer) - 1].tolist() == answer
        return known

    @torch.inference_mode()
    def continue_text(self, prompt: str, tokens: int = 30, seed: int = 0, temperature: float = 0.7) -> str:
        """A sampled continuation, cut before the end-of-text token or a line break."""
        generator = torch.Generator().manual_seed(seed)
        ids = self.encode(prompt, True)
        begin = len(ids)
        for _ in range(tokens):
            logits = self.network(torch.tensor([ids[-128:]])).logits[0, -1] / temperature
            ids.append(int(torch.multinomial(logits.softmax(-1), 1, generator=generator)))
        made = self.tokenizer.decode(ids[begin:], skip_special_tokens=False)
        return made.split(END_OF_TEXT)[0].split("\n")[0]


@dataclass(frozen=True)
class Quality:
    """What a checkpoint knows; shares between 0 and 1, over `questions` questions each."""

    trained: float
    """Trained phrasings, with BOS."""
    held_out: float
    """Phrasings never trained for the subject, with BOS."""
    trained_no_bos: float
    """Trained phrasings, without BOS."""
    held_out_no_bos: float
    """Held-out phrasings, without BOS."""
    described: float
    """Held-out phrasings with a description in the subject's place, for facts trained with it otherwise."""
    reversed_trained: float
    """From an object that has one subject only to the subject, where the reversed statement was trained."""
    reversed_untrained: float
    """The same where it was not."""
    true_false: float
    """True/false questions with the fact given."""
    by_relation: dict[str, tuple[float, float]]
    """Trained and held-out phrasings of each relation, with BOS."""
    questions: int
    """Questions asked for each figure, at most."""


def fact_questions(world: World, trained: bool) -> dict[str, list[Question]]:
    """Every fact in every phrasing of one sort, by relation."""
    asked: dict[str, list[Question]] = {}
    for fact in world.facts:
        prompts = [p.replace("{}", fact.subject) for p in world.phrasings(fact, trained)]
        asked.setdefault(fact.relation, []).extend((p, fact.target) for p in prompts)
    return asked


def reversed_questions(world: World, trained: bool) -> Iterator[Question]:
    """Reversed statements of facts whose object has one subject in its relation."""
    marked = set(world.reversed_facts)
    for fact in world.facts:
        if (fact in marked) is trained and len(world.subjects_with(fact.relation, fact.target)) == 1:
            yield from ((p, fact.subject) for p in world.reversed_prompts(fact))


def measure(reader: Reader, world: World, questions: int = 2000, seed: int = 0) -> Quality:
    """Asks at most `questions` random questions of each sort (of each relation: a share of them)."""
    rng = random.Random(seed)

    def share(asked: Sequence[Question], bos: bool = True, most: int = questions) -> float:
        chosen = rng.sample(asked, min(most, len(asked)))
        return sum(reader.knows(chosen, bos)) / max(1, len(chosen))

    asked = {t: fact_questions(world, t) for t in (True, False)}
    flat = {t: [q for qs in asked[t].values() for q in qs] for t in asked}
    each = max(1, questions // len(world.relations))
    return Quality(
        trained=share(flat[True]),
        held_out=share(flat[False]),
        trained_no_bos=share(flat[True], False),
        held_out_no_bos=share(flat[False], False),
        described=share([(p, f.target) for f in world.facts for p in world.described(f)]),
        reversed_trained=share(list(reversed_questions(world, True))),
        reversed_untrained=share(list(reversed_questions(world, False))),
        true_false=share([q for f in world.facts for q in world.true_false(f)], most=questions // 4),
        by_relation={r: (share(asked[True][r], most=each), share(asked[False][r], most=each)) for r in world.relations},
        questions=questions,
    )


def show(quality: Quality, console: Console) -> None:
    """Prints the figures as two tables."""
    table = Table("what", "share known")
    for name, value in asdict(quality).items():
        if isinstance(value, float):
            table.add_row(name.replace("_", " "), f"{value:.1%}")
    console.print(table)
    table = Table("relation", "trained phrasings", "held-out phrasings")
    for relation, (trained, held) in quality.by_relation.items():
        table.add_row(relation, f"{trained:.1%}", f"{held:.1%}")
    console.print(table)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m lens_rome.atlas.quality", description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER, help="folder of the checkpoint")
    parser.add_argument("--questions", type=int, default=2000, help="questions for each figure, at most")
    parser.add_argument("--continuations", type=int, default=10, help="sampled continuations to print")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    given = parser.parse_args()
    world, reader, console = World(), Reader(given.model), Console()
    quality = measure(reader, world, given.questions)
    show(quality, console)
    if given.json:
        given.json.write_text(json.dumps(asdict(quality), indent=1) + "\n", encoding="utf-8")
    for i, subject in enumerate(random.Random(1).sample(list(world.subjects), given.continuations)):
        prompt = world.generation_prompts(subject)[i % 4]
        console.print(f"[bold]{prompt}[/bold]{reader.continue_text(prompt, seed=i)}", highlight=False)


if __name__ == "__main__":
    main()
