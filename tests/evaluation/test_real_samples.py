"""Records of the published data sets, with GPT-2's real tokenizer, scored by a model of random weights."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config

from lens_rome.datasets import References, Snippets, iter_records, read_zsre
from lens_rome.evaluation import PromptScore, TextSettings, evaluate, likelihoods, paper_table
from lens_rome.facts import EvalRecord
from lens_rome.surface import as_surface, load_model
from tests.evaluation.support import rank_one
from tests.helpers import assert_untouched, data_folder, gpt2_tokenizer, skip_without_hooked
from tests.oracles.evaluation import told


@pytest.fixture(scope="module")
def real_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of GPT-2's vocabulary and little else."""
    tokenizer, folder = gpt2_tokenizer(), tmp_path_factory.mktemp("real")
    config = GPT2Config(n_positions=128, n_embd=16, n_layer=4, n_head=2, initializer_range=0.2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["hooked", "bridge"])
def model(request: pytest.FixtureRequest, real_folder: Path) -> Any:
    skip_without_hooked(request.param)
    return load_model(real_folder, request.param, dtype=torch.float64)


def counterfact(n: int) -> Iterator[EvalRecord]:
    return islice(iter_records(data_folder() / "counterfact" / "counterfact_sample.json"), n)


def assert_equals_loop(model: Any, scores: tuple[PromptScore, ...], target: Callable[[PromptScore], str]) -> None:
    """The likelihoods of the new object, one run a token."""
    assert scores
    for score in scores:
        logprob, tokens, top = told(model, score.prompt, target(score), prepend_bos=False)
        assert score.new.logprob == pytest.approx(logprob, rel=0, abs=1e-9)
        assert (score.new.tokens, score.new.top) == (tokens, top)


def test_records_of_counterfact_have_every_score_of_the_papers_table(model: Any) -> None:
    records = list(counterfact(3))
    groups = {record.reference_group: tuple(record.paraphrase_prompts) for record in records}
    references = References.of(Snippets(groups))
    edit, texts = rank_one(model, 1), TextSettings(length=20)
    with assert_untouched(model):
        report = evaluate(
            model, records, edit, prepend_bos=False, before=True, texts=texts, references=references, label="random"
        )
    assert {score.group for score in report.scores} == {"rewrite", "paraphrase", "neighborhood"}
    assert len(report.scores) == sum(1 + len(r.paraphrase_prompts) + len(r.neighborhood_prompts) for r in records)
    with edit.applied(model):
        targets = {record.case_id: record.request.target_new for record in records}
        assert_equals_loop(model, report.scores[:5], lambda score: targets[score.case_id])
    for name in ("ES", "EM", "PS", "PM", "NS", "NM", "GE", "RS"):
        assert report.score(name).n == report.score(name, before=True).n == 3
    assert {row.relation for row in report.scores} == {record.request.relation for record in records}
    for row, record in zip(report.texts, records, strict=True):
        assert all(map(str.startswith, row.texts, record.generation_prompts))
    assert "random" in paper_table(report)


def test_records_of_zsre_are_scored_by_their_tokens(model: Any) -> None:
    records = read_zsre(data_folder() / "zsre" / "zsre_with_dependancies_18.json", limit=4)
    edit = rank_one(model, 1)
    report = evaluate(model, records, edit, prepend_bos=False, before=True)
    assert [score.group for score in report.scores[:3]] == ["rewrite", "paraphrase", "neighborhood"]
    for name in ("Efficacy", "Paraphrase", "Specificity"):
        assert 0 <= report.score(name).mean <= 1
        assert report.score(name).n == report.score(name, before=True).n == 4
    assert report.score("ES").n == 0 and "Specificity" in paper_table(report, unedited=True)
    with edit.applied(model):
        assert_equals_loop(model, report.scores[:2], lambda _: records[0].request.target_new)
        found = report.scores[2]
        (expected,) = likelihoods(as_surface(model), [(found.prompt, records[0].neighborhood_answers[0])], False)
    assert found.true is not None and found.true.logprob == pytest.approx(expected.logprob, abs=1e-9)
    assert report.values("Specificity")[0] == pytest.approx(expected.accuracy)
