"""The model that a command works on."""

from dataclasses import dataclass
from difflib import get_close_matches

import torch
from transformers.utils.logging import disable_progress_bar

from lens_rome._typing import Model
from lens_rome.atlas import World
from lens_rome.atlas.bundled import load_atlas_model
from lens_rome.cli.options import Precision
from lens_rome.cli.reporting import CommandError, working
from lens_rome.errors import SurfaceError
from lens_rome.facts import Fact
from lens_rome.surface import AbstractSurface, as_surface, load_model

ATLAS = "atlas"


@dataclass(frozen=True)
class Recipe:
    """How the model of a command is loaded. Small and picklable: it is what workers are sent, and not the model."""

    name: str
    surface: str | None
    device: str
    dtype: Precision

    def __call__(self) -> Model:
        """The model.

        Raises:
            SurfaceError: there is none of that name, or it cannot be used.
        """
        # Where a spinner stands for it, these bars would be left on the screen.
        disable_progress_bar()
        settings = (self.surface, getattr(torch, self.dtype.value), self.device)
        return load_atlas_model(*settings) if self.name == ATLAS else load_model(self.name, *settings)


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

    def hint(self, subject: str, template: str) -> str | None:
        """What to say where the bundled model is asked what its world does not state in these words."""
        if self.world is None or self.known_fact(subject, template) is not None:
            return None
        if subject not in self.world.subjects:
            like = get_close_matches(subject, self.world.subjects, n=3, cutoff=0.6)
            names = f" Did you mean {' or '.join(like)}?" if like else ""
            return f"The atlas knows no {subject}.{names} `load_atlas()[1].subjects` lists whom it knows."
        facts = [fact for fact in self.world.facts if fact.subject == subject]
        asked = "; ".join(f'"{fact.template}"' for fact in facts[:3])
        return f"The atlas never read this wording about {subject}. It knows, for instance: {asked}."

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
        CommandError: a device or surface that is not there, no such model.  SurfaceError: one that cannot be used.
    """
    if surface not in (None, "hooked", "bridge"):
        raise CommandError(f"unknown surface {surface!r}; --surface takes hooked or bridge, or is left out.")
    _check_device(device)
    with working("loading", 1) as begin:
        begin(name)
        try:
            model = Recipe(name, surface, device, dtype)()
        except SurfaceError as error:
            raise CommandError(str(error).replace("surface='bridge'", "--surface bridge")) from error
        return Loaded(model, as_surface(model), World() if name == ATLAS else None)


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CommandError(f"device {device!r} cannot be used: {reason} Use --device cpu.") from error
