"""`plot_average`, `plot_average_heatmap`: average indirect effects by layer and kind of token (ROME, figure 2)."""

from typing import Any, Literal, Unpack, overload

from lens_rome.plotting._chart import Chart, ChartPanel, Series, Style
from lens_rome.plotting._draw import draw
from lens_rome.plotting._figure import Figure, Frame, MplFigure, PlotError, PlotlyFigure
from lens_rome.plotting._frames import Needs, check_frame, layer_range, over_layers
from lens_rome.plotting._heat import COLOURS, PLAIN, Detail, Panel, Picture, effects_panel, effects_scale
from lens_rome.plotting._labels import kind_label, layer_ticks, role_label, titled, visible
from lens_rome.plotting._words import BandWords, Words
from lens_rome.tracing import ROLES

_STYLES = {
    "subject_first": Style("#e69f00", "P", "-."),
    "subject_middle": Style("#cc79a7", "D", ":"),
    "subject_last": Style("#d55e00", "o", "-"),
    "after_subject": Style("#009e73", "^", ":"),
    "further": Style("#56b4e9", "X", "-."),
    "last": Style("#0072b2", "s", "--"),
}
"""Colour, marker and line of each role, the same in every picture: colour-blind people have two more cues (colours of
Okabe and Ito).
"""
_SPARE = Style("#000000", "v", "-")
_MAX_KINDS = 3
_STATEMENT = "Average indirect effect of restoring one site at one token"


@overload
def plot_average(
    effects: Frame, *, backend: Literal["matplotlib"] = "matplotlib", **words: Unpack[BandWords]
) -> MplFigure: ...
@overload
def plot_average(effects: Frame, *, backend: Literal["plotly"], **words: Unpack[BandWords]) -> PlotlyFigure: ...
def plot_average(
    effects: Frame,
    *,
    title: str | None = None,
    band: str = "95% confidence interval",
    measure: str = "p(answer)",
    backend: str = "matplotlib",
) -> Figure:
    """Average indirect effect by layer: one panel a kind, one line and band a role of token.

    All panels share one scale, so that the kinds can be compared. Each of the paper's six roles has one colour, marker
    and line in every picture, whichever others are there; roles of your own take what is left, in order of their names.

    Args:
        effects: columns `kind` (`resid`, `mlp`, `attn`), `layer`, `role` (such as `subject_last`), `effect` (mean
            change of what was measured), `low` and `high` (ends of its interval, or NaN for none). A column `window`,
            where there is one, goes into the titles; `n` (tokens averaged) and `n_facts` (facts that they are of) into
            the legend.
        title: what was averaged, e.g. `"120 facts of the atlas"`; put after the statement of what is shown.
        band: what `low` and `high` are.
        measure: what the effects are changes of, with its unit, e.g. `"log p(answer), nats"`.
        backend: `"matplotlib"` for files on paper, `"plotly"` for an interactive page that shows each point's numbers.

    Raises:
        PlotError: missing columns, no rows, more kinds or roles than can be told apart, two rows for one point, values
            that are not numbers, or an unknown backend.
        MissingLibraryError: the library is not installed.

    Reference: ROME, https://arxiv.org/abs/2202.05262, §2.2.
    """
    frame, kinds, roles = _check(effects, "plot_average", ("effect", "low", "high"))
    if len(roles) > len(_STYLES) + 1:
        raise PlotError(f"plot_average can tell {len(_STYLES) + 1} roles apart, got {len(roles)}. Choose some rows.")
    if frame["effect"].isna().any():
        raise PlotError("some effects are NaN. Drop those rows: a role that no fact has is no effect of 0.")
    labels, styles = _labels(frame, roles), _styles(roles)
    banded = bool(frame[["low", "high"]].notna().all(axis=1).any())
    chart = Chart(
        titled(_STATEMENT, title),
        [f"Bands: {band}."] if banded else [],
        [_lines(kind, frame[frame["kind"] == kind], labels) for kind in kinds],
        {label: styles[role] for role, label in labels.items()},
        f"average indirect effect\n(change of {visible(measure)})",
        "effect",
    )
    return draw(chart, backend)


@overload
def plot_average_heatmap(
    effects: Frame, *, backend: Literal["matplotlib"] = "matplotlib", **words: Unpack[Words]
) -> MplFigure: ...
@overload
def plot_average_heatmap(effects: Frame, *, backend: Literal["plotly"], **words: Unpack[Words]) -> PlotlyFigure: ...
def plot_average_heatmap(
    effects: Frame, *, title: str | None = None, measure: str = "p(answer)", backend: str = "matplotlib"
) -> Figure:
    """Average indirect effect as a heat map: roles of tokens from top to bottom, layers left to right, a panel a kind.

    All panels share one scale: the palest colour is no effect, the darkest the largest effect of all panels. Where most
    effects are below zero (states were taken away), dark is the lowest one. Where both signs matter, white is no
    effect, blue above and red below zero; a few small ones of the other sign are drawn like no effect, and the colour
    bar says so and how far they go. Grey cells have no value. A row's label says over how many tokens it is a mean.

    Args:
        effects: columns `kind`, `layer`, `role`, `n` (tokens averaged), `effect`, `low`, `high` (NaN for none). A
            column `window`, where there is one, goes into the titles, and `n_facts` (facts that the tokens are of)
            into the labels.
        title: what was averaged, e.g. `"120 facts of the atlas"`; put after the statement of what is shown.
        measure: what the effects are changes of, with its unit, e.g. `"log p(answer), nats"`.
        backend: `"matplotlib"` or `"plotly"`.

    Raises:
        PlotError: missing columns, no rows or values, more than three kinds, two rows for one cell, values that are not
            numbers, or an unknown backend.
        MissingLibraryError: the library is not installed.

    Reference: ROME, https://arxiv.org/abs/2202.05262, figure 2.
    """
    frame, kinds, roles = _check(effects, "plot_average_heatmap", ("n", "effect", "low", "high"))
    layers = layer_range(frame)
    panels = [_heat(kind, frame, roles, layers, visible(measure)) for kind in kinds]
    gaps = ["Grey: no value."] if any(bool((panel.values != panel.values).any()) for panel in panels) else []
    return draw(
        Picture(titled(_STATEMENT, title), gaps, list(_labels(frame, roles).values()), panels, row_characters=60),
        backend,
    )


def _check(effects: Any, function: str, numbers: tuple[str, ...]) -> tuple[Any, list[str], list[str]]:
    """The frame, if it can be drawn, with its kinds and roles; the paper's roles first, in the order of a prompt."""
    numbers += tuple(name for name in ("n", "n_facts") if name in effects.columns and name not in numbers)
    whole = ("layer", *(name for name in numbers if name in ("n", "n_facts")))
    names, key = ("kind", "layer", "role"), ("kind", "layer", "role")
    check_frame(effects, Needs(function, names, numbers, key, "effect", whole))
    kinds, roles = (list(effects[name].unique()) for name in ("kind", "role"))
    if len(kinds) > _MAX_KINDS:
        raise PlotError(f"{function} draws one to {_MAX_KINDS} kinds, got {len(kinds)}. Choose some rows.")
    return effects, kinds, [*(role for role in ROLES if role in roles), *(role for role in roles if role not in ROLES)]


def _styles(roles: list[str]) -> dict[str, Style]:
    """The look of each role: the paper's have their own, others take what is left, in order of their names."""
    left = [_SPARE, *(style for role, style in _STYLES.items() if role not in roles)]
    others = sorted(role for role in roles if role not in _STYLES)
    return {role: style for role, style in _STYLES.items() if role in roles} | dict(zip(others, left, strict=False))


def _labels(effects: Any, roles: list[str]) -> dict[str, str]:
    """Each role in words (or under its own name where two would look the same), with what it is a mean over."""
    labels = {role: role_label(role) for role in roles}
    if len(set(labels.values())) < len(roles):
        labels = {role: visible(role) for role in roles}
    return {role: label + _counted(effects[effects["role"] == role]) for role, label in labels.items()}


def _lines(kind: str, effects: Any, labels: dict[str, str]) -> ChartPanel:
    series: list[Series] = []
    for role, label in labels.items():
        rows = effects[effects["role"] == role].sort_values("layer")
        if not rows.empty:
            numbers = (rows[name].to_numpy(dtype=float) for name in ("layer", "effect", "low", "high"))
            series.append(Series(label, *numbers))
    return ChartPanel(_panel_title(kind, effects), series, layer_ticks(int(effects["layer"].max()) + 1))


def _heat(kind: str, effects: Any, roles: list[str], layers: tuple[int, int], measure: str) -> Panel:
    scale = effects_scale(effects["effect"].to_numpy(dtype=float), COLOURS.get(kind, PLAIN))
    rows = effects[effects["kind"] == kind]
    grids = {name: over_layers(rows, "role", roles, name, layers) for name in ("effect", "low", "high", "n")}
    return effects_panel(
        _panel_title(kind, rows),
        grids["effect"],
        scale,
        f"average indirect effect\n(change of {measure})",
        layers[0],
        (Detail("from", grids["low"], "+.4f"), Detail("to", grids["high"], "+.4f"), Detail("n =", grids["n"], ".0f")),
    )


def _counted(rows: Any) -> str:
    """Over how many tokens of how many facts, in brackets; ranges where layers or kinds differ."""
    known = rows.dropna(subset=[name for name in ("n", "n_facts") if name in rows.columns])
    if "n" not in rows.columns or known.empty:
        return ""
    if "n_facts" not in rows.columns:
        return f" (n = {_range(known['n'])})"
    facts = _range(known["n_facts"])
    facts += " fact" if facts == "1" else " facts"
    return f" ({facts})" if (known["n"] == known["n_facts"]).all() else f" ({_range(known['n'])} tokens of {facts})"


def _range(counts: Any) -> str:
    least, most = int(counts.min()), int(counts.max())
    return str(least) if least == most else f"{least} to {most}"


def _panel_title(kind: str, effects: Any) -> str:
    site = kind_label(kind)
    windows = sorted(set(effects["window"].dropna())) if "window" in effects.columns else []
    return f"{site}, window of {windows[0]:g} layers" if len(windows) == 1 and windows[0] > 1 else site
