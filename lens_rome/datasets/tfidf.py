"""Texts as weighted words, and how alike two of them are: the vectors behind the papers' reference score."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lens_rome.datasets.fetch import IDF, VOCABULARY, fetch
from lens_rome.datasets.json_file import read_json
from lens_rome.errors import DatasetError

_TERM = re.compile(r"\w\w+")

Weights = Mapping[str, float]
"""The weight of each word that a text has and the vocabulary knows; all others weigh nothing."""


def terms(text: str) -> list[str]:
    """The words of a text: in lower case, of two word characters at least.

    >>> terms("It is a tower, in Paris.")
    ['it', 'is', 'tower', 'in', 'paris']
    """
    return _TERM.findall(text.lower())


@dataclass(frozen=True)
class TfIdf:
    """How rare words are, as scikit-learn's `TfidfVectorizer` counts with its default settings."""

    idf: Mapping[str, float]
    """`ln((1 + n) / (1 + texts with the word)) + 1` of each word, where n is the number of texts."""

    @classmethod
    def fit(cls, texts: Iterable[str]) -> "TfIdf":
        """Of some texts.

        Raises:
            DatasetError: there is no word in them.
        """
        counts: Counter[str] = Counter()
        n = 0
        for text in texts:
            counts.update(set(terms(text)))
            n += 1
        if not counts:
            raise DatasetError(f"no word of two letters at least in {n} texts; nothing can be compared by them.")
        return cls({term: math.log((1 + n) / (1 + count)) + 1 for term, count in counts.items()})

    @classmethod
    def load(cls, idf: str | Path, vocabulary: str | Path) -> "TfIdf":
        """From the published files: a vector, and the column of each word.

        Args:
            idf: `idf.npy`, `[n_words]`.
            vocabulary: `tfidf_vocab.json`, an object.

        Raises:
            DatasetError: no such file, one of another kind, or two that do not belong together.
        """
        values, columns = _vector(Path(idf)), _columns(Path(vocabulary))
        if sorted(columns.values()) != list(range(len(values))):
            raise DatasetError(
                f"{idf} has {len(values)} words and {vocabulary} {len(columns)} columns, not one for each: they do not "
                "belong together. Give both files of one data set."
            )
        return cls({term: float(values[column]) for term, column in columns.items()})

    @classmethod
    def published(cls) -> "TfIdf":
        """That of CounterFact's snippets, fetched once (43 MB) where there is a network.

        Raises:
            DatasetError: it cannot be fetched.
        """
        return cls.load(fetch(*IDF), fetch(*VOCABULARY))

    def weights(self, text: str) -> dict[str, float]:
        """How often the text has a word, times the word's idf."""
        return {term: count * self.idf[term] for term, count in Counter(terms(text)).items() if term in self.idf}


def cosine(one: Weights, other: Weights) -> float | None:
    """How alike two texts are, from 0 (no word in common) to 1; None where one of them has no known word.

    >>> cosine({"tower": 3.0, "in": 4.0}, {"in": 2.0})
    0.8
    """
    norms = math.sqrt(math.fsum(w * w for w in one.values())) * math.sqrt(math.fsum(w * w for w in other.values()))
    if norms == 0:
        return None
    return math.fsum(weight * other[term] for term, weight in one.items() if term in other) / norms


def _vector(path: Path) -> np.ndarray:
    try:
        values = np.load(path, allow_pickle=False)
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror or error}. Check the path.") from error
    except (ValueError, EOFError) as error:
        raise DatasetError(f"{path} is not a .npy file of numbers: {error}") from error
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind != "f":
        raise DatasetError(f"{path} does not hold one vector of numbers.")
    if not np.isfinite(values).all():
        raise DatasetError(f"{path} holds NaN or infinity. Take another copy.")
    return values


def _columns(path: Path) -> dict[str, int]:
    columns = read_json(path)
    if not isinstance(columns, dict) or not all(type(column) is int for column in columns.values()):
        raise DatasetError(f"{path} is not an object of words and their columns.")
    return columns
