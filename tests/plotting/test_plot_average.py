from typing import Any

import numpy as np
import pandas as pd
import pytest

from lens_rome.plotting import PlotError, plot_average
from lens_rome.tracing import ROLE_NAMES
from lens_rome.tracing import ROLES as ALL_ROLES
from tests.plotting.synthetic import made_up_effects, six_roles

ROLES = ["subject_first", "subject_last", "after_subject", "last"]
LEGEND = ["first subject token", "last subject token", "first token after the subject", "last token"]
KINDS = ["resid", "mlp", "attn"]


def curves(axis: Any) -> list[Any]:
    """The lines of roles; the line at zero has no marker."""
    return [line for line in axis.lines if line.get_marker() not in ("None", "", None)]


@pytest.mark.parametrize("shuffled", [False, True])
def test_lines_show_the_effects_of_each_role_in_order_of_layer(shuffled: bool) -> None:
    effects = made_up_effects()
    given = effects
    if shuffled:  # rows of one role in the order of descending layer
        given = effects.iloc[::-1].sort_values("kind", key=lambda c: c.map(KINDS.index), kind="stable")
    figure = plot_average(given)
    for axis, kind in zip(figure.axes, KINDS, strict=True):
        for line, role in zip(curves(axis), ROLES, strict=True):
            rows = effects[(effects["kind"] == kind) & (effects["role"] == role)]
            np.testing.assert_array_equal(line.get_xdata(), rows["layer"])
            np.testing.assert_array_equal(line.get_ydata(), rows["effect"])


def test_bands_span_from_low_to_high() -> None:
    effects = made_up_effects()
    axis = plot_average(effects).axes[0]
    rows = effects[(effects["kind"] == "resid") & (effects["role"] == "subject_last")]
    corners = axis.collections[1].get_paths()[0].vertices[:, 1]
    assert corners.min() == rows["low"].min()
    assert corners.max() == rows["high"].max()


def test_roles_differ_in_colour_marker_and_line_and_keep_them_in_every_panel() -> None:
    figure = plot_average(made_up_effects())
    styles = [[(x.get_color(), x.get_marker(), x.get_linestyle()) for x in curves(axis)] for axis in figure.axes]
    assert styles[0] == styles[1] == styles[2]
    for cue in range(3):
        assert len({style[cue] for style in styles[0]}) == len(ROLES)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == LEGEND


def test_a_role_keeps_its_style_where_another_is_missing() -> None:
    effects = made_up_effects()
    without = effects[~((effects["kind"] == "mlp") & (effects["role"] == "subject_first"))]
    full, partial = (curves(plot_average(frame).axes[1]) for frame in (effects, without))
    assert [line.get_color() for line in partial] == [line.get_color() for line in full[1:]]


LOOKS = ("get_color", "get_marker", "get_linestyle")


def looks(effects: pd.DataFrame) -> dict[str, list[Any]]:
    """Colour, marker and line of each line of the first panel, by the name in the legend."""
    figure = plot_average(effects)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    lines = [[getattr(line, look)() for look in LOOKS] for line in curves(figure.axes[0])]
    return dict(zip(names, lines, strict=True))


def test_each_of_the_papers_roles_looks_the_same_whatever_others_are_there() -> None:
    effects = six_roles().drop(columns="n")
    every = looks(effects)
    assert list(every) == [ROLE_NAMES[role] for role in ALL_ROLES]
    assert len({tuple(look) for look in every.values()}) == 6
    assert all(len({look[cue] for look in every.values()}) == 6 for cue in (0, 1))
    for chosen in (["last", "subject_last"], ["further", "subject_middle", "last"], ["subject_first", "my own"]):
        some = looks(effects.replace({"role": {"after_subject": "my own"}}).query("role in @chosen"))
        assert all(look == every[name] for name, look in some.items() if name != "my own")
        assert len({tuple(look) for look in some.values()}) == len(chosen)


def test_roles_of_ones_own_take_what_is_left_in_order_of_their_names() -> None:
    effects = six_roles().drop(columns="n")
    own = effects.replace({"role": {"last": "a", "further": "b"}})
    every, found = looks(effects), looks(own)
    assert found["a"][0] == "#000000" and found["b"] == every["further tokens"]
    assert looks(own.iloc[::-1]) == found


def test_the_legend_says_over_how_many_tokens_of_how_many_facts() -> None:
    effects = six_roles().assign(n_facts=lambda frame: frame["n"].clip(upper=110))
    names = list(looks(effects[effects["role"].isin(["subject_last", "subject_middle", "further"])]))
    assert names == [
        "middle subject tokens (95 facts)",
        "last subject token (120 tokens of 110 facts)",
        "further tokens (301 tokens of 110 facts)",
    ]
    assert "n = 301" in list(looks(six_roles()))[4]


def test_titles_say_what_was_averaged_restored_and_what_the_bands_are() -> None:
    figure = plot_average(made_up_effects(), title="120 facts of the atlas")
    text = " ".join(figure.get_suptitle().split())
    assert "Average indirect effect of restoring one site at one token: 120 facts of the atlas" in text
    assert "Bands: 95% confidence interval." in text
    assert [axis.get_title() for axis in figure.axes] == [
        "hidden states",
        "MLP outputs, window of 3 layers",
        "attention outputs, window of 3 layers",
    ]


def test_effects_without_intervals_are_drawn_and_no_band_is_claimed() -> None:
    figure = plot_average(made_up_effects().assign(low=np.nan, high=np.nan))
    assert "Bands" not in figure.get_suptitle()
    assert len(curves(figure.axes[0])) == len(ROLES)


def test_all_panels_share_one_scale() -> None:
    assert len({axis.get_ylim() for axis in plot_average(made_up_effects()).axes}) == 1


def test_frames_that_cannot_be_drawn_are_refused() -> None:
    effects = made_up_effects()
    with pytest.raises(PlotError, match="missing: role"):
        plot_average(effects.drop(columns="role"))
    with pytest.raises(PlotError, match="got 0"):
        plot_average(effects.iloc[:0])
    with pytest.raises(PlotError, match="Average over facts first"):
        plot_average(pd.concat([effects, effects]))
    with pytest.raises(PlotError, match="must hold numbers"):
        plot_average(effects.assign(effect="large"))
    with pytest.raises(PlotError, match="Drop those rows"):
        plot_average(effects.assign(effect=effects["effect"].where(effects["layer"] != 3)))
    many = pd.concat([effects[effects["role"] == "last"].assign(role=f"role {i}") for i in range(8)])
    with pytest.raises(PlotError, match="7 roles apart, got 8"):
        plot_average(many)


def test_plotly_lines_and_bands_hold_the_same_numbers() -> None:
    effects = made_up_effects()
    page: Any = plot_average(effects, backend="plotly")
    lines = [trace for trace in page.data if trace.mode == "lines+markers"]
    bands = [trace for trace in page.data if trace.fill == "toself"]
    assert len(lines) == len(bands) == len(KINDS) * len(ROLES)
    places = [(kind, role) for kind in KINDS for role in ROLES]
    for index, (kind, role) in enumerate(places):
        rows = effects[(effects["kind"] == kind) & (effects["role"] == role)]
        line, band = lines[index], bands[index]
        assert (line.name, line.xaxis) == (LEGEND[ROLES.index(role)], ["x", "x2", "x3"][KINDS.index(kind)])
        np.testing.assert_array_equal(line.x, rows["layer"])
        np.testing.assert_array_equal(line.y, rows["effect"])
        np.testing.assert_array_equal(band.y, [*rows["high"], *rows["low"][::-1]])
        np.testing.assert_array_equal(np.asarray(line.customdata)[:, 1:], rows[["low", "high"]])


def test_plotly_roles_keep_their_cues_in_every_panel_and_stand_once_in_the_legend() -> None:
    page: Any = plot_average(made_up_effects(), backend="plotly")
    lines = [trace for trace in page.data if trace.mode == "lines+markers"]
    cues = [(trace.line.color, trace.line.dash, trace.marker.symbol) for trace in lines]
    assert cues[:4] == cues[4:8] == cues[8:]
    assert all(len({cue[index] for cue in cues}) == len(ROLES) for index in range(3))
    assert [trace.name for trace in page.data if trace.showlegend] == LEGEND
    assert page.layout.yaxis2.matches == page.layout.yaxis3.matches == "y"


def test_plotly_titles_say_the_same() -> None:
    page: Any = plot_average(made_up_effects(), title="120 facts", measure="log p(answer), nats", backend="plotly")
    assert page.layout.title.text.replace("<br>", " ") == (
        "Average indirect effect of restoring one site at one token: 120 facts Bands: 95% confidence interval."
    )
    assert page.layout.yaxis.title.text == "average indirect effect<br>(change of log p(answer), nats)"
    assert [note.text for note in page.layout.annotations] == [
        "hidden states",
        "MLP outputs, window of 3 layers",
        "attention outputs, window of 3 layers",
    ]
