"""Shares and changes in words."""

import math

from lens_rome.studies.one_edit.story import Share


def percents(low: float, high: float) -> str:
    """An interval of shares.

    >>> percents(0.4385, 1.0)
    '44 to 100%'
    """
    return f"{100 * low:.0f} to {100 * high:.0f}%"


def counted(share: Share, what: str) -> str:
    """`3 of 3 WHAT (95% interval 44 to 100%; before the edit 0)`."""
    return (
        f"{share.after} of {share.n} {what} (95% interval {percents(*share.interval)}; before the edit {share.before})"
    )


def points(change: float) -> str:
    """A change of a probability in percentage points.

    >>> points(-0.000004), points(0.213)
    ('±0.00', '+21.30')
    """
    shown = f"{100 * change:+.2f}"
    return "±0.00" if shown in ("+0.00", "-0.00") else shown.replace("-", "\N{MINUS SIGN}")


def number(value: float) -> str:
    """Three digits; – for what is not known.

    >>> number(0.00001287), number(16177.3), number(math.nan)
    ('1.29e-05', '16,177', '–')
    """
    if math.isnan(value):
        return "–"
    shown = f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"
    return shown.replace("-", "\N{MINUS SIGN}", 1) if shown.startswith("-") else shown
