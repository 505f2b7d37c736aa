"""`plot_prefixes`: how alike a subject's keys are after different prefixes."""

from collections.abc import Sequence
from typing import Any, Literal, overload

import numpy as np

from lens_rome.plotting._draw import draw
from lens_rome.plotting._figure import Figure, MplFigure, PlotError, PlotlyFigure
from lens_rome.plotting._findings import rows_of
from lens_rome.plotting._frames import Needs, check_frame
from lens_rome.plotting._heat import PLAIN, Panel, Picture, Scale, two_sided
from lens_rome.plotting._labels import titled, visible

_MAX_SETS = 3
_NARROWEST = 0.02


@overload
def plot_prefixes(
    finding: Any,
    *,
    sets: Sequence[str] | None = None,
    title: str | None = None,
    backend: Literal["matplotlib"] = "matplotlib",
) -> MplFigure: ...
@overload
def plot_prefixes(
    finding: Any,
    *,
    sets: Sequence[str] | None = None,
    title: str | None = None,
    backend: Literal["plotly"],
) -> PlotlyFigure: ...
def plot_prefixes(
    finding: Any, *, sets: Sequence[str] | None = None, title: str | None = None, backend: str = "matplotlib"
) -> Figure:
    """Cosine of each key with the mean key of its set: a row a subject, a column a prefix (0 is none), a panel a set.

    Args:
        finding: of the probe `prefixes`, or a frame of its rows: `case`, `subject`, `set`, `context`, `cosine`; rows
            without a cosine are left out.
        sets: one to three; None for the first three that have more than one prefix.
        title: whose keys, e.g. `"10 records of the atlas"`; put after the statement of what is shown.
        backend: `"matplotlib"` or `"plotly"`.

    Raises:
        PlotError: a finding without rows, missing columns, no such set, more than three, two rows for one key, or an
            unknown backend.
        MissingLibraryError: the library is not installed.
    """
    frame: Any = rows_of(finding)
    if "cosine" in frame.columns:
        frame = frame.dropna(subset=["cosine"]).astype({"cosine": float})
    names, numbers = ("case", "subject", "set"), ("context", "cosine")
    check_frame(frame, Needs("plot_prefixes", names, numbers, ("case", "set", "context"), "cosine", ("context",)))
    sizes = frame.groupby("set", sort=False)["context"].nunique()
    chosen = list(sizes.index[sizes > 1])[:_MAX_SETS] if sets is None else list(dict.fromkeys(sets))
    lacking = [name for name in chosen if name not in sizes.index]
    if lacking or not 1 <= len(chosen) <= _MAX_SETS:
        raise PlotError(
            f"plot_prefixes draws one to {_MAX_SETS} sets of several prefixes out of {', '.join(sizes.index)}; got "
            f"{', '.join(chosen) or 'none'}. Choose by sets=."
        )
    subjects = frame.groupby("case", sort=False)["subject"].first()
    grids = [_grid(frame[frame["set"] == name], list(subjects.index)) for name in chosen]
    lowest = min(float(np.nanmin(grid)) for grid in grids)
    every = np.concatenate([grid.ravel() for grid in grids])
    scale = Scale(min(lowest, 1 - _NARROWEST), 1.0, f"{PLAIN}_r") if lowest > 0 else two_sided(every)
    panels = [
        Panel(
            f"{visible(name)}", grid, scale, "cosine with the mean key", "cosine", "prefix (0: none)", column="prefix"
        )
        for name, grid in zip(chosen, grids, strict=True)
    ]
    heading = titled("Likeness of a subject's keys after prefixes", title)
    return draw(Picture(heading, ["Panels are sets of prefixes."], [visible(s) for s in subjects], panels), backend)


def _grid(frame: Any, cases: list[str]) -> Any:
    return frame.pivot(index="case", columns="context", values="cosine").reindex(cases).to_numpy(dtype=float)
