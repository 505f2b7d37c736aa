"""The role of each token of a prompt in averages over many prompts (ROME, §2.2)."""

from lens_rome.errors import TraceError

ROLES = ("subject_first", "subject_middle", "subject_last", "after_subject", "further", "last")
"""In the order of the prompt; ROME's figures have one row for each."""
ROLE_NAMES = {
    "subject_first": "first subject token",
    "subject_middle": "middle subject tokens",
    "subject_last": "last subject token",
    "after_subject": "first token after the subject",
    "further": "further tokens",
    "last": "last token",
}
"""The same in words, for titles of pictures and tables."""


def token_roles(subject_span: tuple[int, int], n_positions: int) -> dict[str, list[int]]:
    """Positions of each role, in order; an empty list where the prompt has no token of that role.

    `subject_middle` is what lies between the subject's first and last token, `after_subject` the first token after it,
    `further` what lies between that one and the prompt's last token. A token may have two roles:

    * a subject of one token is `subject_first` and `subject_last`;
    * a single token after the subject is `after_subject` and `last`;
    * where the subject ends the prompt, its last token is `subject_last` and `last`, and no token is `after_subject`
      (the released code stops with an error there).

    Tokens before the subject, BOS among them, have no role: restoring them changes nothing.

    Args:
        subject_span: half-open range of the subject's positions, as in `TraceResult.subject_span`.
        n_positions: length of the prompt, BOS included.

    Raises:
        TraceError: the span is empty or not inside the prompt.

    >>> token_roles((1, 4), 7)["subject_middle"], token_roles((1, 4), 7)["further"], token_roles((1, 4), 7)["last"]
    ([2], [5], [6])
    """
    first, end = subject_span
    if not 0 <= first < end <= n_positions:
        raise TraceError(
            f"the subject span [{first}, {end}) is empty or not inside a prompt of {n_positions} positions. "
            "Pass a half-open range, as `TraceResult.subject_span` is."
        )
    last = n_positions - 1
    return {
        "subject_first": [first],
        "subject_middle": list(range(first + 1, end - 1)),
        "subject_last": [end - 1],
        "after_subject": [end] if end < n_positions else [],
        "further": list(range(end + 1, last)),
        "last": [last],
    }


def check_role(role: str) -> str:
    """`role` itself; `TraceError` for an unknown one."""
    if role not in ROLES:
        raise TraceError(f"unknown role {role!r}; the roles are {', '.join(ROLES)}.")
    return role
