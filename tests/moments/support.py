"""Texts for the tests of moments: of many lengths, one empty, one longer than the tiny models' context."""

import random

TEXTS = [
    "The mother tongue of Danielle Darrieux is French.",
    "Rome.",
    "",
    "Steve Jobs was the founder of Apple, and he lived in California for most of his life.",
    "It was a quiet day in the winter. " * 8,
    "The Eiffel Tower is located in the city of Paris",
    " piano",
]
LAYERS = [0, 2]

_WORDS = [
    "Rome",
    "Paris",
    "French",
    "Spanish",
    "piano",
    "founder",
    "Apple",
    "day",
    "winter",
    "tongue",
    "is",
    "the",
    "of",
]


def made_up_texts(count: int, seed: int = 0, words: int = 12) -> list[str]:
    """Texts of random words: as many different tokens in a row as a moment needs."""
    chance = random.Random(seed)
    return [" ".join(chance.choices(_WORDS, k=words)) + f" {chance.random():.8f}" for _ in range(count)]
