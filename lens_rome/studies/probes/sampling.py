"""Texts that a probe draws from a model, before and after an edit from the same streams of chance."""

from collections.abc import Sequence
from dataclasses import dataclass

from lens_rome.studies.probes.checks import check_counts
from lens_rome.studies.probes.texts import Written, written
from lens_rome.surface import AbstractSurface


@dataclass(frozen=True)
class Sampling:
    """How many texts a prompt are drawn, and how.

    Raises:
        FactError: settings that give no text.
    """

    samples: int
    """Texts a prompt."""
    tokens: int
    """Of each of them."""
    top_k: int
    seed: int

    def __post_init__(self) -> None:
        check_counts(**self.settings)

    @property
    def settings(self) -> dict[str, int]:
        """As a finding's settings tell them; the seed is the probe's own."""
        return {"samples": self.samples, "tokens": self.tokens, "top_k": self.top_k}

    def texts(self, surface: AbstractSurface, prompts: Sequence[str], prepend_bos: bool | None) -> dict[str, list[str]]:
        """The texts of each prompt, from streams of chance of its own."""
        found = self.written(surface, prompts, prepend_bos)
        return {prompt: [each.text for each in own] for prompt, own in found.items()}

    def written(
        self, surface: AbstractSurface, prompts: Sequence[str], prepend_bos: bool | None
    ) -> dict[str, list[Written]]:
        """The same with their tokens."""
        count = self.samples
        told = written(
            surface, [prompt for prompt in prompts for _ in range(count)], tokens=self.tokens, top_k=self.top_k,
            seed=self.seed, ids=[f"{prompt}\x1f{index}" for prompt in prompts for index in range(count)],
            prepend_bos=prepend_bos,
        )  # fmt: skip
        return {prompt: told[place * count : (place + 1) * count] for place, prompt in enumerate(prompts)}
