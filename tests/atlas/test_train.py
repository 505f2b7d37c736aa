"""The training: a tiny run is deterministic, resumable, learns, and exports a loadable checkpoint."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lens_rome.atlas.network import new_network
from lens_rome.atlas.tokenizer import train_tokenizer
from lens_rome.atlas.train import Settings, export, rate_factor, shape, train

TINY = Settings(layers=3, width=32, heads=2, vocabulary=600, tokens=512, steps=8, short=4, warm=2, cool=3, read_from=1)


@pytest.fixture(scope="module")
def tokenizer(corpus):
    return train_tokenizer((t.text for t in corpus.texts["facts"][::5]), TINY.vocabulary)


def test_same_settings_give_the_same_network_also_when_resumed(corpus, tokenizer, tmp_path) -> None:
    snapshot = tmp_path / "snapshot.safetensors"
    network, losses = train(corpus, tokenizer, TINY, fast=False, snapshot=snapshot, every=5)
    again, same = train(corpus, tokenizer, TINY, fast=False, resume=snapshot)
    assert losses == same
    assert losses[-1] < losses[0]
    for one, other in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_exported_checkpoint_loads_without_our_code(tokenizer, tmp_path) -> None:
    network = new_network(TINY.vocabulary, 2, 32, 2, 128, seed=0).eval()
    export(network, tokenizer, tmp_path, {"seconds": 1})
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).float().eval()
    wrapped = AutoTokenizer.from_pretrained(tmp_path)
    ids = wrapped("The Eiffel Tower is in the city of", return_tensors="pt").input_ids
    assert ids[0].tolist() == tokenizer.encode("The Eiffel Tower is in the city of").ids
    assert wrapped.bos_token == wrapped.eos_token == wrapped.pad_token == wrapped.unk_token == "<|endoftext|>"
    causal = torch.full((ids.shape[1],) * 2, -1e4).triu(1)[None, None]
    with torch.inference_mode():
        ours = network.half().float()(ids, attention_mask=causal).logits
        theirs = loaded(ids).logits
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)  # two ways to compute GELU and attention
    assert json.loads((tmp_path / "config.json").read_text())["activation_function"] == "gelu_new"


def test_learning_rate_warms_holds_and_cools() -> None:
    settings = Settings(steps=100, warm=10, cool=20)
    factors = [rate_factor(i, settings) for i in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[50] == 1.0
    assert factors[-1] == pytest.approx(0.05)


def test_rows_are_short_first_and_whole_later() -> None:
    settings = Settings(steps=10, short=6, tokens=1024)
    assert shape(0, settings) == (16, 64)
    assert shape(6, settings) == (8, 128)
