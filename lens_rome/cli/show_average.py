"""`lens-rome trace --average`: what many traces have in common."""

from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from lens_rome.cli.output import Folder
from lens_rome.cli.tables import plain_table, show_files
from lens_rome.errors import TraceError
from lens_rome.plotting import plot_average, plot_average_heatmap, plot_peak_layers
from lens_rome.tracing import ROLES, AverageEffects, TraceSet, average_effects, peak_layers, suggest_layers


def show_average(console: Console, source: Path, out: Path) -> None:
    """Print the peaks of every kind and role of the traces in `source`, and write tables and pictures into `out`.

    Raises:
        RunError, TraceError: nothing to average there; no folder is made then.
    """
    traces = TraceSet.load(source)
    averages = average_effects(traces, band="bootstrap")
    folder = Folder(out)
    console.print(f"\n{len(traces)} facts traced, {len(traces.skipped)} left out.")
    console.print(_peaks(averages))
    _suggest(console, traces)
    frame, title = averages.to_dataframe(), f"{len(traces)} facts"
    folder.save("average.csv", "all average effects with 95% bands", lambda path: frame.to_csv(path, index=False))
    folder.save("summary.csv", "average total effects", lambda path: averages.summary().to_csv(path, index=False))
    panels = frame.query("kind in @kinds", local_dict={"kinds": averages.kinds[:3]})
    band = "95% of bootstrap resamples of facts"
    folder.picture("average.png", "average effects by layer", lambda: plot_average(panels, title=title, band=band))
    folder.picture("average_roles.png", "the same as heat maps", lambda: plot_average_heatmap(panels, title=title))
    for kind in averages.kinds:
        draw = partial(plot_peak_layers, peak_layers(traces, kind), title=f"{kind}, {title}")
        folder.picture(f"peaks_{kind}.png", f"where single facts peak ({kind})", draw)
    show_files(console, folder)


def _peaks(averages: AverageEffects) -> object:
    table = plain_table("kind", "token", "peak layer", "average indirect effect", "95% interval")
    for kind in averages.kinds:
        for role in ROLES:
            try:
                peak = averages.peak(kind, role)
            except TraceError:
                continue  # No fact has a token of this role.
            interval = f"{peak.low:+.3f} to {peak.high:+.3f}"
            table.add_row(kind, role.replace("_", " "), str(peak.layer), f"{peak.effect:+.3f}", interval)
    return table


def _suggest(console: Console, traces: TraceSet) -> None:
    if "mlp" not in traces.kinds:
        return
    try:
        console.print("\n" + escape(str(suggest_layers(traces))), soft_wrap=True)
    except TraceError as error:
        console.print(f"\nNo layers suggested: {escape(str(error))}", style="dim", soft_wrap=True)
