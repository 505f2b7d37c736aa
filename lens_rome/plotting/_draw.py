"""From what is drawn to a figure of the library that was asked for."""

from lens_rome.plotting._chart import Chart
from lens_rome.plotting._chart_matplotlib import draw_chart_matplotlib
from lens_rome.plotting._chart_plotly import draw_chart_plotly
from lens_rome.plotting._figure import Figure, PlotError
from lens_rome.plotting._heat import Picture
from lens_rome.plotting._heat_matplotlib import draw_heat_matplotlib
from lens_rome.plotting._heat_plotly import draw_heat_plotly


def draw(picture: Picture | Chart, backend: str) -> Figure:
    """The picture as a figure of `backend`, `"matplotlib"` or `"plotly"`.

    Raises:
        PlotError: another backend.
        MissingLibraryError: the library is not installed.
    """
    is_heat = isinstance(picture, Picture)
    if backend == "matplotlib":
        return draw_heat_matplotlib(picture) if is_heat else draw_chart_matplotlib(picture)
    if backend == "plotly":
        return draw_heat_plotly(picture) if is_heat else draw_chart_plotly(picture)
    raise PlotError(f"unknown backend {backend!r}; use 'matplotlib' or 'plotly'.")
