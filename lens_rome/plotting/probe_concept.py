"""`plot_concept`: what editing each of several related subjects did to all of them."""

from typing import Any, Literal, overload

import numpy as np
from jaxtyping import Float

from lens_rome.plotting._draw import draw
from lens_rome.plotting._figure import Figure, MplFigure, PlotError, PlotlyFigure
from lens_rome.plotting._findings import rows_of
from lens_rome.plotting._frames import Needs, check_frame
from lens_rome.plotting._heat import Panel, Picture, Scale, two_sided
from lens_rome.plotting._labels import titled, visible

_KEY = ("case", "tested", "template", "phase", "role")


@overload
def plot_concept(
    finding: Any, *, title: str | None = None, backend: Literal["matplotlib"] = "matplotlib"
) -> MplFigure: ...
@overload
def plot_concept(finding: Any, *, title: str | None = None, backend: Literal["plotly"]) -> PlotlyFigure: ...
def plot_concept(finding: Any, *, title: str | None = None, backend: str = "matplotlib") -> Figure:
    """Three heat maps, a row an edited subject and a column a tested one, each a mean over the tests.

    Changes of the log-probability of the old and of the new object, on one scale, and how much likelier the new one is
    than the old one after the edit, on a scale of its own: red below 0, white at 0, blue above. Grey was not asked.

    Args:
        finding: of `concept`, or a frame of its rows: `case`, `tested`, `template`, `phase`, `role`, `target` and
            `logprob`.
        title: what was edited, e.g. `"cheeses of the atlas"`; put after the statement of what is shown.
        backend: `"matplotlib"` or `"plotly"`.

    Raises:
        PlotError: a finding without rows, missing columns, no rows, two rows for one test, or an unknown backend.
        MissingLibraryError: the library is not installed.
    """
    frame: Any = rows_of(finding)
    names = ("case", "tested", "phase", "role", "target")
    check_frame(frame, Needs("plot_concept", names, ("template", "logprob"), _KEY, "logprob", ("template",)))
    strange = {*frame["phase"]} - {"before", "after"} | {*frame["role"]} - {"true", "new"}
    if strange:
        raise PlotError(f"plot_concept knows the phases before and after and the roles true and new, got {strange}.")
    edited, tested = (list(dict.fromkeys(frame[name])) for name in ("case", "tested"))
    told = {
        (phase, role): _matrix(frame[(frame["phase"] == phase) & (frame["role"] == role)], edited, tested)
        for phase in ("before", "after")
        for role in ("true", "new")
    }
    true, new = (told["after", role] - told["before", role] for role in ("true", "new"))
    margin = told["after", "new"] - told["after", "true"]
    shared, own = two_sided(np.stack([true, new])), two_sided(margin)
    objects = {role: _object(frame, role) for role in ("true", "new")}
    panels = [
        _panel(f"Change of the old object{objects['true']}", true, shared, "change of log p, nats", tested),
        _panel(f"Change of the new object{objects['new']}", new, shared, "change of log p, nats", tested),
        _panel("After: new against old object", margin, own, "log p(new) - log p(old), nats", tested),
    ]
    tests = frame["template"].nunique()
    notes = [f"Each cell is a mean over {tests} tests." if tests > 1 else "Each cell is one test."]
    if any(bool(np.isnan(panel.values).any()) for panel in panels):
        notes.append("Grey: not asked, for the two are not related.")
    heading = titled("What editing one name did to related ones", title)
    return draw(Picture(heading, [" ".join(notes)], edited, panels, row_caption="edited"), backend)


def _panel(title: str, values: Float[np.ndarray, "row layer"], scale: Scale, bar: str, tested: list[str]) -> Panel:
    return Panel(title, values, scale, bar, "nats", "tested", names=tested)


def _matrix(frame: Any, edited: list[str], tested: list[str]) -> Float[np.ndarray, "row layer"]:
    """Mean log-probability by edited and tested subject."""
    found = frame.groupby(["case", "tested"])["logprob"].mean().unstack()
    return found.reindex(index=edited, columns=tested).to_numpy(dtype=float)


def _object(frame: Any, role: str) -> str:
    """The object in brackets where all groups share it."""
    targets = frame[frame["role"] == role]["target"].unique()
    return f" ({visible(targets[0])})" if len(targets) == 1 else ""
