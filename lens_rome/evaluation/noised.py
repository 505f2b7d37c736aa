"""Records as an editing problem poses them, and scores where the problem noises the subject (Hase et al.,
https://arxiv.org/abs/2301.04213, §5.2).
"""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

from lens_rome.editing.objective import Objective
from lens_rome.editing.problems import EditingProblem
from lens_rome.errors import FactError
from lens_rome.evaluation.likelihood import Likelihood
from lens_rome.evaluation.rows import PromptScore
from lens_rome.evaluation.scorer import Job
from lens_rome.facts import EditRequest, EvalRecord, Fact, answer_tokens
from lens_rome.surface import AbstractSurface

Noised = dict[tuple[Objective, bool, tuple[EditRequest, ...]], list[float]]
"""Probabilities under the unedited model, by the noise, the BOS setting and the requests."""

NOISED_GROUPS = ("rewrite", "paraphrase")
"""Prompts about the subject. Neighbours are asked without noise, as in the paper."""


def posed(problem: EditingProblem, surface: AbstractSurface, record: EvalRecord, prepend_bos: bool) -> EvalRecord:
    """The record with the problem's request. Neighbours keep their answers, and the object whose probability should not
    move there is the false one, as in the paper.

    Raises:
        FactError: the record has no true object.  EditError: the problem has no target for it.
    """
    request = record.request
    if not request.target_true:
        raise FactError(f"record {record.case_id} has no true object, and {problem.name} is about one. Leave it out.")
    fact = Fact(request.subject, request.template, request.target_true, request.relation)
    return replace(
        record,
        request=problem.request(surface.model, fact, request.target_new, prepend_bos=prepend_bos),
        neighborhood_answers=record.neighborhood_answers or (request.target_true,) * len(record.neighborhood_prompts),
        neighborhood_target=request.target_new,
    )


def noised_scores(
    surface: AbstractSurface,
    problem: EditingProblem,
    jobs: Sequence[Job],
    groups: Sequence[str],
    *,
    before: bool,
    known: Noised | None = None,
) -> list[list[PromptScore]]:
    """The rewrite and paraphrase prompts of each record, with the problem's noise at the subject. Edits are written
    into the weights one after the other. Only joint probabilities are known.

    Args:
        known: what the unedited model has said already under noise; what it says now is added.

    Raises:
        SubjectSpanError: a paraphrase without its subject.
    """
    asked, known = [_requests(job.record, groups) for job in jobs], {} if known is None else known
    found = []
    for job, some in zip(jobs, asked, strict=True):
        requests = [request for _, request in some]
        unedited = _unedited(surface, problem, requests, job.prepend_bos, known) if before else None
        with nullcontext() if job.edit is None else job.edit.applied(surface.model):
            edited = problem.probabilities(surface.model, requests, prepend_bos=job.prepend_bos)
        rows = []
        for place, (group, request) in enumerate(some):
            n = len(answer_tokens(surface, request.prompt, request.target_new, job.prepend_bos))
            old = None if unedited is None else Likelihood(_log(unedited[place]), n, 0)
            rows.append(
                PromptScore(
                    job.record.case_id,
                    group,
                    request.prompt,
                    Likelihood(_log(edited[place]), n, 0),
                    before_new=old,
                    relation=request.relation,
                    known=frozenset({"nll", "joint"}),
                )
            )
        found.append(rows)
    return found


def _unedited(
    surface: AbstractSurface, problem: EditingProblem, requests: Sequence[EditRequest], prepend_bos: bool, known: Noised
) -> list[float]:
    """The probabilities under the model as it is, asked once."""
    key = (problem.objective, prepend_bos, tuple(requests))
    if key not in known:
        known[key] = problem.probabilities(surface.model, requests, prepend_bos=prepend_bos)
    return known[key]


def _requests(record: EvalRecord, groups: Sequence[str]) -> list[tuple[str, EditRequest]]:
    request = record.request
    facts = [Fact.from_prompt(prompt, request.subject, request.target_new) for prompt in record.paraphrase_prompts]
    others = [EditRequest(fact.subject, fact.template, fact.target, relation=request.relation) for fact in facts]
    every = [("rewrite", request), *(("paraphrase", other) for other in others)]
    return [each for each in every if each[0] in groups]


def check_noised(problem: EditingProblem, record: EvalRecord) -> None:
    """Look whether a problem that noises the subject can be scored on the prompts of a record, as `posed` gives it.

    Raises:
        SubjectSpanError: a paraphrase without its subject.
    """
    if problem.objective.noise:
        _requests(record, NOISED_GROUPS)


def _log(prob: float) -> float:
    return math.log(prob) if prob > 0 else -math.inf
