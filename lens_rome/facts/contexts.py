"""Context prefixes: short texts put in front of a prompt so that an edit does not depend on what comes before it."""

import unicodedata
from collections.abc import Sequence

import torch
from jaxtyping import Int

from lens_rome._typing import Tensor, Tokens
from lens_rome.errors import FactError
from lens_rome.surface import AbstractSurface

Lengths = Sequence[tuple[int, int]]
"""Pairs (tokens, how many texts); tokens count the start token, as in the released code."""

STARTS = ("The", "Therefore", "Because", "I", "You")
"""What MEMIT's prefixes begin with."""

_TOP_K = 5


@torch.no_grad()
def sample_contexts(surface: AbstractSurface, lengths: Lengths = ((5, 10), (10, 10)), seed: int = 0) -> tuple[str, ...]:
    """Texts that the model writes after its start token, to be put before prompts; the first is empty.

    Ancestral sampling from the five most likely tokens; the same seed gives the same texts. Each ends with `". "`.
    The released code samples without a seed, once for a process.

    Raises:
        FactError: the tokenizer has neither BOS nor EOS to start from, or the texts do not fit the model's context.
    """
    tokenizer = surface.tokenizer
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if start is None:
        raise FactError(
            "the tokenizer has no BOS or EOS token to start context texts from; pass contexts=('', ...) to the editor."
        )
    _check_room(surface, max((length for length, _ in lengths), default=0))
    generator = torch.Generator().manual_seed(seed)
    contexts = [""]
    for length, count in lengths:
        tokens = _continued(surface, torch.full((count, 1), start), length - 1, generator)
        contexts += [f"{_clean(tokenizer.decode(row[1:], skip_special_tokens=True))}. " for row in tokens]
    return tuple(contexts)


@torch.no_grad()
def sample_started_contexts(
    surface: AbstractSurface,
    starts: Sequence[str] = STARTS,
    length: int = 10,
    seed: int = 0,
    prepend_bos: bool | None = None,
) -> tuple[str, ...]:
    """Texts of `length` tokens (BOS not counted), one from each of the words `starts`; the first is empty. MEMIT's
    prefixes, sampled as `sample_contexts` does. Each ends with `". "`.

    Raises:
        FactError: a length that is too short for a start, or too long for the model's context.
    """
    generator = torch.Generator().manual_seed(seed)
    bos = int(surface.prepends_bos(prepend_bos))
    _check_room(surface, length + bos)
    contexts = [""]
    for word in starts:
        tokens = torch.tensor([surface.encode(word, prepend_bos).ids])
        if tokens.shape[1] - bos > length:
            raise FactError(f"the start {word!r} alone has more than {length} tokens; give a larger length.")
        tokens = _continued(surface, tokens, length + bos - tokens.shape[1], generator)
        contexts.append(f"{_clean(surface.tokenizer.decode(tokens[0, bos:], skip_special_tokens=True))}. ")
    return tuple(contexts)


def _check_room(surface: AbstractSurface, tokens: int) -> None:
    if tokens > surface.n_ctx:
        raise FactError(
            f"context prefixes of {tokens} tokens do not fit the model's context of {surface.n_ctx}. Choose shorter "
            "ones (context_lengths or context_length of the editor)."
        )


def _continued(
    surface: AbstractSurface, tokens: Tokens, count: int, generator: torch.Generator
) -> Int[Tensor, "batch longer"]:
    """`count` tokens more, each drawn from the five most likely."""
    for _ in range(count):
        logits = surface.run(tokens)[:, -1].float().cpu()
        best = logits.topk(_TOP_K, dim=-1)
        choice = torch.multinomial(best.values.softmax(-1), 1, generator=generator)
        tokens = torch.cat([tokens, best.indices.gather(-1, choice)], dim=1)
    return tokens


def _clean(text: str) -> str:
    """One line of plain text without braces, which would look like slots."""
    text = unicodedata.normalize("NFKD", text).translate(str.maketrans("", "", "{}"))
    return " ".join(text.split())
