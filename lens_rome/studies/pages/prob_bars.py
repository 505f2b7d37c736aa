"""A probability before and after, as two bars and two numbers."""

import math

from lens_rome.studies.pages.elements import Markup, tag


def shown_prob(prob: float | None) -> str:
    """In percent; – where it is not known.

    >>> shown_prob(0.934), shown_prob(0.00001), shown_prob(0.9999), shown_prob(None)
    ('93.4%', '<0.1%', '>99.9%', '–')
    """
    if prob is None or math.isnan(prob):
        return "–"
    if 0 < prob < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= prob < 1 else f"{100 * prob:.1f}%"


def prob_bars(before: float | None, after: float | None, *, kind: str = "") -> Markup:
    """Two bars from 0 to 1, the upper one before.

    Args:
        before: None where it was not asked; then there is one bar.
        kind: good, bad, or nothing: the colour of the lower one.
    """
    bars = [
        tag("rect", y=place, height=tall, width=f"{100 * prob:.1f}%", class_=name or None)
        for prob, place, tall, name in ((before, 0, 4, "before"), (after, 5, 8, kind))
        if prob is not None and not math.isnan(prob)
    ]
    told = shown_prob(after) if before is None else f"{shown_prob(before)} → {shown_prob(after)}"
    return tag("span", tag("svg", *bars, aria_hidden="true"), tag("span", told), class_="prob")
