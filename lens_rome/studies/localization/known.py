"""The facts that a model knows, as the study of localization and editing tells them (Hase et al., §4)."""

from collections.abc import Sequence

from lens_rome._typing import Model
from lens_rome.errors import EditError
from lens_rome.evaluation import generate
from lens_rome.facts import EvalRecord
from lens_rome.surface import as_surface

NEW_TOKENS = 36
"""Greedy tokens in which the true object is looked for."""


def known_records(
    model: Model, records: Sequence[EvalRecord], *, tokens: int = NEW_TOKENS, prepend_bos: bool | None = None
) -> list[EvalRecord]:
    """The records whose true object is in the model's greedy continuation of the prompt, upper and lower case alike.

    Args:
        tokens: length of that continuation; the model's context bounds it.
        prepend_bos: None follows the model.

    Raises:
        EditError: no records, one without true object, or none that the model knows.
    """
    lacking = [record.case_id for record in records if not record.request.target_true]
    if not records or lacking:
        told = f"record {lacking[0]} has none" if lacking else "there are no records"
        raise EditError(f"the study is about true objects, and {told}. Give records with target_true.")
    surface = as_surface(model)
    lengths = [len(surface.encode(record.request.prompt, False).ids) + tokens for record in records]
    known = []
    for length in sorted(set(lengths)):
        some = [record for record, own in zip(records, lengths, strict=True) if own == length]
        prompts = [record.request.prompt for record in some]
        texts = generate(surface, prompts, length=length, top_k=1, prepend_bos=prepend_bos)
        for record, prompt, text in zip(some, prompts, texts, strict=True):
            if record.request.target_true.strip().casefold() in text[len(prompt) :].casefold():
                known.append(record.case_id)
    if not known:
        raise EditError(
            f"the model knows none of the {len(records)} facts: no true object is in its {tokens} greedy tokens."
        )
    return [record for record in records if record.case_id in set(known)]
