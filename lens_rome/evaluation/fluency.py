"""How healthy a model's own text is: what it writes, and the n-gram entropy of that."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float

from lens_rome._typing import Model, Tensor
from lens_rome.errors import FactError
from lens_rome.evaluation.writing import ROWS, Writer, in_batches
from lens_rome.surface import AbstractSurface, as_surface, check_finite

_WORD = re.compile(r"\w+|[^\w\s]")


def words(text: str) -> list[str]:
    """Words and punctuation marks, case kept.

    The papers cut with NLTK's `word_tokenize`, which needs a download; pass it to `ngram_entropy` for their figures.

    >>> words("Paris, it is.")
    ['Paris', ',', 'it', 'is', '.']
    """
    return _WORD.findall(text)


def ngram_entropy(text: str, split: Callable[[str], Sequence[str]] = words) -> float:
    """Fluency: `H₂/3 + 2 H₃/3`, where `Hₙ` is the entropy in bits of the n-grams of the text (ROME, §3.3, "GE").

    0 for a text that repeats one word; a text of fewer than n words has `Hₙ = 0`.

    Args:
        text: the prompt included, as in the papers.
        split: makes words of a text.

    >>> round(ngram_entropy("the cat sat on the mat the cat sat"), 4)
    2.5144
    """
    told = split(text)
    return _entropy(told, 2) / 3 + 2 * _entropy(told, 3) / 3


def _entropy(told: Sequence[str], n: int) -> float:
    counts = Counter(tuple(told[i : i + n]) for i in range(len(told) - n + 1))
    total = sum(counts.values())
    return sum(count / total * math.log2(total / count) for count in counts.values())


@torch.no_grad()
def continue_texts(
    model: Model,
    prompts: Sequence[str],
    *,
    tokens: int = 40,
    top_k: int = 5,
    seed: int = 0,
    prepend_bos: bool | None = None,
) -> list[str]:
    """Prompts with what the model writes after them, each token drawn from the `top_k` most likely (1 for greedy).

    Each prompt has a generator of its own, so its text does not depend on which others are asked for. The end of text
    token does not stop a text, as in the papers; the text is NFKD, without special tokens.

    Raises:
        FactError: settings that give no text, or a text that does not fit the model's context.
        SurfaceError: the model's output is not finite.
    """
    surface = as_surface(model)
    rows = [list(surface.encode(prompt, prepend_bos).ids) for prompt in prompts]
    if tokens < 1 or top_k < 1:
        raise FactError(f"tokens and top_k are whole numbers from 1, got {tokens} and {top_k}.")
    longest = max(map(len, rows), default=0) + tokens
    if longest > surface.n_ctx:
        raise FactError(
            f"prompt and continuation take {longest} tokens, the model's context holds {surface.n_ctx}. Choose fewer "
            "tokens."
        )
    bos, writer = int(surface.prepends_bos(prepend_bos)), Writer(surface)
    for some in in_batches(rows, ROWS):
        draw = _drawing(surface, len(some), top_k, seed)
        starts = [rows[index] for index in some]
        written = writer.write(starts, [len(row) + tokens for row in starts], draw)
        for index, row in zip(some, written, strict=True):
            rows[index] = row
    decoded = [surface.tokenizer.decode(row[bos:], skip_special_tokens=True) for row in rows]
    return [unicodedata.normalize("NFKD", text) for text in decoded]


def _drawing(
    surface: AbstractSurface, rows: int, top_k: int, seed: int
) -> Callable[[Sequence[int], Float[Tensor, "row d_vocab"]], list[int]]:
    """Draws with a generator for each row, all of one seed."""
    generators = [torch.Generator().manual_seed(seed) for _ in range(rows)]

    def draw(writing: Sequence[int], logits: Float[Tensor, "row d_vocab"]) -> list[int]:
        best = logits.topk(min(top_k, logits.shape[-1]))
        values = best.values.cpu().double()
        check_finite(surface, values)
        probs = values.softmax(-1)
        chosen = [torch.multinomial(probs[i], 1, generator=generators[row]) for i, row in enumerate(writing)]
        return best.indices.cpu().gather(-1, torch.stack(chosen))[:, 0].tolist()

    return draw
