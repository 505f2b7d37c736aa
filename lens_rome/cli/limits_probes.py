"""The probes that `lens-rome study limits` runs: one entry each, with its cases, its picture and what it prints."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lens_rome.atlas import World
from lens_rome.cli.editors import layers_of
from lens_rome.cli.evaluate_data import DataOptions
from lens_rome.cli.limits_shown import (
    Rows,
    best_layers,
    of_bleed,
    of_concept,
    of_direction,
    of_hops,
    of_sets,
    of_strength,
)
from lens_rome.cli.models import ATLAS
from lens_rome.plotting import (
    plot_bleed,
    plot_concept,
    plot_direction,
    plot_hops,
    plot_layers,
    plot_prefixes,
    plot_strength,
)
from lens_rome.studies.probes import (
    Finding,
    RelatedSubject,
    atlas_aliases,
    atlas_related,
    bleed,
    concept,
    direction,
    hops,
    layers,
    post_words,
    prefixes,
    strength,
)
from lens_rome.studies.probes.from_world import bleed_cases, direction_cases, hops_cases, strength_cases
from lens_rome.studies.probes.post import BLEED, DIRECTION, HOPS, STRENGTH


@dataclass(frozen=True)
class Inputs:
    """Where a probe's cases come from."""

    world: World | None
    """Where the model is the bundled one."""
    data: str | None
    """File of records, or `atlas`; None where there is none."""
    seed: int


Cases = Callable[[Inputs, int], Sequence[Any]]
"""So many cases, or none where there are no inputs for the model."""


@dataclass(frozen=True)
class Probe:
    """One entry."""

    name: str
    find: Callable[..., Finding]
    """`find(model, editor, cases, moments=..., seed=...)`."""
    cases: Cases
    n: int
    """How many cases where it is not said; on the bundled model a minute or two."""
    lacks: str
    """What is missing where there are no cases."""
    plot: Callable[[Any], Any]
    """Draws the finding."""
    shown: Callable[[Rows], Rows] = lambda rows: rows
    """The lines of the summary that are printed, those that decide first."""
    takes_layers: bool = False
    """Whether `find` takes `layers`."""
    takes_records: bool = False
    """Whether the cases are records, which a file can give."""
    fits: Callable[[Any], bool] = lambda _: True
    """Whether the editor is one that can be asked about."""
    needs: str = ""
    """What an editor needs where not all fit."""


def _of_world(make: Callable[..., Sequence[Any]], else_post: Sequence[Any], each: int = 1) -> Cases:
    """Cases of the world; for another model the post's, `each` of them where one is asked for."""
    return lambda inputs, n: (
        else_post[: n * each] if inputs.world is None else make(inputs.world, n=n, seed=inputs.seed)
    )


def _related(inputs: Inputs, n: int) -> Sequence[RelatedSubject]:
    world = inputs.world
    return _first_words(n) if world is None else atlas_related(world, n)


def _first_words(n: int) -> Sequence[RelatedSubject]:
    """The post's first `n` words, without those that are left alone in their group."""
    words = post_words()[: max(n, 2)]
    groups = [word.group for word in words]
    return [word for word in words if groups.count(word.group) > 1]


def _aliases(inputs: Inputs, n: int) -> Sequence[RelatedSubject]:
    world = inputs.world
    return () if world is None else atlas_aliases(world, n)


def _records(inputs: Inputs, n: int) -> Sequence[Any]:
    source = inputs.data or (None if inputs.world is None else ATLAS)
    if source is None:
        return ()
    return DataOptions(source, sample=n, seed=inputs.seed).records(inputs.world)


def _has_one_layer(editor: Any) -> bool:
    return len(layers_of(editor)) == 1


def _has_contexts(editor: Any) -> bool:
    return hasattr(editor, "contexts") and bool(layers_of(editor))


_WORLD = "its cases are made of the bundled world: take --model atlas, or the probe in Python with cases of your own."
_DATA = "it needs records with paraphrases and neighbours: name a file of them by --data."

PROBES: Mapping[str, Probe] = {
    probe.name: probe
    for probe in (
        Probe("direction", direction, _of_world(direction_cases, DIRECTION), 20, _WORLD, plot_direction, of_direction),
        Probe("strength", strength, _of_world(strength_cases, STRENGTH, 3), 6, _WORLD, plot_strength, of_strength),
        Probe("concept", concept, _related, 8, _WORLD, plot_concept, of_concept),
        Probe("aliases", concept, _aliases, 8, _WORLD, plot_concept, of_concept),
        Probe("hops", hops, _of_world(hops_cases, HOPS), 20, _WORLD, plot_hops, of_hops),
        Probe("bleed", bleed, _of_world(bleed_cases, BLEED), 10, _WORLD, plot_bleed, of_bleed),
        Probe(
            "layers",
            layers,
            _records,
            5,
            _DATA,
            plot_layers,
            best_layers,
            takes_layers=True,
            takes_records=True,
            fits=_has_one_layer,
            needs="it moves an edit from layer to layer, and needs an editor of one layer.",
        ),
        Probe(
            "prefixes",
            prefixes,
            _records,
            5,
            _DATA,
            plot_prefixes,
            of_sets,
            takes_records=True,
            fits=_has_contexts,
            needs="it needs an editor that averages a key over contexts, such as ROME.",
        ),
    )
}
"""All probes by name, in the order in which they run."""
