"""Pictures of results: traces, averages over them, heads, segments, what edits did and studies found. Needs no model.

Matplotlib and Plotly are imported only when a picture is made: `pip install 'lens_rome[plot]'`.
"""

from lens_rome.plotting._figure import PlotError as PlotError
from lens_rome.plotting._figure import save_figure as save_figure
from lens_rome.plotting.average import plot_average as plot_average
from lens_rome.plotting.average import plot_average_heatmap as plot_average_heatmap
from lens_rome.plotting.edit import plot_edit as plot_edit
from lens_rome.plotting.effect_peaks import plot_effect_peaks as plot_effect_peaks
from lens_rome.plotting.explained import plot_explained as plot_explained
from lens_rome.plotting.heads import plot_heads as plot_heads
from lens_rome.plotting.layer_effects import plot_layer_effects as plot_layer_effects
from lens_rome.plotting.peaks import plot_peak_layers as plot_peak_layers
from lens_rome.plotting.probe_bleed import plot_bleed as plot_bleed
from lens_rome.plotting.probe_concept import plot_concept as plot_concept
from lens_rome.plotting.probe_direction import plot_direction as plot_direction
from lens_rome.plotting.probe_hops import plot_hops as plot_hops
from lens_rome.plotting.probe_layers import plot_layers as plot_layers
from lens_rome.plotting.probe_prefixes import plot_prefixes as plot_prefixes
from lens_rome.plotting.probe_strength import plot_strength as plot_strength
from lens_rome.plotting.score_effect import plot_score_effect as plot_score_effect
from lens_rome.plotting.scores_by_layer import plot_scores_by_layer as plot_scores_by_layer
from lens_rome.plotting.segments import plot_segments as plot_segments
from lens_rome.plotting.sequence import plot_sequence as plot_sequence
from lens_rome.plotting.severed import plot_severed as plot_severed
from lens_rome.plotting.trace import plot_trace as plot_trace
