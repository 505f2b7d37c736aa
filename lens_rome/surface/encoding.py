"""Text to tokens and back to characters, the same for every tokenizer. We tokenise ourselves, so no BOS comes by
surprise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lens_rome.errors import SurfaceError


@dataclass(frozen=True)
class Encoding:
    """The tokens of a text and the characters each stands for."""

    text: str
    ids: tuple[int, ...]
    """Token ids, BOS included if it was asked for."""
    spans: tuple[tuple[int, int], ...]
    """Half-open character range of each token; `(0, 0)` for BOS."""
    strings: tuple[str, ...]
    """What to show for each token. Joined (without BOS) they give the text, except where a character is cut into
    several tokens: the first shows it, the later ones show themselves raw.
    """
    prepend_bos: bool

    def __len__(self) -> int:
        return len(self.ids)


def encode(tokenizer: Any, text: str, prepend_bos: bool) -> Encoding:
    """Tokenise `text` with character offsets; with `prepend_bos`, position 0 is the BOS token.

    Raises:
        SurfaceError: the tokenizer gives no offsets, has no BOS though one is asked for, or the text has no token.
    """
    _check_fast(tokenizer)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids = list(encoded["input_ids"])
    tokens = tokenizer.convert_ids_to_tokens(ids)
    spans = [_own_characters(text, token, *span) for token, span in zip(tokens, encoded["offset_mapping"], strict=True)]
    strings = _shown(tokenizer, text, ids, spans)
    if prepend_bos:
        ids, spans, strings = [_bos_id(tokenizer), *ids], [(0, 0), *spans], [tokenizer.bos_token, *strings]
    _check_some(text, ids)
    return Encoding(text, tuple(ids), tuple(spans), tuple(strings), prepend_bos)


def encode_ids(tokenizer: Any, texts: Sequence[str], prepend_bos: bool, n_ctx: int) -> list[tuple[int, ...]]:
    """`encode(...).ids` of many texts in one call.

    Raises:
        SurfaceError: as `encode`, or as `check_length`.
    """
    _check_fast(tokenizer)
    found = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"] if texts else []
    first = [_bos_id(tokenizer)] if prepend_bos else []
    rows = [(*first, *ids) for ids in found]
    for text, row in zip(texts, rows, strict=True):
        _check_some(text, row)
        check_length(text, len(row), n_ctx)
    return rows


def check_length(text: str, tokens: int, n_ctx: int) -> None:
    """Raise `SurfaceError` if a text does not fit the model's context."""
    if tokens > n_ctx:
        raise SurfaceError(f"text has {tokens} tokens, the model's context holds {n_ctx}: {text[:80]!r}…")


def _check_fast(tokenizer: Any) -> None:
    if not getattr(tokenizer, "is_fast", False):
        raise SurfaceError(
            f"tokenizer {type(tokenizer).__name__} gives no character offsets, so a subject cannot be found exactly. "
            "Load the fast one: AutoTokenizer.from_pretrained(name, use_fast=True)."
        )


def _check_some(text: str, ids: Sequence[int]) -> None:
    if not ids:
        raise SurfaceError(f"text {text!r} has no tokens.")


def _own_characters(text: str, token: str, start: int, end: int) -> tuple[int, int]:
    """A token's characters; SentencePiece's space mark on its own has none unless the text has a space there."""
    return (start, start) if token == "▁" and not text[start:end].isspace() else (start, end)


def _bos_id(tokenizer: Any) -> int:
    if tokenizer.bos_token_id is None:
        raise SurfaceError("the tokenizer has no BOS token; pass prepend_bos=False.")
    return int(tokenizer.bos_token_id)


def _shown(tokenizer: Any, text: str, ids: list[int], spans: list[tuple[int, int]]) -> list[str]:
    """Cut the text at the ends of the tokens, so that leading spaces show however the tokenizer counts them."""
    shown, done = [], 0
    for token, (_, end) in zip(ids, spans, strict=True):
        piece = text[done:end]
        # The later bytes of one character own no text of their own: show the raw token instead.
        shown.append(piece if piece else str(tokenizer.convert_ids_to_tokens(token)))
        done = max(done, end)
    return shown
