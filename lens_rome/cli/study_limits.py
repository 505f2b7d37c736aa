"""`lens-rome study limits`: what an edit does not do, one probe after the other."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

import lens_rome
from lens_rome._typing import Model
from lens_rome.cli.editors import (
    EditorName,
    EditorOptions,
    Layer,
    MomentsFile,
    PresetName,
    Settings,
    TrainedFile,
    described,
    moments_for,
)
from lens_rome.cli.limits_probes import PROBES, Inputs, Probe
from lens_rome.cli.models import ATLAS, load
from lens_rome.cli.options import Bos, Device, Dtype, ModelName, Out, Precision, SurfaceName, split_names, split_numbers
from lens_rome.cli.output import Folder
from lens_rome.cli.reporting import CommandError, console, reporting, working
from lens_rome.cli.show_evaluation import one_of_each_kind
from lens_rome.cli.show_finding import show_finding
from lens_rome.cli.tables import show_files
from lens_rome.errors import FileFormatError, LensRomeError
from lens_rome.evaluation.provenance import plain
from lens_rome.moments import SecondMoments
from lens_rome.studies.probes import Finding

_COMMAND = "command"
"""Under which a finding's settings tell what the command was asked."""


@reporting
def limits(
    probes: Annotated[
        str | None,
        typer.Option("--probes", help=f"Out of {','.join(PROBES)}; left out: all that there are inputs for."),
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
    options = EditorOptions(editor, layer, preset_name, tuple(settings or ()), trained, seed, bos)
    made = options.make(model)
    given = None if moments in (None, "identity") else SecondMoments.load(str(moments))
    chosen = None if layers is None else split_numbers(layers, "--layers")
    folder = None if out is None else Folder(out)
    loaded = load(model, surface, device, dtype)
    asked = {
        "version": lens_rome.__version__,
        "model": model,
        "surface": loaded.surface.name,
        "dtype": dtype.value,
        "editor": options.name,
        "editor_settings": str(trained) if trained is not None else plain(made),
        "moments": moments if given is None else _described(given),
        "seed": seed,
    }
    run = _Run(
        loaded.model,
        Inputs(loaded.world, data, seed),
        made,
        moments_for(made, loaded, given or moments),
        asked,
        cases,
        chosen,
        folder,
    )
    screen = console()
    screen.print(f"Probes of {escape(described(made))} on {escape(model)}.", soft_wrap=True)
    with one_of_each_kind():
        run.all(screen, wanted, named=probes is not None)


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


def _described(moments: SecondMoments) -> list[Any]:
    """What tells moments of a file from others."""
    return [plain([moment.layer, moment.count, moment.origin]) for moment in moments.values()]


@dataclass(frozen=True, eq=False)
class _Run:
    """What all probes of one command share."""

    model: Model
    inputs: Inputs
    editor: Any
    moments: SecondMoments | str | None
    asked: Mapping[str, Any]
    n: int | None
    layers: Sequence[int] | None
    folder: Folder | None

    def all(self, screen: Console, wanted: Sequence[Probe], *, named: bool) -> None:
        """Run the probes and print what they find.

        Args:
            named: whether the user asked for these; a probe that cannot run is an error at the end then.
        """
        failed: list[str] = []
        for probe in wanted:
            try:
                cases = probe.cases(self.inputs, self.n or probe.n)
                if not cases:
                    raise CommandError(f"the probe {probe.name} has no inputs for this model: {probe.lacks}")
                finding = self._found(screen, probe, cases)
            except LensRomeError as error:
                failed.append(probe.name)
                screen.print(
                    f"\n[bold]{probe.name}[/bold]: not run. {escape(str(error))}", style="yellow", soft_wrap=True
                )
                continue
            show_finding(screen, probe.name, finding, probe.shown(finding.summary))
        if self.folder is not None and self.folder.written:
            show_files(screen, self.folder)
        if failed and (named or len(failed) == len(wanted)):
            raise CommandError(f"{len(failed)} of {len(wanted)} probes did not run: {', '.join(failed)}. See above.")

    def _found(self, screen: Console, probe: Probe, cases: Sequence[Any]) -> Finding:
        """The finding: the one in the folder where it is of the same settings, else a new one, written there."""
        asked = json.loads(json.dumps(self._asked_of(probe)))
        there = None if self.folder is None else _read(self.folder.path / f"{probe.name}.json")
        if there is not None and there.settings.get(_COMMAND) == asked:
            screen.print(f"\n{probe.name} is there with the same settings and is not computed again.", style="dim")
            return there
        further = {"layers": self.layers} if probe.takes_layers else {}
        with working("probing", 1) as begin:
            begin(f"{probe.name}, {len(cases)} cases")
            found = probe.find(self.model, self.editor, cases, moments=self.moments, seed=self.inputs.seed, **further)
        finding = replace(found, settings={**found.settings, _COMMAND: asked})
        if self.folder is not None:
            self._write(self.folder, probe, finding)
        return finding

    def _asked_of(self, probe: Probe) -> dict[str, Any]:
        """What the finding depends on."""
        further = {"layers": self.layers} if probe.takes_layers else {}
        data = {"data": self.inputs.data} if probe.takes_records else {}
        return {**self.asked, "cases": self.n or probe.n, **further, **data}

    def _write(self, folder: Folder, probe: Probe, finding: Finding) -> None:
        if finding.rows:  # What nothing could be asked of has no table and no picture.
            rows = finding.to_dataframe()
            folder.save(
                f"{probe.name}.csv", "every prompt, before and after", lambda path: rows.to_csv(path, index=False)
            )
            folder.picture(f"{probe.name}.png", finding.question, lambda: probe.plot(finding))
        # Last, for it is what says that the probe is finished.
        folder.save(f"{probe.name}.json", "the finding, for Finding.load", finding.save)


def _read(path: Path) -> Finding | None:
    """A finding that is there already; None where there is none that can be read."""
    try:
        return Finding.load(path) if path.is_file() else None
    except FileFormatError:
        return None
