"""Probes one after the other: what is there already, what is found, and what is written of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from lens_rome._files import written_whole
from lens_rome._typing import Model
from lens_rome.cli.limits_probes import Probe
from lens_rome.cli.output import Folder
from lens_rome.cli.reporting import CommandError, working
from lens_rome.cli.show_finding import show_finding
from lens_rome.cli.tables import show_files
from lens_rome.errors import FileFormatError, LensRomeError
from lens_rome.evaluation.identity import digest
from lens_rome.moments import SecondMoments
from lens_rome.plotting import PlotError
from lens_rome.studies.probes import Finding

if TYPE_CHECKING:
    import pandas as pd

_SUMMARY = "_summary.csv"
_COMMAND = "command"
"""Under which a finding's settings tell what the command was asked."""


@dataclass(frozen=True, eq=False)
class Asked:
    """A probe with its cases."""

    probe: Probe
    cases: Sequence[Any]
    """None where there are no inputs for the model."""


@dataclass(frozen=True, eq=False)
class Run:
    """What all probes of one command share."""

    model: Model
    editor: Any
    moments: SecondMoments | str | None
    told: Mapping[str, Any]
    """What every finding depends on, with the seed."""
    layers: Sequence[int] | None
    folder: Folder | None
    undrawn: list[str] = field(default_factory=list)
    """Probes whose picture could not be drawn."""

    def all(self, screen: Console, wanted: Sequence[Asked], *, named: bool) -> None:
        """Run the probes and print what they find.

        Args:
            named: whether the user asked for these; one that has nothing to do is an error then.

        Raises:
            CommandError: at the end, if a probe or a picture failed, or one that was asked for, or all, had no cases.
        """
        failed, without = list[str](), list[str]()
        for asked in wanted:
            probe = asked.probe
            lacking = self._lacking(asked)
            if lacking:
                without.append(probe.name)
                self._not_run(screen, probe, lacking)
                continue
            try:
                finding = self._found(screen, asked)
            except LensRomeError as error:
                failed.append(probe.name)
                self._not_run(screen, probe, str(error))
                continue
            table = "" if self.folder is None else str(self.folder.path / f"{probe.name}{_SUMMARY}")
            show_finding(screen, probe.name, finding, probe.shown(finding.summary), table=table)
        if self.folder is not None and self.folder.written:
            show_files(screen, self.folder)
        if named or len(failed) + len(without) == len(wanted):
            failed = [asked.probe.name for asked in wanted if asked.probe.name in (*failed, *without)]
        told = [f"{len(failed)} of {len(wanted)} probes did not run: {', '.join(failed)}."] if failed else []
        told += [f"No picture of {', '.join(self.undrawn)}."] if self.undrawn else []
        if told:
            raise CommandError(f"{' '.join(told)} See above.")

    def _lacking(self, asked: Asked) -> str:
        """Why a probe has nothing to do with this model and editor; empty where it has."""
        probe = asked.probe
        if not asked.cases:
            return f"the probe {probe.name} has no inputs for this model: {probe.lacks}"
        return "" if probe.fits(self.editor) else f"the probe {probe.name} is not for this editor: {probe.needs}"

    def _not_run(self, screen: Console, probe: Probe, why: str) -> None:
        screen.print(f"\n[bold]{probe.name}[/bold]: not run. {escape(why)}", style="yellow", soft_wrap=True)

    def _found(self, screen: Console, asked: Asked) -> Finding:
        """The finding: the one in the folder where it is of the same settings, else a new one, written there."""
        probe, key = asked.probe, json.loads(json.dumps(self._key(asked)))
        there = None if self.folder is None else _read(self.folder.path / f"{probe.name}.json")
        if there is not None and there.settings.get(_COMMAND) == key:
            screen.print(f"\n{probe.name} is there with the same settings and is not computed again.", style="dim")
            self._complete(screen, probe, there)
            return there
        further = {"layers": self.layers} if probe.takes_layers else {}
        with working("probing", 1) as begin:
            begin(f"{probe.name}, {len(asked.cases)} cases")
            seed = self.told["seed"]
            found = probe.find(self.model, self.editor, asked.cases, moments=self.moments, seed=seed, **further)
        finding = replace(found, settings={**found.settings, _COMMAND: key})
        if self.folder is not None:
            for suffix in (".csv", _SUMMARY, ".png"):  # Of other settings.
                (self.folder.path / f"{probe.name}{suffix}").unlink(missing_ok=True)
            self.folder.save(f"{probe.name}.json", "the finding, for Finding.load", finding.save)
            self._complete(screen, probe, finding)
        return finding

    def _key(self, asked: Asked) -> dict[str, Any]:
        """What the finding depends on; what files hold is told by digests, whatever they are called."""
        further = {"layers": self.layers} if asked.probe.takes_layers else {}
        return {**self.told, "cases": len(asked.cases), "cases_digest": digest(list(asked.cases)), **further}

    def _complete(self, screen: Console, probe: Probe, finding: Finding) -> None:
        """Tables and picture, where they are not there; what nothing could be asked of has none."""
        folder, table, picture = self.folder, f"{probe.name}.csv", f"{probe.name}.png"
        summary = f"{probe.name}{_SUMMARY}"
        if folder is None or not finding.rows:
            return
        if not (folder.path / table).exists():
            folder.save(
                table, "every prompt, before and after", lambda path: _write_table(finding.to_dataframe(), path)
            )
        if finding.summary and not (folder.path / summary).exists():
            frame = finding.to_summary_dataframe()
            folder.save(summary, "means with 95% intervals", lambda path: _write_table(frame, path))
        if not (folder.path / picture).exists():
            try:
                folder.picture(picture, finding.question, lambda: probe.plot(finding))
            except PlotError as error:
                self.undrawn.append(probe.name)
                screen.print(f"\n{probe.name}: no picture. {escape(str(error))}", style="yellow", soft_wrap=True)


def _write_table(frame: "pd.DataFrame", path: Path) -> None:
    with written_whole(path) as temporary:
        frame.to_csv(temporary, index=False)


def _read(path: Path) -> Finding | None:
    """A finding that is there already; None where there is none that can be read."""
    try:
        return Finding.load(path) if path.is_file() else None
    except FileFormatError:
        return None
