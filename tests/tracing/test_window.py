"""Which layers a cell restores: the lists of the reference (`core.md` §1.4), clipped at the ends and never shifted."""

import pytest

from lens_rome.errors import TraceError
from lens_rome.tracing import window_layers
from lens_rome.tracing.window import check_window, default_window


def restored(layer: int, window: int, n_layers: int) -> list[int]:
    return list(range(*window_layers(layer, window, n_layers)))


def test_a_window_of_one_is_the_layer_itself() -> None:
    assert [restored(layer, 1, 6) for layer in range(6)] == [[0], [1], [2], [3], [4], [5]]


def test_an_odd_window_is_symmetric() -> None:
    assert [restored(layer, 3, 6) for layer in range(6)] == [[0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [4, 5]]


def test_an_even_window_has_one_layer_more_below() -> None:
    lists = [[0, 1], [0, 1, 2], [0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5]]
    assert [restored(layer, 4, 6) for layer in range(6)] == lists


def test_a_window_wider_than_the_model_holds_all_layers_but_at_the_first() -> None:
    assert restored(0, 10, 6) == [0, 1, 2, 3, 4]
    assert all(restored(layer, 10, 6) == [0, 1, 2, 3, 4, 5] for layer in range(1, 6))


@pytest.mark.parametrize(
    ("layer", "first", "last"),
    [(0, 0, 4), (4, 0, 8), (5, 0, 9), (20, 15, 24), (43, 38, 47), (44, 39, 47), (47, 42, 47)],
)
def test_windows_of_ten_in_48_layers(layer: int, first: int, last: int) -> None:
    assert restored(layer, 10, 48) == list(range(first, last + 1))


def test_windows_equal_the_formula_of_the_reference() -> None:
    for n_layers in (1, 4, 6, 13):
        for window in range(1, 15):
            for layer in range(n_layers):
                formula = [i for i in range(layer - window // 2, layer - (-window // 2)) if 0 <= i < n_layers]
                assert restored(layer, window, n_layers) == formula


@pytest.mark.parametrize(
    ("kind", "n_layers", "window"),
    [
        ("resid", 48, 1),
        ("mlp", 48, 10),
        ("attn", 24, 10),
        ("mlp", 23, 4),
        ("attn", 8, 1),
        ("mlp", 10, 2),
        ("mlp", 3, 1),
    ],
)
def test_the_default_is_ten_from_24_layers_up_and_a_fifth_of_the_depth_below(
    kind: str, n_layers: int, window: int
) -> None:
    assert default_window(kind, n_layers) == check_window(None, kind, n_layers) == window


@pytest.mark.parametrize("window", [0, -1, True])
def test_a_window_without_layers_is_refused(window: int) -> None:
    with pytest.raises(TraceError, match="window must be a whole number of layers from 1 up"):
        check_window(window, "mlp", 6)
