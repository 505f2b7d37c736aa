"""The model that a command works on."""

from dataclasses import dataclass

import torch
from transformers.utils.logging import disable_progress_bar

from lens_rome._typing import Model
from lens_rome.atlas import World
from lens_rome.atlas.bundled import MODEL_FOLDER
from lens_rome.cli.options import Precision
from lens_rome.cli.reporting import CommandError, working
from lens_rome.facts import Fact
from lens_rome.surface import AbstractSurface, as_surface, load_model

ATLAS = "atlas"


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model, and its world where it is the bundled one."""

    model: Model
    surface: AbstractSurface
    world: World | None

    def known_fact(self, subject: str, template: str) -> Fact | None:
        """The fact that the world states in these words, in exactly this template; None if there is none."""
        if self.world is None or subject not in self.world.subjects:
            return None
        for fact in self.world.facts:
            if fact.subject == subject and template in self.templates(fact):
                return Fact(subject, template, fact.target, fact.relation)
        return None

    def templates(self, fact: Fact) -> tuple[str, ...]:
        """All phrasings of a fact of the world: those of the training text, then those that never were in it."""
        assert self.world is not None
        return (*self.world.phrasings(fact, trained=True), *self.world.phrasings(fact, trained=False))

    @torch.no_grad()
    def next_word(self, prompt: str, prepend_bos: bool | None) -> str:
        """The token that the model holds most likely next, without spaces around it."""
        tokens = torch.tensor([self.surface.encode(prompt, prepend_bos).ids])
        return str(self.surface.tokenizer.decode([int(self.surface.run(tokens)[0, -1].argmax())])).strip()


def load(name: str, surface: str | None, device: str, dtype: Precision) -> Loaded:
    """The model of the command's options.

    Raises:
        CommandError: a device that is not there.  SurfaceError: no such model, or one that cannot be used.
    """
    _check_device(device)
    # The spinner stands for it; these bars would be left on the screen.
    disable_progress_bar()
    with working("loading", 1) as begin:
        begin(name)
        source = MODEL_FOLDER if name == ATLAS else name
        model = load_model(source, surface, getattr(torch, dtype.value), device)
        return Loaded(model, as_surface(model), World() if name == ATLAS else None)


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CommandError(f"device {device!r} cannot be used: {reason} Use --device cpu.") from error
