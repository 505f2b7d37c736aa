"""`metrics=` asks what they need and nothing more; CounterFact+ and divergences equal plain loops."""

from dataclasses import fields, replace
from typing import Any

import pytest
import torch

from lens_rome.editing import Edit, FactErasure
from lens_rome.errors import EditError
from lens_rome.evaluation import Asked, ReportError, TextSettings, evaluate
from lens_rome.surface import as_surface
from tests.evaluation.support import RECORDS, dense, embedding_row, inner, rank_one, several_layers
from tests.helpers import Case, assert_untouched
from tests.oracles.evaluation import told

PLUS = ("NS+", "NM+", "NKL", "NKL+")


def edits_of(model: Any) -> dict[int, Edit]:
    return {11: rank_one(model, 2), 12: several_layers(model, 7), 13: inner(model, 9)}


@torch.no_grad()
def next_logprobs(model: Any, prompt: str, prepend_bos: bool) -> torch.Tensor:
    bos = [model.tokenizer.bos_token_id] if prepend_bos else []
    ids = [*bos, *model.tokenizer(prompt, add_special_tokens=False)["input_ids"]]
    return model(torch.tensor([ids]))[0, -1].double().log_softmax(-1)


def divergence(model: Any, edit: Edit, prompt: str, prepend_bos: bool) -> float:
    """From the definition, with the edit in the weights."""
    before = next_logprobs(model, prompt, prepend_bos)
    with edit.applied(model):
        after = next_logprobs(model, prompt, prepend_bos)
    return sum(float(p.exp() * (p - q)) for p, q in zip(after, before, strict=True))


@pytest.mark.parametrize("weights", [False, True])
def test_divergences_and_scores_after_the_edits_sentence_equal_a_plain_loop(
    gpt2: Any, gpt2_case: Case, weights: bool
) -> None:
    edits, bos = edits_of(gpt2), as_surface(gpt2).prepends_bos()
    with assert_untouched(gpt2):
        report = evaluate(gpt2, RECORDS, edits, metrics=PLUS, weights=weights)
    assert report.metrics == PLUS and list(report.summary()) == list(PLUS)
    expected = []
    for record in RECORDS:
        request = record.request
        for sentence in ("", f"{request.prompt} {request.target_new}. "):
            expected += [(record, sentence + prompt) for prompt in record.neighborhood_prompts]
    assert [row.prompt for row in report.scores] == [prompt for _, prompt in expected]
    for row, (record, prompt) in zip(report.scores, expected, strict=True):
        edit = edits[record.case_id]
        moved = divergence(gpt2, edit, prompt, bos)
        assert row.divergence == pytest.approx(moved, rel=1e-6, abs=gpt2_case.tolerance) and moved > 0
        with edit.applied(gpt2):
            logprob, tokens, top = told(gpt2, prompt, record.request.target_new, bos)
        assert row.new.logprob == pytest.approx(logprob, rel=0, abs=max(1e-10, 100 * gpt2_case.tolerance))
        assert (row.new.tokens, row.new.top) == (tokens, top)


def test_edits_without_hook_form_have_divergences_and_the_unedited_model_has_none(gpt2: Any) -> None:
    edits = {11: dense(gpt2), 12: embedding_row(gpt2), 13: dense(gpt2)}
    bos = as_surface(gpt2).prepends_bos()
    with assert_untouched(gpt2):
        report = evaluate(gpt2, RECORDS, edits, metrics=["NKL"])
    for row in report.scores:
        expected = divergence(gpt2, edits[row.case_id], row.prompt, bos)
        assert row.divergence == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert evaluate(gpt2, RECORDS, metrics=["NKL"]).score("NKL").n == 0


def test_only_prompts_that_a_metric_needs_are_asked(gpt2: Any) -> None:
    edits = edits_of(gpt2)
    whole = evaluate(gpt2, RECORDS, edits, before=True)
    for names, groups, before in (
        (["ES", "PM"], {"rewrite", "paraphrase"}, False),
        (["S"], {"rewrite", "paraphrase", "neighborhood"}, False),
        (["NeS"], {"neighborhood"}, True),
        (["Overall_FE"], {"rewrite", "paraphrase", "neighborhood"}, True),
    ):
        report = evaluate(gpt2, RECORDS, edits, metrics=names)
        assert {row.group for row in report.scores} == groups
        assert all((row.before is not None) == before for row in report.scores)
        assert report.metrics == tuple(names) and report.settings["metrics"] == names
        for name in names:
            assert report.score(name).mean == pytest.approx(whole.score(name).mean, rel=1e-12)
    attributes = evaluate(gpt2, RECORDS, edits, metrics=["ES"], attributes=True)
    assert {row.group for row in attributes.scores} == {"rewrite", "attribute"}


def test_metrics_of_texts_let_the_models_write(gpt2: Any) -> None:
    records = [replace(record, generation_prompts=("Rome is",)) for record in RECORDS[:1]]
    report = evaluate(gpt2, records, edits_of(gpt2), metrics=["GE"], texts=TextSettings(length=6))
    assert report.scores == () and report.score("GE").n == 1 and report.case_ids == (11,)
    essence = evaluate(gpt2, records, edits_of(gpt2), metrics=["Ess"], texts=TextSettings(length=6, essence_samples=1))
    assert essence.score("Ess").n == 1


def test_metrics_that_cannot_be_asked_are_refused(gpt2: Any) -> None:
    for names, message in (
        ([], r"list of names, got \[\]"),
        ("ES", "list of names, got 'ES'"),
        (["XY"], "no metric 'XY'"),
    ):
        with pytest.raises(ReportError, match=message):
            evaluate(gpt2, RECORDS, metrics=names)
    with pytest.raises(EditError, match="RS compares texts with references; pass references="):
        evaluate(gpt2, RECORDS, metrics=["RS"])


def checked(**options: Any) -> None:
    """What the options are told without the tests' own checker of annotations."""
    asked = object.__new__(Asked)
    for field in fields(Asked):
        object.__setattr__(asked, field.name, options.get(field.name, field.default))
    asked.__post_init__()


def test_options_and_records_of_the_wrong_kind_are_refused() -> None:
    for option, message in (
        ({"batch_tokens": True}, "batch_tokens must be a whole number"),
        ({"batch_tokens": 1.5}, "batch_tokens is None or such as 2048, got 1.5"),
        ({"texts": True}, r"texts is None or such as TextSettings\(\), got True"),
        ({"problem": FactErasure}, r"problem is None or such as FactErasure\(\)"),
        ({"references": {}, "texts": TextSettings()}, r"references is None or such as References.of\(snippets\), got"),
    ):
        with pytest.raises(EditError, match=message):
            checked(**option)
    with pytest.raises(EditError, match="2 records have the case id 11"):
        Asked().check(RECORDS[:1] * 2)
