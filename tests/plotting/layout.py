"""What a reader can see in a figure: texts that overlap or leave it, and the text of Plotly figures."""

import html
import itertools
from typing import Any

from matplotlib.text import Text


def texts(figure: Any) -> list[Any]:
    """Every visible text of a matplotlib figure, drawn."""
    figure.canvas.draw()
    hidden = {id(label) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for label in _beyond(axis)}
    found = figure.findobj(Text)
    return [text for text in found if text.get_visible() and text.get_text().strip() and id(text) not in hidden]


def _beyond(axis: Any) -> list[Any]:
    """Labels of ticks that lie beyond the limits of an axis: they are made but not drawn."""
    low, high = sorted(axis.get_view_interval())
    ticks = [tick for tick in axis.get_major_ticks() if not low - 1e-9 <= tick.get_loc() <= high + 1e-9]
    return [label for tick in ticks for label in (tick.label1, tick.label2)]


def assert_texts_are_apart(figure: Any) -> None:
    """No two texts share a pixel, and none is cut off by the edge of the figure."""
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    width, height = figure.bbox.width, figure.bbox.height
    for text, box in boxes:
        assert box.x0 >= -1, text
        assert box.y0 >= -1, text
        assert box.x1 <= width + 1, text
        assert box.y1 <= height + 1, text
    for (first, a), (second, b) in itertools.combinations(boxes, 2):
        apart = a.x1 <= b.x0 + 1 or b.x1 <= a.x0 + 1 or a.y1 <= b.y0 + 1 or b.y1 <= a.y0 + 1
        assert apart, f"{first!r} and {second!r} overlap"


def page_texts(figure: Any) -> list[str]:
    """Every text of a Plotly figure that is shown as markup."""
    found = [figure.layout.title.text, *(note.text for note in figure.layout.annotations)]
    for axis in (*figure.select_xaxes(), *figure.select_yaxes()):
        found += [axis.title.text, *(axis.ticktext or ())]
    for trace in figure.data:
        found += [trace.name, trace.hovertemplate]
        found += (
            [str(text) for row in trace.text for text in ([row] if isinstance(row, str) else row)]
            if len(trace.text if trace.text is not None else ())
            else []
        )
        if trace.type == "heatmap":
            found.append(trace.colorbar.title.text)
    return [text for text in found if text]


def assert_page_fits(figure: Any) -> None:
    """Texts of a Plotly figure have the room they need: about 7 pixels a character, 17 a line."""
    layout, margin = figure.layout, figure.layout.margin
    heading = layout.title.text.split("<br>")
    assert longest(heading) * 7 <= layout.width
    titles = max((len(note.text.split("<br>")) for note in layout.annotations), default=0)
    assert (len(heading) + titles) * 17 <= margin.t
    rows = [text for axis in figure.select_yaxes() for text in (axis.ticktext or ())]
    assert longest(rows) * 6 <= margin.l
    plot_height = layout.height - margin.t - margin.b
    assert plot_height >= 20 * len(rows)
    for trace in figure.data:
        if trace.type == "heatmap":
            assert longest(trace.colorbar.title.text.split("<br>")) * 7 <= plot_height + 40


def longest(lines: list[str]) -> int:
    """Characters of the longest line, as shown."""
    return max((len(html.unescape(line.replace("<b>", "").replace("</b>", ""))) for line in lines), default=0)
