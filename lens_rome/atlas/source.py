"""The data files of the atlas, read and checked: subjects, relations, facts, generation prompts.

Everything here is plain data without any model or tokenizer, so that training and tests can use it alone.
One CSV a subject type; its relation columns are the facts. `relations.json` holds the phrasings of each
relation, `generation.json` the prompts and passages of each type, `distractors.txt` neutral sentences.
"""

import csv
import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from lens_rome.errors import LensRomeError

DATA_FOLDER = Path(__file__).parent / "data"
FIXED_COLUMNS = ("subject", "article", "kind", "family", "aliases", "description")
SPLITS = ("train", "validation", "evaluation")
HELD_OUT_PHRASINGS = 2


class AtlasDataError(LensRomeError, ValueError):
    """A data file of the atlas is missing, malformed or contradicts another."""


def stable_fraction(*parts: str) -> float:
    """A number in [0, 1) that depends on `parts` only, on every machine and in every run."""
    digest = hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


@dataclass(frozen=True)
class Subject:
    """One entity of the world."""

    name: str
    """Canonical name, without article."""
    type: str
    """Stem of the data file it stands in, e.g. `landmarks`."""
    kind: str
    """Noun for "X is a KIND"."""
    article: str = ""
    """`the` or empty."""
    family: str = ""
    """Label of closely related subjects, or empty."""
    aliases: tuple[str, ...] = ()
    """Other names."""
    description: str = ""
    """Definite description without the name, lower case start, or empty."""

    @property
    def split(self) -> str:
        """`train` (70%), `validation` (10%) or `evaluation` (20%), fixed by the name."""
        share = stable_fraction("split", self.name)
        return SPLITS[0] if share < 0.7 else SPLITS[1] if share < 0.8 else SPLITS[2]


@dataclass(frozen=True)
class Relation:
    """One relation: a column of a data file and the ways to say it."""

    id: str
    """`<type>.<column>`."""
    wikidata: str
    """Property identifier, e.g. `P131`."""
    phrasings: tuple[str, ...]
    """Templates with one `{}` that end right before the object; the first is the canonical one."""
    reverse: tuple[str, ...]
    """Templates with `[object]` that end right before the subject."""
    statement: str
    """A full sentence with `{}` and `[object]`."""
    question: str
    """A yes/no question with `{}` and `[object]`."""

    @property
    def type(self) -> str:
        """Type of the subjects."""
        return self.id.split(".")[0]

    @property
    def column(self) -> str:
        """Column of the data file."""
        return self.id.split(".")[1]

    @cached_property
    def can_be_held_out(self) -> tuple[str, ...]:
        """The phrasings that no other phrasing contains, without the canonical one."""
        return tuple(p for p in self.phrasings[1:] if not any(p in other for other in self.phrasings if other != p))

    @cached_property
    def _held_out(self) -> dict[str, tuple[str, ...]]:
        return {}

    def held_out(self, subject: str) -> tuple[str, ...]:
        """The phrasings never used for this subject in training; the same on every machine."""
        if subject not in self._held_out:
            ranked = sorted(self.can_be_held_out, key=lambda p: stable_fraction("held", subject, self.id, p))
            self._held_out[subject] = tuple(ranked[:HELD_OUT_PHRASINGS])
        return self._held_out[subject]

    def trained(self, subject: str) -> tuple[str, ...]:
        """The phrasings used for this subject in training, the canonical one first."""
        held = self.held_out(subject)
        return tuple(p for p in self.phrasings if p not in held)


@dataclass(frozen=True)
class Generation:
    """Free-text material of one subject type."""

    prompts: tuple[str, ...]
    """Templates with `{}` about the subject, only implicitly about its relations."""
    continuations: tuple[tuple[str, ...], ...]
    """For each prompt, sentences with `[column]` placeholders."""
    passages: tuple[str, ...]
    """Whole short passages with `{}` and `[column]` placeholders."""


@dataclass(frozen=True)
class Source:
    """All data of the world. `answers[subject][relation id]` is the object's name."""

    subjects: dict[str, Subject]
    relations: dict[str, Relation]
    answers: dict[str, dict[str, str]]
    generation: dict[str, Generation]
    distractors: tuple[str, ...] = field(default=())

    @cached_property
    def by_object(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """Subjects of each (relation id, object), in file order."""
        table: dict[tuple[str, str], list[str]] = {}
        for name, row in self.answers.items():
            for relation, answer in row.items():
                table.setdefault((relation, answer), []).append(name)
        return {pair: tuple(names) for pair, names in table.items()}

    def held_out_prompts(self, subject: str) -> tuple[str, ...]:
        """Every filled held-out prompt of a subject."""
        article = self.subjects[subject].article
        return tuple(
            with_article(phrasing, article).replace("{}", subject)
            for relation in self.answers[subject]
            for phrasing in self.relations[relation].held_out(subject)
        )


def is_reversal_trained(subject: str, relation: str) -> bool:
    """Whether the reversed statement of this fact is in the training text: half of the facts, fixed."""
    return stable_fraction("reversed", subject, relation) < 0.5


def with_article(template: str, article: str) -> str:
    """`template` with the article put before its slot, capitalised where a sentence begins.

    >>> with_article("{} is in", "the"), with_article("To see {} is", "the")
    ('The {} is in', 'To see the {} is')
    """
    if not article:
        return template
    parts = template.split("{}")
    text = parts[0]
    for part in parts[1:]:
        begins = not text.strip() or text.rstrip()[-1] in ".!?"
        text += f"{article.capitalize() if begins else article} {{}}{part}"
    return text


def read_source(folder: Path = DATA_FOLDER) -> Source:
    """The checked content of a data folder.

    Raises:
        AtlasDataError: a file is missing or malformed, or a subject stands in two files.
    """
    relations = {r["id"]: _relation(r) for r in _read_json(folder / "relations.json")}
    generation = {g["type"]: _generation(g) for g in _read_json(folder / "generation.json")}
    subjects: dict[str, Subject] = {}
    answers: dict[str, dict[str, str]] = {}
    for type_ in dict.fromkeys(r.type for r in relations.values()):
        for row in _read_rows(folder / f"{type_}.csv"):
            subject = _subject(row, type_)
            if subject.name in subjects:
                raise AtlasDataError(f"subject {subject.name!r} stands twice in {folder}; rename one of them.")
            subjects[subject.name] = subject
            columns = {f"{type_}.{c}": v.strip() for c, v in row.items() if c not in FIXED_COLUMNS}
            answers[subject.name] = {r: v for r, v in columns.items() if v and r in relations}
    lines = (folder / "distractors.txt").read_text(encoding="utf-8").splitlines()
    return Source(subjects, relations, answers, generation, tuple(x.strip() for x in lines if x.strip()))


def _read_json(path: Path) -> list[dict]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise AtlasDataError(f"cannot read {path}: {error}") from error


def _read_rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except OSError as error:
        raise AtlasDataError(f"cannot read {path}: {error}") from error
    if tuple(reader.fieldnames or ())[: len(FIXED_COLUMNS)] != FIXED_COLUMNS:
        raise AtlasDataError(f"{path}: the header must begin with {', '.join(FIXED_COLUMNS)}; got {reader.fieldnames}.")
    for row in rows:
        if None in row or None in row.values():
            raise AtlasDataError(f"{path}: the row of {row.get('subject')!r} has a wrong number of cells.")
    return rows


def _subject(row: dict[str, str], type_: str) -> Subject:
    aliases = tuple(a.strip() for a in row["aliases"].split("|") if a.strip())
    fixed = {c: row[c].strip() for c in ("kind", "article", "family", "description")}
    return Subject(row["subject"].strip(), type_, aliases=aliases, **fixed)


def _relation(raw: dict) -> Relation:
    phrasings = tuple(dict.fromkeys(raw["phrasings"]))
    for text in (*phrasings, raw["statement"], raw["question"]):
        if text.count("{}") != 1:
            raise AtlasDataError(f"relation {raw['id']}: {text!r} must contain {{}} exactly once.")
    relation = Relation(raw["id"], raw["wikidata"], phrasings, tuple(raw["reverse"]), raw["statement"], raw["question"])
    if len(relation.can_be_held_out) < HELD_OUT_PHRASINGS + 1:
        raise AtlasDataError(f"relation {raw['id']} has too few phrasings that no other contains.")
    return relation


def _generation(raw: dict) -> Generation:
    return Generation(
        tuple(p["prompt"] for p in raw["prompts"]),
        tuple(tuple(p["continuations"]) for p in raw["prompts"]),
        tuple(raw["passages"]),
    )
