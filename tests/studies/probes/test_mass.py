from typing import Any

import pytest
import torch

from lens_rome.studies.probes import StrengthCase, strength
from lens_rome.studies.probes.mass import mean_mass
from lens_rome.studies.probes.texts import Written, written
from lens_rome.surface import as_surface
from tests.studies.probes.support import TINY, identity


def test_mass_is_read_at_the_tokens_that_were_written_up_to_the_end_of_the_context(gpt2: Any) -> None:
    surface = as_surface(gpt2)
    (full,) = written(surface, ["Steve"], tokens=surface.n_ctx)
    assert len(full.tokens) == surface.n_ctx
    short = Written("no such text", (*surface.encode("The Eiffel").ids, 7, 9, 8), len(surface.encode("The Eiffel")))
    found = []
    for text in (full, short):
        with torch.no_grad():
            probs = gpt2(torch.tensor([text.tokens]))[0].double().softmax(-1)
        found += [probs[place - 1, [5, 11]] for place in range(text.start, len(text.tokens))]
    assert mean_mass(surface, [full, short], [5, 11]) == pytest.approx(torch.stack(found).mean(0).tolist(), abs=1e-12)
    assert mean_mass(surface, [], [5]) == [0.0]


def test_texts_that_fill_the_context_have_a_strength(gpt2: Any) -> None:
    case = StrengthCase("E", TINY, ("An Eiffel",))
    found = strength(gpt2, identity(gpt2), [case], samples=3, tokens=as_surface(gpt2).n_ctx)
    masses: Any = [row["mass"] for row in found.rows]
    assert len(masses) == 4 and all(0 < mass < 1 for mass in masses)
