"""`plot_average`: average indirect effects over many facts, by layer and kind of token (ROME, figure 2)."""

from typing import Any

from lens_rome.plotting._figure import Frame, MplFigure, PlotError, import_library, new_figure
from lens_rome.plotting._labels import SITES, layer_ticks, visible, wrap

_COLUMNS = ("kind", "layer", "role", "effect", "low", "high")
_STYLES = (
    ("#d55e00", "o", "-"),
    ("#0072b2", "s", "--"),
    ("#009e73", "^", "-."),
    ("#cc79a7", "D", ":"),
    ("#000000", "v", "-"),
    ("#e69f00", "P", "--"),
    ("#56b4e9", "X", "-."),
)
"""Colour, marker and line of each role: colour-blind people have two more cues (colours of Okabe and Ito)."""
_MAX_KINDS = 3
_MAX_MARKERS = 12


def plot_average(effects: Frame, *, title: str | None = None, band: str = "95% confidence interval") -> MplFigure:
    """Average indirect effect by layer: one panel a kind, one line and band a role of token.

    All panels share one scale, so that the kinds can be compared.

    Args:
        effects: columns `kind` (`resid`, `mlp`, `attn`), `layer`, `role` (such as `subject_last`), `effect` (mean
            change of p(answer)), `low` and `high` (ends of its interval, or NaN for none). A column `window`, where
            there is one, goes into the titles.
        title: what was averaged, e.g. `"120 facts of the atlas"`; put after the statement of what is shown.
        band: what `low` and `high` are.

    Raises:
        PlotError: missing columns, no rows, more kinds or roles than can be told apart, two rows for one point, or
            values that are not numbers.
        MissingLibraryError: matplotlib is not installed.

    Reference: ROME, https://arxiv.org/abs/2202.05262, §2.2.
    """
    kinds, roles = _check(effects)
    width = 1.2 + 3.9 * len(kinds)
    figure = new_figure(width, 4.3)
    statement = "Average indirect effect of restoring one site at one token" + (f": {visible(title)}" if title else "")
    banded = _has_band(effects)
    lines = [statement, *([f"Bands: {band}."] if banded else [])]
    wrapped = "\n".join(wrap(line, int(13.5 * width)) for line in lines)
    figure.suptitle(wrapped, fontsize=10, parse_math=False)
    axes = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axis, kind in zip(axes, kinds, strict=True):
        _draw_kind(axis, kind, effects[effects["kind"] == kind], roles)
    axes[0].set_ylabel("average indirect effect\n(change of p(answer))", fontsize=9)
    handles = [_key(role, index) for index, role in enumerate(roles)]
    legend = figure.legend(
        handles=handles, loc="outside lower center", ncols=min(len(roles), 2 * len(kinds)), fontsize=8.5, frameon=False
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def _check(effects: Any) -> tuple[list[str], list[str]]:
    missing = [name for name in _COLUMNS if name not in effects.columns]
    if missing:
        raise PlotError(f"plot_average needs the columns {', '.join(_COLUMNS)}; missing: {', '.join(missing)}.")
    kinds, roles = list(effects["kind"].unique()), list(effects["role"].unique())
    if not 1 <= len(kinds) <= _MAX_KINDS:
        raise PlotError(f"plot_average draws one to {_MAX_KINDS} kinds, got {len(kinds)}. Choose some rows.")
    if len(roles) > len(_STYLES):
        raise PlotError(f"plot_average can tell {len(_STYLES)} roles apart, got {len(roles)}. Choose some rows.")
    if effects.duplicated(["kind", "layer", "role"]).any():
        raise PlotError("two rows have the same kind, layer and role. Average over facts first.")
    for name in ("layer", "effect", "low", "high"):
        if effects[name].dtype.kind not in "iuf":
            raise PlotError(f"the column {name!r} must hold numbers, got {effects[name].dtype}.")
    if effects["effect"].isna().any():
        raise PlotError("some effects are NaN. Drop those rows: a role that no fact has is no effect of 0.")
    return kinds, roles


def _has_band(effects: Any) -> bool:
    return bool(effects[["low", "high"]].notna().all(axis=1).any())


def _draw_kind(axis: Any, kind: str, effects: Any, roles: list[str]) -> None:
    for index, role in enumerate(roles):
        rows = effects[effects["role"] == role].sort_values("layer")
        if rows.empty:
            continue
        colour, marker, line = _STYLES[index]
        layers = rows["layer"].to_numpy()
        every = max(1, len(rows) // _MAX_MARKERS)
        axis.fill_between(
            layers, rows["low"].to_numpy(float), rows["high"].to_numpy(float), color=colour, alpha=0.15, linewidth=0
        )
        axis.plot(
            layers,
            rows["effect"].to_numpy(float),
            color=colour,
            marker=marker,
            linestyle=line,
            linewidth=1.6,
            markersize=4.5,
            markevery=every,
        )
    axis.axhline(0, color="0.4", linewidth=0.8, zorder=0)
    axis.set_title(_panel_title(kind, effects), fontsize=10, parse_math=False)
    axis.set_xlabel("layer", fontsize=9)
    last = int(effects["layer"].max())
    axis.set_xticks(layer_ticks(last + 1))
    axis.tick_params(labelsize=8.5, labelleft=True)
    axis.grid(alpha=0.3, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)


def _panel_title(kind: str, effects: Any) -> str:
    site = SITES.get(kind, visible(kind))
    windows = sorted(set(effects["window"])) if "window" in effects.columns else []
    return f"{site}, window of {windows[0]:g} layers" if len(windows) == 1 and windows[0] > 1 else site


def _key(role: str, index: int) -> Any:
    colour, marker, line = _STYLES[index]
    kind: Any = import_library("matplotlib.lines").Line2D
    return kind(
        [],
        [],
        color=colour,
        marker=marker,
        linestyle=line,
        linewidth=1.6,
        markersize=4.5,
        label=visible(role.replace("_", " ")),
    )
