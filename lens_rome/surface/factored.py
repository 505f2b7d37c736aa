"""TransformerLens's own type for a low-rank product."""

from typing import Any

from transformer_lens import FactoredMatrix

from lens_rome._typing import Tensor


def factored_matrix(left: Tensor, right: Tensor) -> Any:
    """`FactoredMatrix(left, right)`."""
    return FactoredMatrix(left, right)
