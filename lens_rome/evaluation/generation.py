"""Texts that a model writes after prompts, each from a stream of chance of its own.

A text depends on the model, its prompt, the seed and its own id: not on which others are asked for, nor on their order
or on how many run together. A model before and after an edit draws from the same streams (common random numbers), so
that two texts differ only where the models do. The published texts come from one global stream without a seed.
"""

import hashlib
import random
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int

from lens_rome._typing import FwdHooks, Model, Tensor
from lens_rome.errors import FactError
from lens_rome.evaluation.writing import Writer, in_batches, rows_within
from lens_rome.surface import AbstractSurface, as_surface, check_finite

HooksFor = Callable[[Int[Tensor, " row"]], FwdHooks]
"""Given the indices of the prompts (or texts, or records) whose rows run together, the hooks of their edited models:
row i of the batch is of index i.
"""


@torch.no_grad()
def generate(
    model: Model | AbstractSurface,
    prompts: Sequence[str],
    *,
    length: int = 100,
    tokens: int | None = None,
    top_k: int = 5,
    seed: int = 0,
    ids: Sequence[str] | None = None,
    prepend_bos: bool | None = None,
    hooks_for: HooksFor | None = None,
    rows: int | None = None,
) -> list[str]:
    """Each prompt with what the model writes after it, as the papers' texts are made (ROME, §3.3).

    Tokens are drawn from the `top_k` most likely with their probabilities renormalised; the end of text does not stop
    a text. The text is NFKD, without special tokens, with a space for an empty line; it begins with the prompt.

    Args:
        length: tokens of a whole text, the prompt's included and BOS not; the model's context bounds it. A prompt that
            is longer stays as it is.
        tokens: those written after each prompt, instead of `length`; the context bounds the whole.
        top_k: 1 for the most likely token always.
        ids: names of the texts' streams; None for the prompts themselves (equal ones are counted).
        hooks_for: hooks of edited models, a row each; none may look at positions, or every token takes a whole run.
        rows: texts written together; changes memory and time, not the texts (but for the rounding of logits). None for
            as many as keep their keys and values below 256 MB on a CPU and 4 GB elsewhere, from 8 to 256.

    Raises:
        FactError: settings that give no text, or not one id a prompt.
        SurfaceError: the model's output is not finite, or a prompt is longer than its context.
    """
    surface = model if isinstance(model, AbstractSurface) else as_surface(model)
    rows_of_tokens = generate_tokens(
        surface, prompts, length=length, tokens=tokens, top_k=top_k, seed=seed, ids=ids, prepend_bos=prepend_bos,
        hooks_for=hooks_for, rows=rows,
    )  # fmt: skip
    bos = int(surface.prepends_bos(prepend_bos))
    return [plain_text(surface, row[bos:]) for row in rows_of_tokens]


@torch.no_grad()
def generate_tokens(
    surface: AbstractSurface,
    prompts: Sequence[str],
    *,
    length: int = 100,
    tokens: int | None = None,
    top_k: int = 5,
    seed: int = 0,
    ids: Sequence[str] | None = None,
    prepend_bos: bool | None = None,
    hooks_for: HooksFor | None = None,
    rows: int | None = None,
) -> list[list[int]]:
    """The tokens of what `generate` gives, with BOS where there is one; it says what arguments and errors are."""
    if tokens is not None and tokens < 1:
        raise FactError(f"tokens is a whole number from 1, got {tokens}.")
    ids = _own_ids(prompts) if ids is None else ids
    if len(ids) != len(prompts):
        raise FactError(f"{len(ids)} ids for {len(prompts)} prompts; give each prompt its own, or leave ids out.")
    bos = int(surface.prepends_bos(prepend_bos))
    starts = [surface.encode(prompt, prepend_bos).ids for prompt in prompts]
    whole = [length + bos if tokens is None else len(start) + tokens for start in starts]
    rows = rows_within(surface, max([1, *whole])) if rows is None else rows
    if min(length, top_k, rows) < 1:
        raise FactError(f"length, top_k and rows are whole numbers from 1, got {length}, {top_k} and {rows}.")
    ends, writer = [min(end, surface.n_ctx) for end in whole], Writer(surface)
    found: list[list[int]] = [[]] * len(prompts)
    for some in in_batches(starts, rows):
        hooks = [] if hooks_for is None else hooks_for(torch.tensor(some))
        streams = [stream(seed, ids[index]) for index in some]
        draw = _drawing(surface, streams, top_k)
        for index, row in zip(
            some, writer.write([starts[i] for i in some], [ends[i] for i in some], draw, hooks), strict=True
        ):
            found[index] = row
    return found


def stream(seed: int, name: str) -> random.Random:
    """The stream of chance of one text: from 0 to 1, the same on every machine."""
    return random.Random(int.from_bytes(hashlib.sha256(f"{seed}\x1f{name}".encode()).digest(), "big"))


def plain_text(surface: AbstractSurface, tokens: Sequence[int]) -> str:
    """The text of tokens as the papers score it."""
    text = surface.tokenizer.decode(list(tokens), skip_special_tokens=True)
    return unicodedata.normalize("NFKD", text).replace("\n\n", " ")


def _own_ids(prompts: Sequence[str]) -> list[str]:
    """Prompts as ids, equal ones with a number."""
    counts: Counter[str] = Counter()
    ids = []
    for prompt in prompts:
        ids.append(f"{prompt}\x1f{counts[prompt]}")
        counts[prompt] += 1
    return ids


def _drawing(
    surface: AbstractSurface, streams: Sequence[random.Random], top_k: int
) -> Callable[[Sequence[int], Float[Tensor, "row d_vocab"]], list[int]]:
    """Draws by inverting the distribution function of the best tokens, the likeliest first: models that nearly agree
    nearly always draw the same token from the same stream.
    """

    def draw(rows: Sequence[int], logits: Float[Tensor, "row d_vocab"]) -> list[int]:
        best = logits.topk(min(top_k, logits.shape[-1]))
        values = best.values.cpu().double()
        check_finite(surface, values)
        chance = torch.tensor([streams[row].random() for row in rows], dtype=torch.float64)
        below = values.softmax(-1).cumsum(-1)[:, :-1] <= chance[:, None]
        return best.indices.cpu().gather(-1, below.sum(-1, keepdim=True))[:, 0].tolist()

    return draw
