"""The same fact twice in one joint edit: editors that write exactly refuse it, the others warn; both name the pair."""

from typing import Any

import pytest

from lens_rome.editing import (
    EMMET,
    MEMIT,
    ROME,
    RROME,
    AlphaEdit,
    FineTune,
    KnowledgeNeurons,
    SameFactWarning,
    ValueSettings,
)
from lens_rome.errors import SingularSystemError
from lens_rome.facts import EditRequest
from tests.editing.learned.support import fitted, quick_ke, quick_mend
from tests.editing.support import CONTEXTS, DISABLING, NO_PROBE, random_moment
from tests.helpers import assert_untouched

pytestmark = [pytest.mark.filterwarnings(NO_PROBE), pytest.mark.filterwarnings(DISABLING)]

FIRST = EditRequest("Steve Jobs", "{} was the founder of", "French", "English", "founded")
BETWEEN = EditRequest("Rome", "{} was the founder of", "Spanish", "English", "founded")
AGAIN = EditRequest("Steve Jobs", "The founder was {} of", "Spanish", "English", "founded")
"""Another wording of the relation."""
TWICE = [FIRST, BETWEEN, AGAIN]
PAIR = r"requests 0 \(Steve Jobs was .*\) and 2 \(The founder was Steve Jobs .*\) are of the same fact"

SPREAD: dict[str, Any] = {"value": ValueSettings(steps=2), "contexts": CONTEXTS}
EXACT = [ROME(1, **SPREAD), ROME(1, bare=True, **SPREAD), RROME(1, **SPREAD), EMMET((1,), **SPREAD)]
LOOSE = {
    "writes about their average": [
        MEMIT((1,), weight=1.0, **SPREAD),
        AlphaEdit((1,), threshold=10.0, **SPREAD),
        EMMET((1,), ridge=0.1, **SPREAD),
    ],
    "fits one against the other": [FineTune((1,), steps=1), FineTune((1,), steps=1, norm_bound=0.1)],
    "writes the second over the first": [KnowledgeNeurons(steps=2, contexts=("",))],
}


@pytest.mark.parametrize("editor", EXACT, ids=lambda editor: editor.name)
def test_editors_that_write_exactly_refuse_one_fact_twice_and_name_the_pair(gpt2: Any, editor: Any) -> None:
    told = f"{PAIR}, so {editor.name} cannot write both exactly. Keep one of them"
    with assert_untouched(gpt2), pytest.raises(SingularSystemError, match=told) as caught:
        editor.edit(gpt2, TWICE, moments=random_moment(gpt2))
    assert caught.value.pair == (0, 2)


@pytest.mark.parametrize(
    ("editor", "outcome"),
    [(editor, outcome) for outcome, editors in LOOSE.items() for editor in editors],
    ids=lambda each: getattr(each, "name", ""),
)
def test_the_other_editors_warn_of_one_fact_twice_and_write_both(gpt2: Any, editor: Any, outcome: str) -> None:
    with pytest.warns(SameFactWarning, match=rf"{PAIR}; {editor.name.replace('+', '.')} {outcome}\. Keep one of them"):
        edit = editor.edit(gpt2, TWICE, moments=random_moment(gpt2))
    assert [each["target_new"] for each in edit.provenance["requests"]] == ["French", "Spanish", "Spanish"]


@pytest.mark.parametrize("make", [quick_mend, quick_ke], ids=["MEND", "KE"])
@pytest.mark.filterwarnings("ignore::lens_rome.editing.SeenSubjectWarning")
def test_trained_editors_warn_of_one_fact_twice(gpt2: Any, make: Any) -> None:
    trained = fitted(make(steps=1, validate_every=1), gpt2)
    with pytest.warns(SameFactWarning, match=rf"{PAIR}; {trained.name} adds up what each would get alone"):
        trained.edit(gpt2, TWICE)
    assert len(trained.edit_each(gpt2, TWICE)) == 3


@pytest.mark.parametrize("editor", [*EXACT, *(each for group in LOOSE.values() for each in group)], ids=repr)
def test_independent_edits_may_ask_for_one_fact_twice(gpt2: Any, editor: Any) -> None:
    # Warnings are errors in these tests.
    assert len(editor.edit_each(gpt2, TWICE, moments=random_moment(gpt2))) == 3


def test_a_second_edit_of_the_edited_model_may_undo_the_first(gpt2: Any) -> None:
    """What the error advises."""
    rome, moment = ROME(1, **SPREAD), random_moment(gpt2)
    with rome.edit(gpt2, FIRST, moments=moment).applied(gpt2):
        edit = rome.edit(gpt2, AGAIN, moments=moment)
    assert edit.rank == 1
