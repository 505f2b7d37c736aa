"""`lens-rome study limits`: what an edit does not do, one probe after the other."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.markup import escape

import lens_rome
from lens_rome.cli.editors import (
    EditorName,
    EditorOptions,
    Layer,
    MomentsFile,
    PresetName,
    Settings,
    TrainedFile,
    described,
    in_layers,
    moments_for,
)
from lens_rome.cli.limits_probes import PROBES, Inputs, Probe
from lens_rome.cli.limits_run import Asked, Run
from lens_rome.cli.models import ATLAS, Loaded, load
from lens_rome.cli.options import Bos, Device, Dtype, ModelName, Out, Precision, SurfaceName, split_names, split_numbers
from lens_rome.cli.output import Folder
from lens_rome.cli.reporting import CommandError, console, reporting
from lens_rome.cli.show_evaluation import one_of_each_kind
from lens_rome.evaluation.identity import describe_editor, describe_moments
from lens_rome.moments import SecondMoments
from lens_rome.surface import check_layer
from lens_rome.surface.digest import model_digest


@reporting
def limits(
    probes: Annotated[
        str | None,
        typer.Option("--probes", help=f"Out of {', '.join(PROBES)}; left out: all that there are inputs for."),
    ] = None,
    model: ModelName = ATLAS,
    editor: EditorName = "ROME",
    layer: Layer = None,
    preset_name: PresetName = None,
    settings: Settings = None,
    trained: TrainedFile = None,
    moments: MomentsFile = None,
    cases: Annotated[
        int | None, typer.Option("--cases", min=1, help="Cases of each probe; left out: some that take minutes.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="Records for layers and prefixes; left out: the atlas's.")
    ] = None,
    layers: Annotated[
        str | None, typer.Option("--layers", help="Layers of the probe `layers`; left out: all that have moments.")
    ] = None,
    out: Out = None,
    surface: SurfaceName = None,
    device: Device = "cpu",
    dtype: Dtype = Precision.float32,
    bos: Bos = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the choice of cases, contexts, texts and intervals.")] = 0,
) -> None:
    """Measure what edits do beyond what they were asked: other directions, names, hops, contexts, layers, prefixes.

    With --out every probe leaves a table, a picture and a file, and one that is there with the same settings is not
    computed again.

    Example: lens-rome study limits --probes concept,aliases --out limits
    """
    wanted = _wanted(probes)
    _check_taken(wanted, data, layers)
    options = EditorOptions(editor, layer, preset_name, tuple(settings or ()), trained, seed, bos)
    made = options.make(model)
    given = None if moments in (None, "identity") else SecondMoments.load(str(moments))
    chosen = None if layers is None else split_numbers(layers, "--layers")
    loaded = load(model, surface, device, dtype)
    of_editor = moments_for(made, loaded, given or moments)
    _check_layers(loaded, of_editor, chosen)
    inputs = Inputs(loaded.world, data, seed)
    asked = [Asked(probe, probe.cases(inputs, cases or probe.n)) for probe in wanted]
    told = {
        "version": lens_rome.__version__,
        "model": model,
        "weights_digest": model_digest(loaded.surface),
        "surface": loaded.surface.name,
        "dtype": dtype.value,
        "editor": options.name,
        **_of_editor(made),
        "moments": describe_moments(of_editor),
        "seed": seed,
    }
    folder = None if out is None else Folder(out)  # Made when nothing is left that could be refused.
    run = Run(loaded.model, made, of_editor, told, chosen, folder)
    screen = console()
    screen.print(f"Probes of {escape(described(made))} on {escape(model)}.", soft_wrap=True)
    with one_of_each_kind():
        run.all(screen, asked, named=probes is not None)


def _wanted(probes: str | None) -> list[Probe]:
    """The probes of `--probes`, or all.

    Raises:
        CommandError: one that there is not.
    """
    names = list(PROBES) if probes is None else split_names(probes, "--probes")
    unknown = [name for name in names if name not in PROBES]
    if unknown:
        raise CommandError(f"there is no probe {', '.join(map(repr, unknown))}; choose out of {', '.join(PROBES)}.")
    return [PROBES[name] for name in names]


def _check_taken(wanted: Sequence[Probe], data: str | None, layers: str | None) -> None:
    """Raise `CommandError` for an option that none of the probes takes."""
    taken = (("--data", data, [each.name for each in PROBES.values() if each.takes_records]),
             ("--layers", layers, [each.name for each in PROBES.values() if each.takes_layers]))  # fmt: skip
    for option, value, takers in taken:
        if value is not None and not any(probe.name in takers for probe in wanted):
            raise CommandError(f"{option} is for {' and '.join(takers)}, and none of them is asked for. Leave it out.")


def _check_layers(loaded: Loaded, moments: SecondMoments | str | None, layers: Sequence[int] | None) -> None:
    """Raise an error for a layer that the model does not have, or that there are no moments of."""
    for layer in layers or ():
        check_layer(loaded.surface, layer)
        if isinstance(moments, SecondMoments) and layer not in moments:
            raise CommandError(
                f"there are no second moments of layer {layer}, but of {in_layers(list(moments))}. Choose others by "
                "--layers, or collect them with lens-rome moments."
            )


def _of_editor(editor: Any) -> dict[str, Any]:
    """What an editor depends on: its settings, and its contexts or its trained network where it has one."""
    return {f"editor_{name}": value for name, value in describe_editor(editor).items() if name != "editor"}
