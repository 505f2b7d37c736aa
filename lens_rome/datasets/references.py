"""RS: whether what a model writes about a subject is like texts about things that have the new attribute."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lens_rome.datasets.snippets import Group, Snippets
from lens_rome.datasets.tfidf import TfIdf, Weights, cosine
from lens_rome.errors import DatasetError


@dataclass(frozen=True)
class References:
    """The reference texts of every group as one vector each, made once: a score then costs the words of the text."""

    tfidf: TfIdf
    vectors: Mapping[Group, Weights]

    @classmethod
    def of(cls, snippets: Snippets, tfidf: TfIdf | None = None) -> "References":
        """All texts of a group are one.

        Args:
            tfidf: None to count the words' rarity in these snippets themselves, each text by itself. For the papers'
                figures it must be that of all snippets (`TfIdf.load`, `TfIdf.published`).
        """
        if tfidf is None:
            tfidf = TfIdf.fit(text for texts in snippets.groups.values() for text in texts)
        return cls(tfidf, {group: tfidf.weights(" ".join(texts)) for group, texts in snippets.groups.items()})

    def check(self, groups: Sequence[Group]) -> None:
        """Raise `DatasetError` if there is no reference for one of `groups`."""
        for relation, target in groups:
            if (relation, target) not in self.vectors:
                raise DatasetError(
                    f"no reference texts for relation {relation!r} and object {target!r}. Read the snippets with "
                    "wanted_groups(records) of all records that are scored."
                )

    def score(self, texts: Sequence[str], group: Group) -> float | None:
        """Cosine of the texts, taken as one, with the group's (ROME, §3.3, "RS"); None where they have no known word.

        Raises:
            DatasetError: no reference for the group.
        """
        self.check([group])
        return cosine(self.tfidf.weights(" ".join(texts)), self.vectors[group])
