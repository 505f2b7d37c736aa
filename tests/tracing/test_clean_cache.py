"""The clean states of a trace may come from a cache that TransformerLens made."""

from typing import Any

import pytest
import torch

from lens_rome.errors import TraceError
from lens_rome.facts import Fact
from lens_rome.tracing import restore_hooks, trace
from tests.helpers import Case

pytestmark = pytest.mark.filterwarnings("ignore::lens_rome.tracing.WeakTraceWarning")

FACT = Fact("Eiffel Tower", "The {} is", "E")
OPTIONS: dict[str, Any] = {"noise": 0.7, "samples": 2}


def cached(model: Any) -> Any:
    with torch.no_grad():
        return model.run_with_cache(model.to_tokens(FACT.prompt))[1]


@pytest.mark.parametrize("kind", ["resid", "mlp", "attn", "post"])
def test_a_trace_from_the_caches_states_equals_one_that_reads_its_own(gpt2: Any, gpt2_case: Case, kind: str) -> None:
    own = trace(gpt2, FACT, kind, **OPTIONS)
    given = trace(gpt2, FACT, kind, clean_cache=cached(gpt2), **OPTIONS)
    torch.testing.assert_close(given.sample_scores, own.sample_scores, rtol=0, atol=gpt2_case.tolerance)


def test_the_states_that_are_put_in_are_those_of_the_cache(gpt2: Any) -> None:
    name = "blocks.1.hook_mlp_out"
    options = {**OPTIONS, "layers": 1, "window": 1}
    own = trace(gpt2, FACT, "mlp", **options)
    changed = trace(gpt2, FACT, "mlp", clean_cache={name: (1 + 1e-5) * cached(gpt2)[name]}, **options)
    first = own.subject_span[0]
    assert float((changed.scores - own.scores)[1, first:].abs().max()) > 1e-10


def test_the_hooks_of_restoration_take_the_cache_as_it_is(gpt2: Any) -> None:
    hooks = restore_hooks(gpt2, "resid", cached(gpt2), [(1, (0, 1))], samples=1)
    assert [name for name, _ in hooks] == ["blocks.0.hook_resid_post"]


def test_a_cache_without_the_site_is_refused(gpt2: Any) -> None:
    with pytest.raises(TraceError, match="names_filter including it"):
        trace(gpt2, FACT, "mlp", clean_cache={}, **OPTIONS)


def test_a_cache_of_a_shorter_prompt_is_refused(gpt2: Any) -> None:
    cache = cached(gpt2)
    short = {f"blocks.{layer}.hook_mlp_out": cache[f"blocks.{layer}.hook_mlp_out"][:, :2] for layer in range(4)}
    with pytest.raises(TraceError, match="of this very prompt"):
        trace(gpt2, FACT, "mlp", clean_cache=short, **OPTIONS)


def test_a_cache_has_no_use_where_no_clean_state_is_restored(gpt2: Any) -> None:
    with pytest.raises(TraceError, match="only where clean states are restored"):
        trace(gpt2, FACT, "mlp", clean_cache=cached(gpt2), direction="noise", **OPTIONS)
