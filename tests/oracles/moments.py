"""The second moment of MLP keys as its definition reads: one text a forward, one token at a time, nothing padded."""

from collections.abc import Iterable
from typing import Any

import torch


@torch.no_grad()
def moment_by_loop(model: Any, layer: int, texts: Iterable[str], prepend_bos: bool) -> tuple[torch.Tensor, int]:
    """Sum of `k kᵀ` over the tokens of `texts`, in float64, and the number of tokens; BOS is not one of them."""
    total, count = None, 0
    seen: list[torch.Tensor] = []
    for text in texts:
        ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
        if prepend_bos:
            ids = [model.tokenizer.bos_token_id, *ids]
        ids = ids[: model.cfg.n_ctx]
        if len(ids) == int(prepend_bos):
            continue
        seen.clear()
        hook = (f"blocks.{layer}.mlp.hook_post", lambda activation, hook: seen.append(activation))  # noqa: ARG005
        model.run_with_hooks(torch.tensor([ids]), fwd_hooks=[hook])
        for key in seen[0][0, int(prepend_bos) :].double():
            total = torch.outer(key, key) if total is None else total + torch.outer(key, key)
            count += 1
    assert total is not None
    return total, count
