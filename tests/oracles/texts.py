"""Texts and their scores as the definitions read: one row, one token, one full forward at a time."""

import hashlib
import math
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch


def stream_by_definition(seed: int, name: str) -> random.Random:
    return random.Random(int(hashlib.sha256(f"{seed}\x1f{name}".encode()).hexdigest(), 16))


@torch.no_grad()
def written_by_loop(model: Any, ids: Sequence[int], end: int, chance: random.Random, top_k: int) -> list[int]:
    """`ids` and what comes after them: the first of the best tokens at which the sum of probabilities passes a number
    between 0 and 1.
    """
    ids = list(ids)
    while len(ids) < end:
        probs = model(torch.tensor([ids]))[0, -1].double().softmax(-1).tolist()
        best = sorted(range(len(probs)), key=lambda token: -probs[token])[:top_k]
        total = sum(probs[token] for token in best)
        drawn, passed = chance.random(), 0.0
        for token in best:
            passed += probs[token] / total
            if drawn < passed:
                break
        ids.append(token)
    return ids


@torch.no_grad()
def perplexity_by_loop(model: Any, ids: Sequence[int]) -> float:
    """Of one text, one forward a token."""
    nlls = [
        -float(model(torch.tensor([list(ids[:at])]))[0, -1].double().log_softmax(-1)[ids[at]])
        for at in range(1, len(ids))
    ]
    return math.exp(sum(nlls) / len(nlls))


def cosine_by_definition(one: str, other: str, documents: Sequence[str]) -> float:
    """Dense vectors over all words of `documents`: count times smooth inverse document frequency."""

    def cut(text: str) -> list[str]:
        letters = "".join(letter if letter.isalnum() or letter == "_" else " " for letter in text.lower())
        return [word for word in letters.split() if len(word) > 1]

    told = [set(cut(text)) for text in documents]
    vocabulary = sorted(set().union(*told))
    idf = [math.log((1 + len(told)) / (1 + sum(word in words for words in told))) + 1 for word in vocabulary]
    a, b = (
        torch.tensor(
            [Counter(cut(text))[word] * weight for word, weight in zip(vocabulary, idf, strict=True)],
            dtype=torch.float64,
        )
        for text in (one, other)
    )
    return float(torch.nn.functional.cosine_similarity(a, b, dim=0))
