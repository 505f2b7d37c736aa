"""The records that `lens-rome evaluate` scores, and the texts that it compares with."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from lens_rome.atlas import World
from lens_rome.cli.models import ATLAS
from lens_rome.cli.reporting import CommandError
from lens_rome.datasets import References, TfIdf, read_records, read_snippets, read_zsre, wanted_groups
from lens_rome.facts import EvalRecord

COUNTERFACT = "counterfact"
FORMS = ("meng", "hase")

Data = Annotated[str, typer.Option("--data", "-d", help="`atlas`, `counterfact` (fetched), or a file of records.")]
Split = Annotated[str | None, typer.Option("--split", help="Of the atlas's subjects: train, validation or evaluation.")]
Sample = Annotated[int | None, typer.Option("--sample", min=1, help="So many of them, drawn with --seed.")]


@dataclass(frozen=True)
class DataOptions:
    """Options that choose records.

    Raises:
        CommandError: options that do not go together.
    """

    source: str = ATLAS
    """`atlas`, `counterfact`, or a file."""
    zsre: str | None = None
    """The form in which a file of zsRE is read; None for CounterFact's schema."""
    split: str | None = None
    """Of the atlas's subjects."""
    limit: int | None = None
    """Only records whose case id is below it."""
    sample: int | None = None
    """So many of these, drawn at random."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.split is not None and self.source != ATLAS:
            raise CommandError("--split is of the atlas's subjects; leave it out, or give --data atlas.")
        if self.zsre is not None and self.zsre not in FORMS:
            raise CommandError(f"--zsre takes {' or '.join(FORMS)}; got {self.zsre!r}.")
        if self.zsre is not None and self.source in (ATLAS, COUNTERFACT):
            raise CommandError(f"--zsre reads a file of zsRE; give it by --data, not {self.source}.")

    def records(self, world: World | None) -> list[EvalRecord]:
        """The chosen records, in the order of their source.

        Args:
            world: the bundled one if it is there already.

        Raises:
            CommandError: none is left.  DatasetError: not a file of records.  UnknownFactError: no such split.
        """
        records = self._all(world)
        if self.sample is not None:
            chosen = random.Random(self.seed).sample(range(len(records)), min(self.sample, len(records)))
            records = [records[place] for place in sorted(chosen)]
        if not records:
            raise CommandError("these options leave no record; raise --limit.")
        return records

    def _all(self, world: World | None) -> list[EvalRecord]:
        if self.source == ATLAS:
            world = world or World()
            subjects = set(world.subjects if self.split is None else world.split(self.split))
            of_split = (record for record in world.records if record.request.subject in subjects)
            return [record for record in of_split if self.limit is None or record.case_id < self.limit]
        if self.zsre is not None:
            form: Literal["meng", "hase"] = "hase" if self.zsre == "hase" else "meng"
            return read_zsre(self.source, form=form, seed=self.seed if form == "hase" else None, limit=self.limit)
        return read_records(self.source, limit=self.limit)


def references_of(source: str, tfidf: Path | None, records: Sequence[EvalRecord], world: World | None) -> References:
    """What texts are compared with.

    Args:
        source: `atlas`, `counterfact` for the published texts and their words' rarity, or a file of snippets.
        tfidf: folder of `idf.npy` and `tfidf_vocab.json`, for a file; None to count the rarity of words in it.

    Raises:
        DatasetError: a file that cannot be read, or that lacks texts for a record.
    """
    if source == ATLAS:
        return References.of((world or World()).snippets)
    if source == COUNTERFACT:
        return References.of(read_snippets(source, wanted_groups(records)), TfIdf.published())
    if tfidf is None:  # The rarity of words must not depend on which records are chosen.
        return References.of(read_snippets(source))
    known = TfIdf.load(tfidf / "idf.npy", tfidf / "tfidf_vocab.json")
    return References.of(read_snippets(source, wanted_groups(records)), known)
