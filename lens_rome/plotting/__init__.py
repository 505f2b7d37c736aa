"""Pictures of results: traces as heat maps, edits as dumbbells, averages as lines. Never needs a model.

Matplotlib and Plotly are imported only when a picture is made: `pip install 'lens_rome[plot]'`.
"""

from lens_rome.plotting._figure import MissingLibraryError as MissingLibraryError
from lens_rome.plotting._figure import PlotError as PlotError
from lens_rome.plotting._figure import save_figure as save_figure
from lens_rome.plotting.average import plot_average as plot_average
from lens_rome.plotting.edit import plot_edit as plot_edit
from lens_rome.plotting.trace import plot_trace as plot_trace
