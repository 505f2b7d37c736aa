import math
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import torch

from lens_rome.editing import Edit
from lens_rome.editing.delta import DenseDelta
from lens_rome.errors import EditError, EditMismatchError, FactError, FileFormatError, SurfaceError
from lens_rome.evaluation import generate
from lens_rome.evaluation.generation import plain_text
from lens_rome.facts import EditRequest
from lens_rome.studies.probes import Answer, Finding, Missing
from lens_rome.studies.probes.asking import before_and_after, rows_at_once, said
from lens_rome.studies.probes.making import edits_of, made_by
from lens_rome.studies.probes.tables import change, chosen, mean_of
from lens_rome.studies.probes.texts import after_mention, begins_with, mentions, written
from lens_rome.surface import as_surface
from tests.helpers import assert_untouched
from tests.studies.probes.support import TINY, identity, leak, logprob

QUESTIONS = [("The Eiffel Tower is", "in Rome"), ("Steve", "Jobs"), ("He said that the", "piano is")]


# -- asking ------------------------------------------------------------------------------------------------------------


def test_what_is_said_equals_a_run_of_each_question_alone(gpt2: Any) -> None:
    surface, edit = as_surface(gpt2), leak(gpt2, "Rome")
    with assert_untouched(gpt2):
        found = before_and_after(surface, QUESTIONS, edit)
    for (prompt, target), before, after in zip(QUESTIONS, found["before"], found["after"], strict=True):
        assert before.logprob == pytest.approx(logprob(gpt2, prompt, target), abs=1e-9)
        assert after.logprob == pytest.approx(logprob(gpt2, prompt, target, edit), abs=1e-9)
        with torch.no_grad():
            scores = gpt2(torch.tensor([surface.encode(prompt).ids]))[0, -1]
        first = surface.encode(f"{prompt} {target}").ids[len(surface.encode(prompt))]
        assert before.rank == 1 + int((scores > scores[first]).sum())
        assert before.top == surface.tokenizer.decode([int(scores.argmax())]).strip()


def test_rows_that_do_not_fit_together_give_the_same(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    surface = as_surface(gpt2)
    together = said(surface, QUESTIONS)
    monkeypatch.setattr("lens_rome.studies.probes.asking._BYTES", 1)
    assert rows_at_once(surface, 5) == 1
    alone = said(surface, QUESTIONS)
    assert [s.logprob for s in alone] == pytest.approx([s.logprob for s in together], abs=1e-9)
    assert said(surface, []) == []


def test_an_edit_that_breaks_the_model_is_told_and_leaves_it_as_it_was(gpt2: Any) -> None:
    surface = as_surface(gpt2)
    huge = torch.full_like(surface.parameter(3, "b_out"), 1e308)
    huge[::2] = -1e308
    edit = Edit.made_for(surface, {(3, "b_out"): DenseDelta(huge)}, {})
    with assert_untouched(gpt2), pytest.raises(SurfaceError, match="not finite"):
        said(surface, QUESTIONS, edit)


def test_an_edit_of_other_weights_is_refused(gpt2: Any) -> None:
    edit = leak(gpt2, "Rome")
    with edit.applied(gpt2), pytest.raises(EditMismatchError):
        said(as_surface(gpt2), QUESTIONS, edit)


# -- texts -------------------------------------------------------------------------------------------------------------


def test_what_is_written_are_the_texts_of_generate_without_their_prompts(gpt2: Any) -> None:
    surface = as_surface(gpt2)
    prompts = [prompt for prompt, _ in QUESTIONS]
    found = written(surface, prompts, tokens=4, seed=3)
    for prompt, each in zip(prompts, found, strict=True):
        length = len(surface.encode(prompt, False)) + 4
        (whole,) = generate(gpt2, [prompt], length=length, seed=3)
        assert prompt + each.text == whole
        assert each.text
        assert each.start == len(surface.encode(prompt)) == len(each.tokens) - 4
        assert whole == plain_text(surface, each.tokens[int(surface.prepends_bos()) :])


def test_mentions_are_of_whole_words_in_any_case_of_any_name() -> None:
    assert mentions("ROME, romes, Rome's and the eternal City", ["Rome", "Eternal City"]) == 3
    assert mentions("São Paulo", ["São Paulo"]) == 1
    assert mentions("a.b axb", ["a.b"]) == 1
    assert after_mention("In Paris. Rome is Rome", ["rome"]) == " is Rome"
    assert after_mention("Romeo", ["Rome"]) is None


def test_an_accent_belongs_to_its_letter_however_it_is_written() -> None:
    for form in ("NFC", "NFD"):
        text, name = (unicodedata.normalize(form, word) for word in ("In San José, São Tomé", "José"))
        assert mentions(text, ["Jose"]) == mentions(text, ["Sao"]) == 0
        assert mentions(text, [name]) == mentions(text, ["José"]) == mentions(text, ["são tomé"]) == 1
    assert mentions("ra\u0302x\u0302", ["x"]) == mentions("x\u0302", ["x"]) == 0, "a letter that has no composed form"
    assert mentions("राम का घर", ["राम"]) == 1
    assert mentions("रामा का घर", ["राम"]) == 0


def test_names_in_scripts_without_spaces_are_found_beside_other_words() -> None:
    assert mentions("北京是中国的首都", ["北京"]) == mentions("我在Rome和北京", ["北京"]) == 1
    assert mentions("我在Rome和北京", ["Rome"]) == 1
    assert (
        mentions("東京タワーはパリにある", ["パリ"])
        == mentions("파리는 도시", ["파리"])
        == mentions("อยู่ในโรม", ["โรม"])
        == 1
    )
    assert mentions("A北京B", ["北京"]) == 1
    assert mentions("Пекин, Пекинский", ["пекин"]) == 1
    assert after_mention("北京是中国", ["北京"]) == "是中国"
    assert begins_with(" 北京是", ["北京"])


def test_a_text_begins_with_a_name_after_an_article_or_not() -> None:
    assert begins_with("\n The Hague is", ["Hague"])
    assert begins_with(" The Hague is", ["The Hague"])
    assert not begins_with(" in Rome", ["Rome"])
    assert not begins_with(" Romeo", ["Rome"])
    assert not begins_with("", ["Rome"])


# -- tables ----------------------------------------------------------------------------------------------


def test_a_change_is_the_mean_after_minus_the_mean_before() -> None:
    rows = [
        {"phase": phase, "way": way, "logprob": value}
        for phase, way, value in (
            ("before", "a", 1.0), ("before", "a", 2.0), ("after", "a", 4.0), ("after", "a", 4.0), ("after", "b", 9.0)
        )
    ]  # fmt: skip
    assert change(rows, way="a") == 2.5
    assert math.isnan(change(rows, way="b"))
    assert math.isnan(mean_of([], "logprob"))
    assert len(chosen(rows, way="a", phase="after")) == 2


# -- making ------------------------------------------------------------------------------------------------------------


class Refusing:
    """An editor that refuses subjects with a capital E, all at once or each alone."""

    def edit_each(self, model: Any, requests: Any, *, moments: Any = None) -> list[Edit]:  # noqa: ARG002
        if any(request.subject.startswith("E") for request in requests):
            raise EditError("no E, please")
        return [identity(model) for _ in requests]


def test_one_edit_a_mapping_or_an_editor_give_each_case_its_edit(gpt2: Any) -> None:
    edit = identity(gpt2)
    requests = {"a": TINY, "b": TINY}
    assert edits_of(gpt2, edit, requests) == ({"a": edit, "b": edit}, ())
    assert edits_of(gpt2, {"a": edit, "b": edit, "c": edit}, requests) == ({"a": edit, "b": edit}, ())
    assert made_by({"a": edit}) == {
        "editor": "identity", "editor_settings": None, "edits_differ": False, "edits_prepend_bos": None,
        "changes": {"a": 0.0},
    }  # fmt: skip


def test_cases_that_an_editor_refuses_are_missing_with_its_reason(gpt2: Any) -> None:
    requests = {"a": TINY, "b": EditRequest("Steve", "The {} is", "cat"), "c": TINY}
    made, missing = edits_of(gpt2, Refusing(), requests)
    assert list(made) == ["b"]
    assert missing == (Missing("a", "no E, please"), Missing("c", "no E, please"))
    for refused in ({"a": TINY}, {"a": TINY, "c": TINY}):
        with pytest.raises(EditError, match="no E, please"):
            edits_of(gpt2, Refusing(), refused)


def test_a_case_without_edit_and_the_class_of_an_editor_are_refused(gpt2: Any) -> None:
    with pytest.raises(EditError, match="1 cases have no edit, the first is 'a'"):
        edits_of(gpt2, {"b": identity(gpt2)}, {"a": TINY})
    with pytest.raises(EditError, match="got the class Refusing"):
        edits_of(gpt2, Refusing, {"a": TINY})  # pyright: ignore[reportArgumentType]


def test_no_cases_are_refused(gpt2: Any) -> None:
    with pytest.raises(EditError, match="no cases to probe"):
        edits_of(gpt2, identity(gpt2), {})


# -- findings ----------------------------------------------------------------------------------------------------------

FOUND = Finding(
    "direction",
    "Does it?",
    Answer("ratio", math.nan, math.nan, math.nan, 1, "Cannot be told."),
    ({"case": "a", "prompt": "é", "phase": "before", "target": "x", "logprob": -math.inf, "ok": True},),
    ({"measure": "m", "mean": 1.5, "low": math.nan, "high": None},),
    (Missing("b", "why"),),
    {"seed": 0},
)


def test_a_finding_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = FOUND.save(tmp_path / "found.json")
    assert repr(Finding.load(path)) == repr(FOUND)
    assert repr(Finding.load(path).rows) == repr(FOUND.rows)
    assert repr(Finding.load(path).summary) == repr(FOUND.summary)
    assert FOUND.to_dataframe().iloc[0].to_dict() == FOUND.rows[0]
    assert list(FOUND.to_summary_dataframe().columns) == ["measure", "mean", "low", "high"]


def test_a_finding_says_its_question_its_answer_and_what_is_missing() -> None:
    assert str(FOUND) == ("Does it?\n  ratio: nan (1 case). Cannot be told.\n  1 without a result, the first is b: why")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a complete finding"),
        ("[]", "not a complete finding"),
        ('{"kind": "probe", "format_version": 1}', "not a complete finding"),
        ('{"kind": "trace", "format_version": 1}', "holds a 'trace' of format version 1, expected a 'probe'"),
        ('{"kind": "probe", "format_version": 99}', "update lens_rome"),
    ],
)
def test_a_file_that_is_no_finding_is_told(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "found.json"
    path.write_text(content)
    with pytest.raises(FileFormatError, match=message):
        Finding.load(path)
    with pytest.raises(FileFormatError, match="not a complete finding"):
        Finding.load(tmp_path / "none.json")


def test_a_case_that_is_none_is_refused() -> None:
    from lens_rome.studies.probes import HopsCase
    from lens_rome.studies.probes.checks import by_name

    with pytest.raises(FactError, match="the probe takes HopsCases, got 'x'"):
        by_name(["x"], HopsCase)
