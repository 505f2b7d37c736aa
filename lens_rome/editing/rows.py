"""The prompts of requests as rows of tokens, and where in each the subject is looked up."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int

from lens_rome._typing import FwdHooks, Tensor, Tokens
from lens_rome.editing.objective import Objective
from lens_rome.errors import EditError
from lens_rome.facts import EditRequest, answer_tokens, tokenize_prompt
from lens_rome.surface import AbstractSurface, pad_right

LOOKUPS = ("subject_last", "subject_first", "subject_first_after_last", "last")
"""Tokens at which a fact can be looked up; all published settings use the subject's last."""


def check_contexts(contexts: Sequence[str]) -> None:
    """Raise `EditError` unless `contexts` are texts that begin with the empty one (the bare prompt) and end with white
    space, so that none runs into the prompt.
    """
    if isinstance(contexts, str) or not contexts or contexts[0] != "" or not _are_texts(contexts):
        raise EditError(
            f"contexts must begin with '' (the bare prompt); texts after it end with their own separating space. Got "
            f"{contexts!r}."
        )
    for context in contexts[1:]:
        if not context[-1:].isspace():
            raise EditError(
                f"the context {context!r} would run into the prompt; end it with a space: {context + ' '!r}."
            )


def _are_texts(found: Sequence[object]) -> bool:
    return all(isinstance(each, str) for each in found)


def check_context_lengths(lengths: Any) -> None:
    """Raise `EditError` unless `lengths` are pairs (tokens, texts) from which prefixes can be sampled."""
    for pair in lengths if isinstance(lengths, tuple | list) else (lengths,):
        right = isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(each, int) for each in pair)
        if not right or pair[0] < 2 or pair[1] < 1:
            raise EditError(
                "context_lengths are pairs (tokens, texts) with 2 tokens (the start token counts) and 1 text at "
                f"least, such as ((5, 10), (10, 10)), got {lengths!r}."
            )


def check_starts(starts: object, length: object) -> None:
    """Raise `EditError` unless prefixes of `length` tokens can be sampled from the words `starts`."""
    if not isinstance(starts, tuple | list) or not _are_texts(starts) or not all(starts):
        raise EditError(f"starts are the words that prefixes begin with, such as ('The', 'Because'), got {starts!r}.")
    if not isinstance(length, int) or length < 1:
        raise EditError(f"context_length is a number of tokens from 1, got {length!r}.")


def check_lookup(lookup: str) -> None:
    """Raise `EditError` for a lookup that there is not."""
    if lookup not in LOOKUPS:
        raise EditError(f"unknown lookup {lookup!r}; choose one of {', '.join(LOOKUPS)}.")


@dataclass(frozen=True, eq=False)
class Row:
    """One prompt as tokens."""

    tokens: tuple[int, ...]
    lookup: int
    """Position at which key and value are read."""
    end: int
    """Position of the last prompt token, before any target."""
    subject: tuple[int, int]
    """Half-open range of positions of the subject."""
    target: tuple[int, ...] = ()
    """The target's tokens; `tokens` holds all but the last of them."""
    noise: Float[Tensor, "subject d_model"] | None = None
    """What is added to the embeddings of the subject's tokens."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows padded on the right."""

    tokens: Tokens
    lookup: Int[Tensor, " row"]
    ends: Int[Tensor, " row"]
    hooks: FwdHooks
    """The subjects' noise, for runs over whole sequences; nothing where there is none."""


def stack(surface: AbstractSurface, rows: Sequence[Row]) -> Rows:
    """Rows as one batch."""
    tokens, _ = pad_right([list(row.tokens) for row in rows])
    lookup, ends = torch.tensor([row.lookup for row in rows]), torch.tensor([row.end for row in rows])
    return Rows(tokens, lookup, ends, noise_hooks(surface, rows, tokens.shape[1]))


def noise_hooks(surface: AbstractSurface, rows: Sequence[Row], width: int) -> FwdHooks:
    """Hooks that add each row's noise in a batch of `width` positions; nothing where there is none."""
    if all(row.noise is None for row in rows):
        return []
    total = torch.zeros(len(rows), width, surface.d_model)
    for each, row in zip(total, rows, strict=True):
        if row.noise is not None:
            each[slice(*row.subject)] = row.noise

    def add(activation: Tensor, hook: object) -> Tensor:  # noqa: ARG001 - TransformerLens's signature
        return activation + total.to(activation)

    return [("hook_embed", add)]


def prompt_row(
    surface: AbstractSurface, request: EditRequest, before: str, lookup: str, prepend_bos: bool | None
) -> Row:
    """The request's prompt after the context `before`, without its target.

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
    return Row(prompt.tokens, places[lookup], last, prompt.subject_span)


def prompt_rows(
    surface: AbstractSurface,
    request: EditRequest,
    contexts: Sequence[str],
    lookup: str,
    prepend_bos: bool | None,
    objective: Objective | None = None,
) -> list[Row]:
    """One row a context: context and prompt, no target."""
    rows = [prompt_row(surface, request, before, lookup, prepend_bos) for before in contexts]
    return _noised(surface, rows, objective)


def target_rows(
    surface: AbstractSurface,
    request: EditRequest,
    contexts: Sequence[str],
    lookup: str,
    prepend_bos: bool | None,
    objective: Objective | None = None,
) -> list[Row]:
    """One row a context: context, prompt and all target tokens but the last. Their noise is that of `prompt_rows`.

    Raises:
        EditError: the target has different numbers of tokens after different contexts.
    """
    rows = []
    for before in contexts:
        row = prompt_row(surface, request, before, lookup, prepend_bos)
        target = answer_tokens(surface, before + request.prompt, request.target_new, prepend_bos)
        rows.append(replace(row, tokens=(*row.tokens, *target[:-1]), target=target))
    if len({len(row.target) for row in rows}) != 1:
        raise EditError(f"the target {request.target_new!r} has different numbers of tokens after different contexts.")
    return _noised(surface, rows, objective)


def _noised(surface: AbstractSurface, rows: list[Row], objective: Objective | None) -> list[Row]:
    """Every row with a draw of its own, the same whatever other requests there are."""
    if objective is None or objective.noise == 0:
        return rows
    generator = torch.Generator().manual_seed(objective.noise_seed)
    shapes = [(row.subject[1] - row.subject[0], surface.d_model) for row in rows]
    return [
        replace(row, noise=objective.noise * torch.randn(shape, generator=generator))
        for row, shape in zip(rows, shapes, strict=True)
    ]


def at_positions(activation: Tensor, positions: Int[Tensor, " row"]) -> Tensor:
    """Row `i` of `[row, pos, ...]` at its own position: `[row, ...]`."""
    return activation[torch.arange(len(positions), device=activation.device), positions.to(activation.device)]
