"""Perplexity of given texts under a model, of all together or of each by itself."""

import math
from collections.abc import Sequence

import torch

from lens_rome._typing import Model
from lens_rome.errors import FactError
from lens_rome.evaluation.generation import HooksFor
from lens_rome.evaluation.writing import in_batches
from lens_rome.surface import AbstractSurface, as_surface, pad_right
from lens_rome.surface.encoding import encode

_ROWS = 16  # rows of one forward; bounds memory


@torch.no_grad()
def perplexity(model: Model, texts: str | Sequence[str], *, prepend_bos: bool | None = None) -> float:
    """Perplexity of texts: exp of the mean negative log-likelihood (nats) over all their predicted tokens.

    A text of N tokens (BOS included) has N - 1 predicted ones. The released code of ROME divides by N instead, which
    makes short texts look easier. Infinite or NaN for a model that is broken.

    Args:
        texts: one or several; longer ones weigh more.
        prepend_bos: None follows the model.

    Raises:
        FactError: no text has a token to predict.
        SurfaceError: a text that is longer than the model's context.
    """
    surface = as_surface(model)
    rows = [surface.encode(text, prepend_bos).ids for text in ([texts] if isinstance(texts, str) else texts)]
    predicted = sum(len(row) - 1 for row in rows)
    if predicted == 0:
        raise FactError("perplexity needs a text of two tokens at least, BOS included. Give longer texts.")
    return _exp(math.fsum(_nlls(surface, rows)) / predicted)


@torch.no_grad()
def perplexities(
    model: Model | AbstractSurface,
    texts: Sequence[str],
    *,
    longest: int = 100,
    as_released: bool = False,
    prepend_bos: bool | None = None,
    hooks_for: HooksFor | None = None,
) -> list[float]:
    """That of each text by itself, cut to its first `longest` tokens (BOS not counted) or the model's context.

    Args:
        as_released: divide by all N tokens of a text, as ROME's code does, and not by the N - 1 predicted ones.
        hooks_for: hooks of edited models, a row for each text.

    Raises:
        FactError: a text that has no token to predict.  SurfaceError: one that has no token.
    """
    surface = model if isinstance(model, AbstractSurface) else as_surface(model)
    bos = surface.prepends_bos(prepend_bos)
    most = min(longest + int(bos), surface.n_ctx)
    rows = []
    for text in texts:
        rows.append(encode(surface.tokenizer, text, bos).ids[:most])
        if len(rows[-1]) < 2:
            raise FactError(f"the text {text!r} has no token to predict. Give texts of two tokens at least.")
    nlls = _nlls(surface, rows, hooks_for)
    return [_exp(nll / (len(row) - (not as_released))) for nll, row in zip(nlls, rows, strict=True)]


def _nlls(surface: AbstractSurface, rows: Sequence[Sequence[int]], hooks_for: HooksFor | None = None) -> list[float]:
    """Sum over the predicted tokens of each row, in nats."""
    nlls = [0.0] * len(rows)
    for some in in_batches(rows, _ROWS):
        part = [rows[index] for index in some]
        logits = surface.run(pad_right(part)[0], [] if hooks_for is None else hooks_for(torch.tensor(some)))
        for index, row, said in zip(some, part, logits, strict=True):
            logprobs = said[: len(row) - 1].double().log_softmax(-1)
            wanted = torch.tensor(row[1:], device=logprobs.device, dtype=torch.long)
            nlls[index] = -float(logprobs.gather(-1, wanted[:, None]).sum())
    return nlls


def _exp(mean: float) -> float:
    try:
        return math.exp(mean)
    except OverflowError:
        return math.inf
