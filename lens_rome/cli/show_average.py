"""`lens-rome trace --average`: what many traces have in common."""

from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lens_rome.cli.output import Folder
from lens_rome.cli.tables import plain_table, show_files
from lens_rome.errors import TraceError
from lens_rome.plotting import plot_average, plot_average_heatmap, plot_peak_layers
from lens_rome.runs import Run
from lens_rome.tracing import (
    KIND_NAMES,
    ROLE_NAMES,
    ROLES,
    AverageEffects,
    TraceSet,
    average_effects,
    peak_layers,
    suggest_layers,
)
from lens_rome.tracing.trace_set import RUN_KIND

_PEAKS = {"subject_last": ("", ROLE_NAMES["subject_last"]), "pooled": ("_pooled", "tokens pooled")}
"""Roles whose peaks are drawn, how the files' names end, and what the role is."""


def show_average(console: Console, source: Path, out: Path) -> None:
    """Print the peaks of every kind and role of the traces in `source`, and write tables and pictures into `out`.

    Raises:
        RunError, TraceError: nothing to average there; no folder is made then.
    """
    traces = TraceSet.load(source)
    averages = average_effects(traces, band="bootstrap")
    folder = Folder(out)
    console.print(f"\n{len(traces)} facts traced, {len(traces.skipped)} left out.")
    missing = Run.read(source, RUN_KIND).manifest.n_ids - len(traces) - len(traces.skipped)
    if missing:
        console.print(
            f"The run is not finished: {missing} more facts are to be traced. Its command goes on where it stopped.",
            style="yellow",
            soft_wrap=True,
        )
    roles = _roles(console, averages)
    for kind in averages.kinds:
        console.print(f"\n[bold]Average indirect effect of {KIND_NAMES[kind]}[/bold], over n tokens (of so many facts)")
        console.print(_peaks(averages, kind, roles))
    _suggest(console, traces)
    frame, title = averages.to_dataframe(), f"{len(traces)} facts"
    folder.save("average.csv", "all average effects with 95% bands", lambda path: frame.to_csv(path, index=False))
    folder.save("summary.csv", "average total effects", lambda path: averages.summary().to_csv(path, index=False))
    panels = frame.loc[frame["kind"].isin(averages.kinds[:3]) & frame["role"].isin(roles)]
    band = "95% of bootstrap resamples of facts"
    folder.picture("average.png", "average effects by layer", lambda: plot_average(panels, title=title, band=band))
    folder.picture("average_roles.png", "the same as heat maps", lambda: plot_average_heatmap(panels, title=title))
    for kind in averages.kinds:
        _draw_peaks(console, folder, traces, kind, title)
    show_files(console, folder)


def _roles(console: Console, averages: AverageEffects) -> list[str]:
    """The roles to show: those of which all tokens were traced, or all that have data where there are none such."""
    some = [role for row, role in enumerate(ROLES) if any(average.n[row].any() for average in averages.averages)]
    whole = [role for role in some if all(average.is_whole(role) for average in averages.averages)]
    left = [ROLE_NAMES[role] for role in some if role not in whole]
    if whole and left:
        # Such as the first token after the subject where only the last token was asked for: in some prompts it is both.
        console.print(
            f"Not shown, since only some of their tokens were traced: {', '.join(left)}. average.csv has them.",
            style="dim",
            soft_wrap=True,
        )
    return whole or some


def _peaks(averages: AverageEffects, kind: str, roles: list[str]) -> Table:
    average = averages.of_kind(kind)
    table = plain_table("token", "n (facts)", "peak layer", "effect", "95% interval")
    for role in roles:
        row = ROLES.index(role)
        if not average.n[row].any():
            continue
        peak = average.peak(role)
        count = f"{average.n[row, peak.layer]} ({average.n_facts[row, peak.layer]})"
        # One fact has no interval.
        interval = f"{peak.low:+.3f} to {peak.high:+.3f}" if peak.low == peak.low else "–"
        table.add_row(ROLE_NAMES[role], count, str(peak.layer), f"{peak.effect:+.3f}", interval)
    return table


def _draw_peaks(console: Console, folder: Folder, traces: TraceSet, kind: str, title: str) -> None:
    """The layers at which single facts peak: at the last subject token, and with all tokens pooled."""
    for role, (ending, where) in _PEAKS.items():
        try:
            peaks = peak_layers(traces, kind, role=role)
        except TraceError as error:
            console.print(f"\nNo picture of peaks: {escape(str(error))}", style="dim", soft_wrap=True)
            continue
        draw = partial(plot_peak_layers, peaks, title=title)
        folder.picture(f"peaks_{kind}{ending}.png", f"where single facts peak: {KIND_NAMES[kind]}, {where}", draw)


def _suggest(console: Console, traces: TraceSet) -> None:
    if "mlp" not in traces.kinds:
        return
    try:
        console.print("\n" + escape(str(suggest_layers(traces))), soft_wrap=True)
    except TraceError as error:
        console.print(f"\nNo layers suggested: {escape(str(error))}", style="dim", soft_wrap=True)
