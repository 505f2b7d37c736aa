"""How texts are written for the scores of texts."""

from dataclasses import dataclass

from lens_rome.errors import EditError


@dataclass(frozen=True)
class TextSettings:
    """The papers' settings, and a seed, which they lack.

    Raises:
        EditError: a number that gives no text.
    """

    length: int = 100
    """Tokens of a whole text, the prompt's included and BOS not; the model's context bounds it."""
    top_k: int = 5
    """Tokens are drawn from so many most likely; 1 for the most likely always."""
    seed: int = 0
    """Of all streams of chance; scores of models are compared with the same one."""
    essence_samples: int = 5
    """Essence texts for each subject."""
    rows: int | None = None
    """Texts that are written together, which changes memory and time only; None for as many as keep their keys and
    values below 256 MB on a CPU and 4 GB elsewhere, from 8 to 256.
    """

    def __post_init__(self) -> None:
        for name in ("length", "top_k", "essence_samples", "rows"):
            found = getattr(self, name)
            if found is not None and found < 1:
                raise EditError(f"{name} is a whole number from 1, got {found}.")
