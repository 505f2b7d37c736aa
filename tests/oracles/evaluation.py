"""Scores of edited models by plain loops: one edit, one prompt, one object, one whole run at a time."""

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from lens_rome.editing import Edit
from lens_rome.facts import EvalRecord

Told = tuple[float, int, int]
"""Joint log-probability of a target in nats, its tokens, and how many of them are the likeliest."""


@torch.no_grad()
def told(model: Any, prompt: str, target: str, prepend_bos: bool) -> Told:
    """One run a token of the target."""
    tokenizer = model.tokenizer
    bos = [tokenizer.bos_token_id] if prepend_bos else []
    text = f"{prompt} {target.strip()}"
    known, ids = ([*bos, *tokenizer(each, add_special_tokens=False)["input_ids"]] for each in (prompt, text))
    total, top = 0.0, 0
    for at in range(len(known), len(ids)):
        said = model(torch.tensor([ids[:at]]))[0, -1].double()
        total += math.log(float(said.softmax(-1)[ids[at]]))
        top += int(said.argmax()) == ids[at]
    return total, len(ids) - len(known), top


def scored(
    model: Any,
    records: Sequence[EvalRecord],
    edits: Mapping[int, Edit],
    prepend_bos: bool,
    *,
    attributes: bool = False,
) -> list[tuple[int, str, str, Told | None, Told | None]]:
    """Case, group, prompt and both objects' answers, with each record's edit in the weights."""
    rows = []
    for record in records:
        edit, request = edits.get(record.case_id), record.request
        with edit.applied(model) if edit else nullcontext():
            asked = [("rewrite", request.prompt, request.target_true)]
            asked += [("paraphrase", prompt, request.target_true) for prompt in record.paraphrase_prompts]
            answers = record.neighborhood_answers or (request.target_true,) * len(record.neighborhood_prompts)
            asked += [
                ("neighborhood", prompt, answer)
                for prompt, answer in zip(record.neighborhood_prompts, answers, strict=True)
            ]
            if attributes:
                asked += [("attribute", prompt, request.target_true) for prompt in record.attribute_prompts]
            for group, prompt, true in asked:
                new, old = (
                    told(model, prompt, each, prepend_bos) if each else None for each in (request.target_new, true)
                )
                rows.append((record.case_id, group, prompt, new, old))
    return rows
