"""The only imports that depend on the TransformerLens version.

`HookedTransformer` exists up to 3.x; on 4.x even asking for the attribute raises, hence the `try`.
"""

from typing import Any

from transformer_lens.model_bridge import TransformerBridge as TransformerBridge

HookedTransformer: Any
"""The class on TransformerLens 3.x, None on 4.x."""
try:
    from transformer_lens import HookedTransformer as _Hooked

    HookedTransformer = _Hooked
except ImportError:
    HookedTransformer = None


def is_hooked(model: object) -> bool:
    """Whether `model` is a `HookedTransformer`."""
    return HookedTransformer is not None and isinstance(model, HookedTransformer)


def is_bridge(model: object) -> bool:
    """Whether `model` is a `TransformerBridge`."""
    return isinstance(model, TransformerBridge)
