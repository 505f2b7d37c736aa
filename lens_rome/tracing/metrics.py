"""What a trace measures of a run: from its logits to one number a row.

Probability is the paper's; the difference of two logits is linear in the residual stream and sees suppression as well
as promotion (Zhang and Nanda, https://arxiv.org/abs/2309.16042).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int

from lens_rome._typing import Tensor
from lens_rome.errors import TraceError

Logits = Float[Tensor, "row read d_vocab"]
Scores = Float[Tensor, " row"]


@dataclass(frozen=True, eq=False)
class Measure:
    """A metric bound to the answers of a batch of prompts; row `i` belongs to prompt `i % prompts`."""

    metric: str
    answers: Int[Tensor, "prompt token"]
    """Tokens of each prompt's answer; token `j` is predicted at the `j`-th position that is read."""
    against: Int[Tensor, " prompt"] | None = None
    """First token of the second answer, for a logit difference."""
    clean: Float[Tensor, "prompt d_vocab"] | None = None
    """Log-probabilities of the clean run after the prompt, for the divergence from it."""

    def __call__(self, logits: Logits) -> Scores:
        """The metric of each row, at least float32; joint over the answer's tokens where it has several."""
        return METRICS[self.metric](self, logits.to(torch.promote_types(logits.dtype, torch.float32)))

    def of_answer(self, values: Logits) -> Float[Tensor, "row token"]:
        """Entries of `values` at each row's own answer tokens; float64 where the device has it."""
        ids = self.answers.to(values.device).repeat(values.shape[0] // len(self.answers), 1)
        found = values.gather(-1, ids[..., None]).squeeze(-1)
        return found if found.device.type == "mps" else found.double()


def _logprob(measure: Measure, logits: Logits) -> Scores:
    return measure.of_answer(logits.log_softmax(-1)).sum(-1)


def _logprob_per_token(measure: Measure, logits: Logits) -> Scores:
    return measure.of_answer(logits.log_softmax(-1)).mean(-1)


def _prob(measure: Measure, logits: Logits) -> Scores:
    return _logprob(measure, logits).exp()


def _prob_per_token(measure: Measure, logits: Logits) -> Scores:
    return _logprob_per_token(measure, logits).exp()


def _logit(measure: Measure, logits: Logits) -> Scores:
    return measure.of_answer(logits).mean(-1)


def _logit_difference(measure: Measure, logits: Logits) -> Scores:
    assert measure.against is not None
    others = measure.against.to(logits.device).repeat(logits.shape[0] // len(measure.answers))
    return measure.of_answer(logits)[:, 0] - logits[:, 0].gather(-1, others[:, None])[:, 0]


def _divergence(measure: Measure, logits: Logits) -> Scores:
    assert measure.clean is not None
    clean = measure.clean.to(logits.device).repeat(logits.shape[0] // len(measure.answers), 1)
    return (clean.exp() * (clean - logits[:, 0].log_softmax(-1))).sum(-1)


METRICS: dict[str, Callable[[Measure, Logits], Scores]] = {
    "prob": _prob,
    "logprob": _logprob,
    "prob_per_token": _prob_per_token,
    "logprob_per_token": _logprob_per_token,
    "logit": _logit,
    "logit_diff": _logit_difference,
    "kl": _divergence,
}
"""`prob`, `logprob`: of the whole answer, jointly. `…_per_token`: geometric mean over its tokens, and mean logarithm.
`logit`: mean over its tokens. `logit_diff`: first tokens of two answers. `kl`: divergence of the next token's
distribution from the clean run's. Logarithms are natural.
"""


def check_metric(metric: str, against: str | None) -> str:
    """`metric`; `TraceError` for an unknown one, or where a second answer is missing or has no use."""
    if metric not in METRICS:
        raise TraceError(f"unknown metric {metric!r}; measure one of {', '.join(METRICS)}.")
    if metric == "logit_diff" and not (against and against.strip()):
        raise TraceError("the metric logit_diff needs a second answer; pass against='...'.")
    if metric != "logit_diff" and against is not None:
        raise TraceError(f"a second answer has no use for the metric {metric!r}; pass metric='logit_diff'.")
    return metric
