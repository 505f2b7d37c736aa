"""Which tokens of a prompt have which role in averages."""

import pytest

from lens_rome.errors import TraceError
from lens_rome.tracing.roles import ROLES, check_role, token_roles
from tests.oracles.averages import has_role


def test_every_span_of_every_short_prompt_has_the_roles_of_the_table() -> None:
    checked = 0
    for length in range(1, 9):
        for first in range(length):
            for end in range(first + 1, length + 1):
                roles = token_roles((first, end), length)
                assert tuple(roles) == ROLES
                for role, positions in roles.items():
                    assert positions == [p for p in range(length) if has_role(p, role, (first, end), length)]
                    checked += 1
    assert checked > 500


def test_a_token_from_the_subject_on_has_a_role_and_one_before_it_has_none() -> None:
    for span, length in [((2, 5), 9), ((1, 2), 3), ((1, 3), 3)]:
        assert sorted({p for positions in token_roles(span, length).values() for p in positions}) == list(
            range(span[0], length)
        )


def test_a_subject_of_one_token_counts_as_first_and_as_last() -> None:
    roles = token_roles((1, 2), 6)
    assert roles["subject_first"] == roles["subject_last"] == [1] and roles["subject_middle"] == []


def test_a_single_token_after_the_subject_counts_as_after_subject_and_as_last() -> None:
    roles = token_roles((1, 4), 5)
    assert roles["after_subject"] == roles["last"] == [4] and roles["further"] == []


def test_a_subject_that_ends_the_prompt_has_no_token_after_it_and_its_last_is_last() -> None:
    roles = token_roles((1, 4), 4)
    assert roles["subject_last"] == roles["last"] == [3] and roles["after_subject"] == roles["further"] == []


@pytest.mark.parametrize(("span", "length"), [((2, 2), 5), ((3, 2), 5), ((-1, 2), 5), ((1, 6), 5)])
def test_a_span_that_is_not_in_the_prompt_is_refused(span: tuple[int, int], length: int) -> None:
    with pytest.raises(TraceError, match=r"Pass a half-open range, as `TraceResult\.subject_span` is"):
        token_roles(span, length)


def test_an_unknown_role_is_refused_with_the_roles_there_are() -> None:
    assert check_role("last") == "last"
    with pytest.raises(TraceError, match=r"unknown role 'first'; the roles are subject_first, .*, last\."):
        check_role("first")
