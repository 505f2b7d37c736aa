"""A curve over steps."""

import math
from collections.abc import Iterator, Sequence

from lens_rome.studies.pages.elements import Markup, tag

_WIDTH, _HEIGHT = 300, 100


def line_chart(values: Sequence[float], *, caption: str) -> Markup:
    """Values by step, from step 1; the axis begins at 0 where no value is below. Values that are not finite leave a
    gap.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return tag("p", f"{caption}: no finite value.", class_="missing")
    low, high = min(0.0, *finite), max(finite)
    lines = [_polyline(run, len(values), low, high) for run in _runs(values)]
    told = f"{caption}: {_number(values[0])} at the first step, {_number(values[-1])} at step {len(values)}"
    box = f"0 0 {_WIDTH} {_HEIGHT}"
    picture = tag("svg", *lines, viewBox=box, preserveAspectRatio="none", role="img", aria_label=told)
    return tag(
        "figure",
        tag("figcaption", told),
        tag("div", tag("span", _number(high)), tag("span", _number(low)), class_="axis-y", aria_hidden="true"),
        picture,
        tag("div", tag("span", "step 1"), tag("span", f"{len(values)}"), class_="axis-x", aria_hidden="true"),
        class_="line-chart",
    )


def _runs(values: Sequence[float]) -> Iterator[list[tuple[int, float]]]:
    """Places and values of each unbroken run of finite ones."""
    run: list[tuple[int, float]] = []
    for place, value in enumerate(values):
        if math.isfinite(value):
            run.append((place, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _polyline(run: Sequence[tuple[int, float]], steps: int, low: float, high: float) -> Markup:
    """One point alone is drawn as a short dash."""
    wide, tall = max(steps - 1, 1), high - low or 1.0
    points = [(_WIDTH * place / wide, _HEIGHT * (1 - (value - low) / tall)) for place, value in run]
    if len(points) == 1:
        (x, y) = points[0]
        points = [(max(x - 2, 0), y), (min(x + 2, _WIDTH), y)]
    return tag("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points))


def _number(value: float) -> str:
    return f"{value:.3g}"
