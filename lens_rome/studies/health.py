"""What is measured at a checkpoint of a sequence of edits, under the model as it is then."""

import math
import random
from collections.abc import Container, Sequence
from dataclasses import dataclass
from statistics import fmean

from lens_rome._typing import Model
from lens_rome.editing.requests import fact_of
from lens_rome.errors import SurfaceError
from lens_rome.evaluation import continue_texts, mean_nll, ngram_entropy, perplexity
from lens_rome.facts import EditRequest, EvalRecord
from lens_rome.surface import AbstractSurface


def likelier(one: float, other: float) -> float:
    """1.0 if the NLL `one` is strictly the smaller, else 0.0; NaN where either is: a broken model says nothing."""
    return math.nan if math.isnan(one) or math.isnan(other) else float(one < other)


@dataclass(frozen=True)
class Probes:
    """What is asked of the model at each checkpoint; the same for all of them."""

    others: tuple[EvalRecord, ...]
    """Records that are not edited."""
    texts: tuple[str, ...]
    prompts: tuple[str, ...]
    tokens: int
    """Length of the continuations of `prompts`."""
    top_k: int
    sample: int
    """Earlier edits that are asked for, at most."""
    seed: int
    prepend_bos: bool

    def earlier(
        self, requests: Sequence[EditRequest], done: int, newest: int, skipped: Container[int] = ()
    ) -> list[EditRequest]:
        """Requests before the `newest` ones of the first `done`, of which a later one did not ask for the same fact,
        without the `skipped` indices; a seeded sample where there are many. What is drawn at one checkpoint is drawn at
        the next as long as it ranks among the first.
        """
        written = [index for index in range(done) if index not in skipped]
        last = {fact_of(requests[index]): index for index in written}
        order = list(range(len(requests)))
        random.Random(self.seed).shuffle(order)
        old = {index for index in written if index < done - newest}
        standing = [index for index in order if index in old and last[fact_of(requests[index])] == index]
        return [requests[index] for index in standing[: self.sample]]

    def neighborhood(self, surface: AbstractSurface, edited: Sequence[EditRequest]) -> float:
        """Mean over `others` of the share of their neighbourhood prompts for which the true object is likelier than
        the new one; NaN of a broken model. Prompts that a request of the run edits are left out.
        """
        prompts = {request.prompt for request in edited}
        asked = [(record, [p for p in record.neighborhood_prompts if p not in prompts]) for record in self.others]
        questions = [
            (prompt, target)
            for record, own in asked
            for prompt in own
            for target in (record.request.target_true, record.request.target_new)
        ]
        nll = iter(mean_nll(surface, questions, self.prepend_bos))
        shares = [fmean(likelier(next(nll), next(nll)) for _ in own) for _, own in asked if own]
        return fmean(shares) if shares else math.nan

    def perplexity(self, model: Model) -> float:
        """On `texts`; NaN without any."""
        return perplexity(model, self.texts, prepend_bos=self.prepend_bos) if self.texts else math.nan

    def entropy(self, model: Model, *, may_be_broken: bool) -> float:
        """Mean n-gram entropy of the continued `prompts`, these included; NaN without any, or of a broken model."""
        if not self.prompts:
            return math.nan
        settings = {"tokens": self.tokens, "top_k": self.top_k, "seed": self.seed}
        try:
            told = continue_texts(model, self.prompts, prepend_bos=self.prepend_bos, **settings)
        except SurfaceError:
            if may_be_broken:
                return math.nan
            raise
        return fmean(map(ngram_entropy, told))


@dataclass(frozen=True)
class Said:
    """What the model says of a number of requests."""

    won: float
    """How many of those with a true object have a new one that is strictly likelier; NaN of a broken model."""
    compared: int
    """How many have a true object."""
    prob: float
    """Mean probability of the new objects, geometric mean over their tokens. NaN without any, or of a broken model."""

    @property
    def share(self) -> float:
        """`won` of `compared`; NaN without any."""
        return self.won / self.compared if self.compared else math.nan

    @classmethod
    def of(cls, surface: AbstractSurface, requests: Sequence[EditRequest], prepend_bos: bool) -> "Said":
        """Under the model as it is now."""
        questions = [(each.prompt, each.target_new) for each in requests]
        compared = [each for each in requests if each.target_true]
        questions += [(each.prompt, each.target_true) for each in compared]
        nll = mean_nll(surface, questions, prepend_bos)
        new, true = nll[: len(requests)], nll[len(requests) :]
        asked = [value for value, each in zip(new, requests, strict=True) if each.target_true]
        won = math.fsum(likelier(a, b) for a, b in zip(asked, true, strict=True))
        return cls(won, len(compared), fmean(math.exp(-n) for n in new) if new else math.nan)
