"""Keys of past edits, kept with a moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError

from lens_rome.errors import MomentError
from lens_rome.moments import MomentOrigin, SecondMoment, SecondMoments, collect_moments
from tests.moments.support import TEXTS

WIDTH = 6


@dataclass(frozen=True)
class WroteAt:
    """The part of an edit that a memory needs."""

    keys: Mapping[int, torch.Tensor] = field(default_factory=dict)


def made_moment(rng: torch.Generator, layer: int = 3) -> SecondMoment:
    keys = torch.randn(40, WIDTH, generator=rng, dtype=torch.float64)
    return SecondMoment(layer, keys.T @ keys, 40, MomentOrigin("toy", True))


def test_memory_grows_key_by_key_and_leaves_the_moment_alone(rng: torch.Generator) -> None:
    moment, keys = made_moment(rng), torch.randn(5, WIDTH, generator=rng)
    first = moment.conditioned(keys[:2])
    both = first.conditioned(keys[2:])
    assert moment.memory is None and first.memory is not None and both.memory is not None
    assert torch.equal(first.memory, keys[:2].double()) and torch.equal(both.memory, keys.double())
    assert torch.equal(both.mean, moment.mean) and "5 keys of edits remembered" in repr(both)
    assert "remembered" not in repr(moment)


def test_memory_is_a_copy(rng: torch.Generator) -> None:
    keys = torch.randn(2, WIDTH, generator=rng, dtype=torch.float64)
    kept = made_moment(rng).conditioned(keys).memory
    assert kept is not None
    before = kept.clone()
    keys.zero_()
    assert torch.equal(kept, before)


def test_what_is_factored_is_not_factored_again(rng: torch.Generator) -> None:
    moment, key = made_moment(rng), torch.ones(1, WIDTH)
    assert "solver" not in vars(moment.conditioned(key))
    solver, spectrum = moment.solver, moment.spectrum
    again = moment.conditioned(key)
    assert again.solver is solver and again.spectrum is spectrum
    assert replace(again, count=20).solver is not solver


def test_the_spectrum_is_that_of_the_mean(rng: torch.Generator) -> None:
    moment = made_moment(rng)
    values, vectors = moment.spectrum
    torch.testing.assert_close(vectors @ torch.diag(values) @ vectors.T, moment.mean, rtol=0, atol=1e-12)
    assert bool((values.diff() >= 0).all())


def test_moments_remember_an_edit_at_the_layers_it_wrote(rng: torch.Generator) -> None:
    moments = SecondMoments([made_moment(rng, layer) for layer in (1, 2, 3)])
    edit = WroteAt({1: torch.ones(2, WIDTH), 3: torch.zeros(1, WIDTH)})
    found = moments.conditioned(edit).conditioned(edit)
    sizes = {layer: 0 if moment.memory is None else len(moment.memory) for layer, moment in found.items()}
    assert sizes == {1: 4, 2: 0, 3: 2}
    assert all(moment.memory is None for moment in moments.values())


def test_memory_is_saved_and_loaded(rng: torch.Generator, tmp_path: Path) -> None:
    keys = torch.randn(3, WIDTH, generator=rng)
    moments = SecondMoments([made_moment(rng, 1), made_moment(rng, 2).conditioned(keys)])
    found = SecondMoments.load(moments.save(tmp_path / "moments.safetensors"))
    assert found[1].memory is None and found[2].memory is not None
    assert torch.equal(found[2].memory, keys.double())


def test_edits_that_cannot_be_remembered_are_refused(rng: torch.Generator) -> None:
    moments = SecondMoments([made_moment(rng)])
    with pytest.raises(MomentError, match="does not say which keys it wrote at"):
        moments.conditioned(WroteAt())
    with pytest.raises(
        MomentError, match=r"wrote at layers \[3, 5\], the moments hold layers \[3\].*Collect layers \[5\]"
    ):
        moments.conditioned(WroteAt({3: torch.ones(1, WIDTH), 5: torch.ones(1, WIDTH)}))
    # With checked annotations, as in these tests, the shape is refused even before the package looks at it.
    with pytest.raises((MomentError, TypeCheckError), match=r"memory"):
        moments.conditioned(WroteAt({3: torch.ones(1, WIDTH + 1)}))
    with pytest.raises(MomentError, match=r"memory of layer 3 is of keys \[n, 6\] with finite values"):
        moments.conditioned(WroteAt({3: torch.full((1, WIDTH), torch.nan)}))


def test_moments_with_a_memory_cannot_be_added(rng: torch.Generator) -> None:
    moment = made_moment(rng)
    for parts in (
        (moment, moment.conditioned(torch.ones(1, WIDTH))),
        (moment.conditioned(torch.ones(1, WIDTH)), moment),
    ):
        with pytest.raises(MomentError, match=r"remember edits.*Add them first"):
            parts[0] + parts[1]


def test_a_file_that_remembers_edits_is_no_checkpoint(gpt2: Any, tmp_path: Path) -> None:
    path = tmp_path / "moments.safetensors"
    collected = collect_moments(gpt2, 1, TEXTS, tokens=20, progress=False)
    collected.conditioned(WroteAt({1: torch.ones(1, 128)})).save(path)
    before = path.read_bytes()
    with pytest.raises(MomentError, match="not what is being collected"):
        collect_moments(gpt2, 1, TEXTS, tokens=40, checkpoint=path, progress=False)
    assert path.read_bytes() == before
