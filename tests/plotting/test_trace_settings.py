"""`plot_trace` says what the settings of a trace say, and its colours follow them."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from lens_rome.plotting import PlotError, plot_trace
from lens_rome.tracing import TraceResult
from tests.plotting.synthetic import EIFFEL, made_up_trace
from tests.plotting.test_plot_trace import drawn, heading, panels, title


def with_settings(result: TraceResult, **changes: Any) -> TraceResult:
    return dataclasses.replace(result, settings=dataclasses.replace(result.settings, **changes))


def as_divergence(result: TraceResult) -> TraceResult:
    """The same finds as divergences from the clean run: 0 there, 4.6 nats in the corrupted one."""
    return dataclasses.replace(
        with_settings(result, metric="kl"),
        sample_scores=5 * (0.96 - result.sample_scores),
        corrupted_samples=5 * (0.96 - result.corrupted_samples),
        clean_score=0.0,
    )


def as_noising(result: TraceResult, direction: str) -> TraceResult:
    """The same cells take away what they brought back."""
    return dataclasses.replace(with_settings(result, direction=direction), sample_scores=1 - result.sample_scores)


def pale_and_dark(result: TraceResult) -> tuple[float, float]:
    """Scores at the two ends of the colours, in matplotlib; those of Plotly are checked to be the same."""
    mesh = panels(plot_trace(result))[0].collections[0]
    low, high = mesh.get_clim()
    heatmap: Any = plot_trace(result, backend="plotly").data[0]
    assert (heatmap.zmin, heatmap.zmax) == (low, high)
    lightness = [float(np.sum(mesh.get_cmap()(end)[:3])) for end in (0.0, 1.0)]
    page = [sum(int(v) for v in heatmap.colorscale[end][1][4:-1].split(",")) for end in (0, -1)]
    assert (lightness[0] > lightness[1]) == (page[0] > page[1])
    return (low, high) if lightness[0] > lightness[1] else (high, low)


def test_restored_states_are_dark_where_the_answer_is_likeliest() -> None:
    result = made_up_trace()
    assert pale_and_dark(result) == (result.corrupted_score, float(result.scores.max()))


def test_restored_states_are_dark_where_the_divergence_is_smallest() -> None:
    result = as_divergence(made_up_trace())
    assert pale_and_dark(result) == (result.corrupted_score, float(result.scores.min()))
    assert "Darker: closer to the clean run." in heading(plot_trace(result))


@pytest.mark.parametrize("direction", ["noise", "zero"])
def test_removed_states_are_dark_where_most_of_the_answer_is_gone(direction: str) -> None:
    result = as_noising(made_up_trace(), direction)
    assert pale_and_dark(result) == (result.clean_score, float(result.scores.min()))
    assert "Darker: takes more of the answer away." in heading(plot_trace(result))


def test_removed_states_are_dark_where_the_divergence_is_largest() -> None:
    result = made_up_trace()
    result = dataclasses.replace(
        with_settings(result, metric="kl", direction="noise"), sample_scores=5 * result.sample_scores, clean_score=0.0
    )
    assert pale_and_dark(result) == (0.0, float(result.scores.max()))
    assert "Darker: further from the clean run." in heading(plot_trace(result))


def test_nothing_is_said_about_dark_cells_where_they_are_what_people_expect() -> None:
    assert "Darker" not in heading(plot_trace(made_up_trace()))


def test_cells_above_a_reversed_scale_are_announced_by_the_colour_bar() -> None:
    result = as_noising(made_up_trace(), "noise")
    scores = result.sample_scores.clone()
    scores[0, 0] = 1.5
    figure = plot_trace(dataclasses.replace(result, sample_scores=scores))
    assert panels(figure)[0].collections[0].colorbar.extend == "max"


def test_effects_of_removed_states_are_counted_from_the_clean_run() -> None:
    result = as_noising(made_up_trace(), "zero")
    heatmap: Any = plot_trace(result, backend="plotly").data[0]
    np.testing.assert_allclose(np.asarray(heatmap.customdata)[..., 1], result.indirect_effects.numpy().T, atol=1e-15)
    np.testing.assert_array_equal(drawn(panels(plot_trace(result))[0]), result.scores.numpy().T)


@pytest.mark.parametrize(
    ("metric", "bar", "caption", "hover"),
    [
        ("prob", "p(Paris)", "p(Paris): clean 0.960, corrupted 0.040;", "p = "),
        ("prob_per_token", "p(Paris) per token", "p(Paris) per token: clean", "p per token = "),
        ("logprob", "log p(Paris) (nats)", "log p(Paris): clean 0.960 nats, corrupted 0.040 nats;", "log p = "),
        ("logit", "logit of Paris", "logit of Paris: clean", "logit = "),
        (
            "logit_diff",
            "logit difference Paris − Rome",  # noqa: RUF001
            "logit difference Paris − Rome: clean",  # noqa: RUF001
            "logit difference = ",
        ),
        ("kl", "KL to the clean run (nats)", "KL to the clean run: clean 0.960 nats", "KL = "),
        ("rank", "rank", "rank: clean", "rank = "),
    ],
)
def test_bar_caption_and_hover_say_what_was_measured(metric: str, bar: str, caption: str, hover: str) -> None:
    result = with_settings(made_up_trace(), metric=metric, against=" Rome" if metric == "logit_diff" else "")
    figure = plot_trace(result)
    labels = [" ".join(axis.get_ylabel().split()) for axis in figure.axes if not axis.get_title()]
    assert labels == [bar]
    assert caption in heading(figure)
    page: Any = plot_trace(result, backend="plotly")
    assert page.data[0].colorbar.title.text.replace("<br>", " ") == bar
    assert f"<br>{hover}%{{z" in page.data[0].hovertemplate


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kind": "resid_pre"}, "Restoring the residual before layer l at one token"),
        ({"kind": "resid_mid"}, "Restoring the residual between attention and MLP of layer l at one token"),
        ({"kind": "post"}, "Restoring the MLP neurons of layer l at one token"),
        ({"kind": "head", "head": 0}, "Restoring attention head 0 of layer l at one token"),
        (
            {"kind": "head", "head": 3, "window": 5},
            "Restoring attention head 3 of a window of 5 layers around l at one token",
        ),
        ({"together": True}, "Restoring the residual after layer l at all traced tokens at once"),
        (
            {"severed": "mlp"},
            "Restoring the residual after layer l at one token, later MLP outputs severed (held at corrupted values)",
        ),
        (
            {"severed": "attn"},
            "Restoring the residual after layer l at one token, "
            "later attention outputs severed (held at corrupted values)",
        ),
        ({"direction": "noise"}, "Corrupting the residual after layer l at one token of the clean run"),
        ({"direction": "zero"}, "Zeroing the residual after layer l at one token of the clean run"),
        (
            {"approximate": True},
            "Approximate (gradient estimate): restoring the residual after layer l at one token",
        ),
    ],
)
def test_a_panel_says_what_was_put_where(changes: dict[str, Any], expected: str) -> None:
    result = with_settings(made_up_trace(), **changes)
    assert title(panels(plot_trace(result))[0]) == expected
    page = plot_trace(result, backend="plotly")
    assert " ".join(page.layout.annotations[0].text.replace("<br>", " ").split()) == expected


@pytest.mark.parametrize("kind", ["resid_pre", "resid_mid", "head", "post"])
def test_further_kinds_have_colours_of_their_own_from_pale_to_dark(kind: str) -> None:
    result = with_settings(made_up_trace(), kind=kind, head=1)
    mesh = panels(plot_trace({kind: result}))[0].collections[0]
    assert mesh.get_cmap().name not in ("Purples", "Greens", "Reds")
    assert pale_and_dark(result) == (result.corrupted_score, float(result.scores.max()))


def test_the_title_of_estimates_begins_with_a_warning_unless_only_some_panels_are_estimates() -> None:
    measured, estimated = made_up_trace(), with_settings(made_up_trace(), approximate=True)
    start = "Approximate (gradient estimate):"
    for backend in ("matplotlib", "plotly"):
        figures = [plot_trace(results, backend=backend) for results in ([estimated], [measured, estimated])]  # pyright: ignore
        found = [f.layout.title.text if backend == "plotly" else f.get_suptitle() for f in figures]
        assert [text.startswith(start) for text in found] == [True, False]
    first, second = panels(plot_trace([measured, estimated]))
    assert not title(first).startswith(start)
    assert title(second).startswith(start)


def test_nothing_is_said_to_be_noised_where_zeros_were_put_in() -> None:
    text = heading(plot_trace(as_noising(made_up_trace(), "zero")))
    assert "p(Paris): clean 0.960; nothing else corrupted." in text
    assert "noise" not in text


def test_a_corruption_without_a_level_is_named() -> None:
    result = with_settings(made_up_trace(samples=1), noise="mean", noise_level=None)
    assert "1 sample of corruption 'mean' on the subject*" in heading(plot_trace(result))


def test_tokens_corrupted_by_choice_carry_a_dagger_and_the_subject_its_star() -> None:
    result = dataclasses.replace(made_up_trace(), corrupted_spans=((1, 3), (8, 9)))
    figure = plot_trace(result)
    labels = [label.get_text() for label in panels(figure)[0].get_yticklabels()]
    stars = [token + "*" * (2 <= pos < 6) for pos, token in enumerate(EIFFEL)]
    assert labels == [label + "†" * (pos in (1, 2, 8)) for pos, label in enumerate(stars)]
    assert "on tokens marked † (subject: *)" in heading(figure)
    with pytest.raises(PlotError, match="two choices of corrupted tokens"):
        plot_trace([result, made_up_trace()])
