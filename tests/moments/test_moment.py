"""A second moment as a value: solves, convergence, sums, files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from lens_rome._files import save_tensors
from lens_rome.errors import FileFormatError, MomentError
from lens_rome.moments import MomentOrigin, SecondMoment, SecondMoments, collect_moments, moment_for
from lens_rome.surface import as_surface
from tests.moments.support import TEXTS, made_up_texts

WIDTH = 6


def random_moment(rng: torch.Generator, layer: int = 3, count: int = 40, **origin: Any) -> SecondMoment:
    keys = torch.randn(count, WIDTH, generator=rng, dtype=torch.float64)
    about = MomentOrigin(**{"model": "toy", "prepend_bos": True, "corpus": "made up", "n_texts": 2, **origin})
    half = keys[: count // 2]
    return SecondMoment(layer, keys.T @ keys, count, about, torch.ones(2, WIDTH), half.T @ half, count // 2)


def test_the_mean_is_the_sum_over_the_count_and_solve_inverts_it(rng: torch.Generator) -> None:
    moment, keys = random_moment(rng), torch.randn(3, WIDTH, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(moment.solve(keys) @ (moment.total / 40), keys, rtol=0, atol=1e-10)
    assert moment.d_mlp == WIDTH
    true = float(torch.linalg.cond(moment.mean, p=1))
    assert true / 3 <= moment.condition <= true * (1 + 1e-9)


def test_turn_is_the_mean_angle_between_the_solutions_of_the_half_and_the_whole(rng: torch.Generator) -> None:
    moment, keys = random_moment(rng), torch.randn(4, WIDTH, generator=rng, dtype=torch.float64)
    assert moment.half_total is not None
    angles = []
    for key in keys:
        a, b = torch.linalg.solve(moment.total, key), torch.linalg.solve(moment.half_total, key)
        angles.append(np.degrees(np.arccos(float(a @ b / a.norm() / b.norm()))))
    assert moment.turn(keys) == pytest.approx(np.mean(angles), rel=1e-9)


def test_turn_is_unknown_without_an_invertible_half(rng: torch.Generator) -> None:
    moment, keys = random_moment(rng), torch.randn(1, WIDTH, generator=rng, dtype=torch.float64)
    assert replace(moment, half_total=None, half_count=0).turn(keys) is None
    assert replace(moment, half_count=WIDTH).turn(keys) is None
    for count in (15, 25):  # of 40: no longer about a half
        assert replace(moment, half_count=count).turn(keys) is None
    flat = torch.ones(WIDTH, WIDTH, dtype=torch.float64)
    assert replace(moment, half_total=flat).turn(keys) is None


def test_the_turn_falls_as_tokens_grow(gpt2: Any) -> None:
    keys = torch.randn(5, 128, dtype=torch.float64)
    turns = []
    for tokens in (600, 2400, 9600):
        moment = collect_moments(gpt2, 1, made_up_texts(2000), tokens=tokens, progress=False)[1]
        assert tokens // 2 <= moment.half_count < moment.count
        turns.append(moment.turn(keys))
    assert turns[0] > 1.3 * turns[1] > 1.3**2 * turns[2] > 0


def test_a_singular_moment_says_how_many_tokens_are_needed(gpt2: Any) -> None:
    moment = collect_moments(gpt2, 1, TEXTS[:2], progress=False)[1]
    with pytest.raises(MomentError, match=f"{moment.count} tokens for 128 dimensions.*collect about 1280"):
        moment.solve(torch.ones(128))


def test_moments_of_different_things_cannot_be_added(rng: torch.Generator) -> None:
    moment = random_moment(rng)
    for other in (random_moment(rng, layer=2), random_moment(rng, prepend_bos=False)):
        with pytest.raises(MomentError, match="cannot add moments"):
            moment + other


def test_the_half_of_a_sum_is_the_sum_of_the_halves(rng: torch.Generator) -> None:
    first, second = random_moment(rng), random_moment(rng, count=30)
    total = first + second
    torch.testing.assert_close(total.total, first.total + second.total, rtol=0, atol=0)
    assert total.count == 70 and total.half_count == 20 + 15 and total.origin.n_texts == 4
    assert total.half_total is not None and first.half_total is not None and second.half_total is not None
    torch.testing.assert_close(total.half_total, first.half_total + second.half_total, rtol=0, atol=0)


def test_a_sum_has_no_half_where_a_part_has_none(rng: torch.Generator) -> None:
    first, second = random_moment(rng), random_moment(rng)
    for parts in ((first, replace(second, half_total=None, half_count=0)), (replace(first, half_total=None), second)):
        total = parts[0] + parts[1]
        assert total.half_total is None and total.half_count == 0
        assert total.turn(torch.ones(1, WIDTH).double()) is None


def test_moments_of_one_model_under_two_names_can_be_added(rng: torch.Generator) -> None:
    first, second = random_moment(rng, model="a"), random_moment(rng, model="b")
    assert (first + second).origin.model == "a"
    for parts in ((first, replace(second, probe=None)), (replace(first, probe=None), second)):
        with pytest.raises(MomentError, match="cannot add moments of different"):
            parts[0] + parts[1]


def test_moments_are_not_saved_under_the_published_formats_name(rng: torch.Generator, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"\.npz is the published format.*\.safetensors"):
        SecondMoments([random_moment(rng)]).save(tmp_path / "m.npz")
    assert list(tmp_path.iterdir()) == []


def test_a_moment_that_is_empty_not_square_or_not_finite_is_refused() -> None:
    origin, square = MomentOrigin("toy", None), torch.eye(3, dtype=torch.float64)
    # With checked annotations, as in these tests, the shape is refused even before the package looks at it.
    with pytest.raises((MomentError, TypeCheckError), match=r"square|d_mlp"):
        SecondMoment(0, torch.ones(3, 4), 1, origin)
    for total, count in ((square, 0), (torch.nan * square, 5)):
        with pytest.raises(MomentError, match="Collect it again"):
            SecondMoment(0, total, count, origin)


def test_saved_moments_come_back_as_they_were(rng: torch.Generator, tmp_path: Path) -> None:
    bare = SecondMoment(7, torch.eye(4, dtype=torch.float64), 3, MomentOrigin("toy", None))
    moments = SecondMoments([bare, random_moment(rng)])
    again = SecondMoments.load(moments.save(tmp_path / "moments.safetensors"))
    assert list(again) == [3, 7]
    for layer, moment in moments.items():
        found = again[layer]
        assert (found.count, found.half_count, found.origin) == (moment.count, moment.half_count, moment.origin)
        for name in ("total", "probe", "half_total"):
            saved, read = getattr(moment, name), getattr(found, name)
            assert (saved is None) == (read is None) and (saved is None or torch.equal(saved, read))
    assert "layer 3, 6 dimensions, 40 tokens of 'made up' in 'toy'" in repr(again)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_of_moments_is_refused(rng: torch.Generator, tmp_path: Path, share: float) -> None:
    path = SecondMoments([random_moment(rng)]).save(tmp_path / "moments")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(FileFormatError, match="truncated, corrupt"):
        SecondMoments.load(path)


def test_an_incomplete_or_newer_file_of_moments_is_refused(tmp_path: Path) -> None:
    origin = {"model": "toy", "prepend_bos": None}
    layers = {"0": {"count": 1, "half_count": 0, "origin": origin}}
    empty = {"x": torch.ones(1)}
    newer = save_tensors(tmp_path / "newer", "moments", empty, {"layers": layers, "format_version": 99})
    with pytest.raises(FileFormatError, match="Update lens_rome"):
        SecondMoments.load(newer)
    no_tensor = save_tensors(tmp_path / "no tensor", "moments", empty, {"layers": layers})
    no_layers = save_tensors(tmp_path / "no layers", "moments", empty, {})
    layers["0"]["origin"] = {"modell": "toy"}
    odd_origin = save_tensors(tmp_path / "odd", "moments", {"0.total": torch.eye(2)}, {"layers": layers})
    for path in (no_tensor, no_layers, odd_origin):
        with pytest.raises(FileFormatError, match="complete"):
            SecondMoments.load(path)


def write_npz(path: Path, total: np.ndarray, count: int = 40, **more: Any) -> Path:
    """A file as the released code writes it."""
    keys = {
        "mom2.constructor": np.array("util.runningstats.SecondMoment()", dtype="<U32"),
        "mom2.count": np.array(count, dtype=np.int64),
        "mom2.mom2": total,
        "sample_size": np.array(100000, dtype=np.int64),
    }
    np.savez(path, **{**keys, **more})
    return path


PUBLISHED_NAME = "transformer.h.17.mlp.c_proj_float32_mom2_100000.npz"


@pytest.mark.parametrize(
    ("name", "layer"), [(PUBLISHED_NAME, 17), ("gpt_neox.layers.5.mlp.dense_4h_to_h_float32_mom2_9.npz", 5)]
)
def test_a_published_file_is_read_as_sum_and_count(rng: torch.Generator, tmp_path: Path, name: str, layer: int) -> None:
    expected = random_moment(rng).total.float()
    path = write_npz(tmp_path / name, expected.numpy())
    for moment in (SecondMoment.from_npz(path), SecondMoments.load(path)[layer]):
        assert moment.layer == layer and moment.count == 40 and moment.origin.prepend_bos is False
        torch.testing.assert_close(moment.mean, expected.double() / 40, rtol=0, atol=0)
    # The special NaN that stands for "all documents" is of no interest.
    none = write_npz(tmp_path / name, expected.numpy(), sample_size=np.array(np.nan))
    assert SecondMoment.from_npz(none, layer=2).layer == 2


def test_a_published_file_whose_name_has_no_layer_needs_one(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "mom2.npz", np.eye(3, dtype=np.float32))
    with pytest.raises(MomentError, match="pass layer="):
        SecondMoment.from_npz(path)
    assert SecondMoment.from_npz(path, layer=4).layer == 4


def test_published_files_that_are_something_else_are_refused(tmp_path: Path) -> None:
    eye = np.eye(3, dtype=np.float32)
    wrong_keys, pickled, plain = (tmp_path / f"{name}.npz" for name in ("keys", "pickled", "plain"))
    np.savez(wrong_keys, moment=eye)
    np.savez(pickled, **{"mom2.mom2": np.array([None, {}], dtype=object), "mom2.count": np.array(1)})
    np.save(plain.with_suffix(".npy"), eye)
    plain.with_suffix(".npy").rename(plain)
    whole = write_npz(tmp_path / "whole.npz", eye).read_bytes()
    files = {"cut": whole[: len(whole) // 2], "few": whole[:10], "empty": b"", "text": b"not a moment"}
    for name, content in files.items():
        (tmp_path / f"{name}.npz").write_bytes(content)
    paths = [wrong_keys, pickled, plain, *(tmp_path / f"{name}.npz" for name in [*files, "missing"])]
    for path in paths:
        with pytest.raises(FileFormatError, match=r"not a second moment in the \.npz format"):
            SecondMoment.from_npz(path, layer=0)


def test_published_files_with_impossible_matrices_are_refused(rng: torch.Generator, tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    with pytest.raises(FileFormatError, match="not symmetric"):
        SecondMoment.from_npz(write_npz(path, torch.randn(3, 3, generator=rng).numpy()), layer=0)
    with pytest.raises(FileFormatError, match="square"):
        SecondMoment.from_npz(write_npz(path, np.ones((3, 4), dtype=np.float32)), layer=0)
    with pytest.raises(MomentError, match="not finite"):
        SecondMoment.from_npz(write_npz(path, np.full((3, 3), np.inf, dtype=np.float32)), layer=0)
    with pytest.raises(MomentError, match="0 tokens"):
        SecondMoment.from_npz(write_npz(path, np.eye(3, dtype=np.float32), count=0), layer=0)


def test_moments_of_two_models_of_one_name_cannot_be_added(rng: torch.Generator) -> None:
    first, second = random_moment(rng), random_moment(rng)
    turned = replace(second, probe=torch.tensor([[1.0, -1, 1, -1, 1, -1]] * 2))
    assert (first + second).count == 80
    with pytest.raises(MomentError, match="their keys of the probe text differ, so they are not of the same model"):
        first + turned


def test_a_published_file_counts_as_collected_without_bos(gpt2: Any, tmp_path: Path) -> None:
    keys = torch.randn(300, 128, dtype=torch.float64)
    np.savez(tmp_path / "transformer.h.1.npz", **{"mom2.mom2": (keys.T @ keys).numpy(), "mom2.count": 300})
    published = SecondMoments.load(tmp_path / "transformer.h.1.npz")
    with pytest.raises(MomentError, match="collected with prepend_bos=False, the edit uses True"):
        moment_for(as_surface(gpt2), 1, published, prepend_bos=True)
    with pytest.warns(UserWarning, match="does not say which model"):
        assert moment_for(as_surface(gpt2), 1, published, prepend_bos=False).count == 300


def test_small_entries_of_a_published_file_may_be_rounded(tmp_path: Path) -> None:
    """Mirrored entries near zero differ by rounding of the large ones, which is no asymmetry."""
    total = torch.diag(torch.tensor([1e4, 1.0])).double()
    total[0, 1], total[1, 0] = 0.01, -0.01
    np.savez(tmp_path / "h.0.npz", **{"mom2.mom2": total.numpy(), "mom2.count": 9})
    assert SecondMoment.from_npz(tmp_path / "h.0.npz", layer=0).count == 9
