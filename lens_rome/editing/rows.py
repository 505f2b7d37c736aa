"""The prompts of one request as a batch of tokens, and where in each the subject is looked up."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int

from lens_rome._typing import Tensor, Tokens
from lens_rome.errors import EditError
from lens_rome.facts import EditRequest, answer_tokens, tokenize_prompt
from lens_rome.surface import AbstractSurface, pad_right

LOOKUPS = ("subject_last", "subject_first", "subject_first_after_last", "last")
"""Tokens at which a fact can be looked up; all published settings use the subject's last."""


def check_contexts(contexts: Sequence[str]) -> None:
    """Raise `EditError` unless `contexts` are texts that begin with the empty one (the bare prompt) and end with white
    space, so that none runs into the prompt.
    """
    if isinstance(contexts, str) or not contexts or contexts[0] != "":
        raise EditError(
            f"contexts must begin with '' (the bare prompt); texts after it end with their own separating space. Got "
            f"{contexts!r}."
        )
    for context in contexts[1:]:
        if not context[-1:].isspace():
            raise EditError(
                f"the context {context!r} would run into the prompt; end it with a space: {context + ' '!r}."
            )


def check_lookup(lookup: str) -> None:
    """Raise `EditError` for a lookup that there is not."""
    if lookup not in LOOKUPS:
        raise EditError(f"unknown lookup {lookup!r}; choose one of {', '.join(LOOKUPS)}.")


@dataclass(frozen=True, eq=False)
class Rows:
    """Prompts padded on the right, one row each."""

    tokens: Tokens
    lookup: Int[Tensor, " row"]
    """Position of each row at which key and value are read."""
    ends: Int[Tensor, " row"]
    """Position of each row's last prompt token, before any target."""


def lookup_position(
    surface: AbstractSurface, request: EditRequest, before: str, lookup: str, prepend_bos: bool | None
) -> tuple[tuple[int, ...], int]:
    """Tokens of the prompt after the context `before`, and the position where its subject is looked up.

    Raises:
        EditError: unknown lookup.
    """
    check_lookup(lookup)
    prompt = tokenize_prompt(surface, request, prepend_bos, before)
    first, after = prompt.subject_span
    last = len(prompt) - 1
    places = {
        "subject_last": after - 1,
        "subject_first": first,
        "subject_first_after_last": min(after, last),
        "last": last,
    }
    return prompt.tokens, places[lookup]


def prompt_rows(
    surface: AbstractSurface, request: EditRequest, contexts: Sequence[str], lookup: str, prepend_bos: bool | None
) -> Rows:
    """One row a context: context and prompt, no target."""
    found = [lookup_position(surface, request, before, lookup, prepend_bos) for before in contexts]
    tokens, _ = pad_right([list(ids) for ids, _ in found])
    return Rows(tokens, torch.tensor([at for _, at in found]), torch.tensor([len(ids) - 1 for ids, _ in found]))


def target_rows(
    surface: AbstractSurface, request: EditRequest, contexts: Sequence[str], lookup: str, prepend_bos: bool | None
) -> tuple[Rows, Int[Tensor, "row target"]]:
    """One row a context: context, prompt and all target tokens but the last; and the target's tokens in each row.

    Raises:
        EditError: the target has different numbers of tokens after different contexts.
    """
    rows, targets = [], []
    for before in contexts:
        ids, at = lookup_position(surface, request, before, lookup, prepend_bos)
        target = answer_tokens(surface, before + request.prompt, request.target_new, prepend_bos)
        rows.append(([*ids, *target[:-1]], at, len(ids) - 1))
        targets.append(target)
    if len({len(target) for target in targets}) != 1:
        raise EditError(f"the target {request.target_new!r} has different numbers of tokens after different contexts.")
    tokens, _ = pad_right([row for row, _, _ in rows])
    lookups, ends = (torch.tensor([row[i] for row in rows]) for i in (1, 2))
    return Rows(tokens, lookups, ends), torch.tensor(targets)


def at_positions(activation: Tensor, positions: Int[Tensor, " row"]) -> Tensor:
    """Row `i` of `[row, pos, ...]` at its own position: `[row, ...]`."""
    return activation[torch.arange(len(positions), device=activation.device), positions.to(activation.device)]
