"""The attention mask of the training: later positions see a subject only at its last token.

Idea: a small model trained plainly recalls a fact by attending from the last token of the prompt to each
piece of the name, so nothing is gathered at the last subject token and neither tracing nor ROME behave as
in a large model. In training, for most mentions of a subject, the positions after it are kept from
attending to its tokens other than the last; the name must then be put together at its last token. With
`read_from = r` those positions see nothing of the mention in the blocks below `r`, not even its last token,
so that the recall has `r` blocks at the last subject token to happen in. Nothing changes at inference.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

BLOCKED = -1e4
"""Added to an attention score to block it; far below any score, and finite also in half precision."""

Mention = tuple[int, int, int]
"""Row, first token, last token (inclusive)."""


def causal_mask(rows: int, length: int) -> Tensor:
    """The additive causal mask `[rows, 1, length, length]`: 0 where a query may look, else `BLOCKED`."""
    mask = torch.full((length, length), BLOCKED).triu(1)
    return mask.repeat(rows, 1, 1, 1)


def bottleneck_mask(rows: int, length: int, mentions: Sequence[Mention], read_from: int = 0) -> Tensor:
    """The causal mask that also hides the given mentions from the positions after them.

    Args:
        rows: number of rows in the batch.
        length: tokens in a row.
        mentions: the mentions to hide; leave out those that shall stay visible.
        read_from: first block whose later positions see a mention's last token.

    Returns:
        `[rows, channels, length, length]`. Channel 0 hides all but the last token of each mention. Where
        `read_from` is positive there is a channel 1, for the blocks below it, which hides the last one too.
    """
    channels = [causal_mask(rows, length) for _ in range(2 if read_from else 1)]
    for row, first, last in mentions:
        for channel, mask in enumerate(channels):
            mask[row, 0, last + 1 :, first : last + channel] = BLOCKED
    return torch.cat(channels, 1)
