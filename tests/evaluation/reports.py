"""Reports made up by hand or at random, for the tests of what is made of them."""

import math
import random

from lens_rome.evaluation import EvalReport, Likelihood, PromptScore, RecordTexts

GROUPS = ("rewrite", "paraphrase", "paraphrase", "neighborhood", "neighborhood", "neighborhood")


def likely(prob: float, tokens: int = 1, top: int = 0) -> Likelihood:
    """Of a target whose tokens have that probability each."""
    return Likelihood(tokens * math.log(prob), tokens, top)


def row(case: int, group: str, prob_new: float, prob_true: float, relation: str = "") -> PromptScore:
    return PromptScore(case, group, f"{group} of {case}", likely(prob_new), likely(prob_true), relation=relation)


def random_report(
    seed: int, label: str = "", *, n: int = 12, before: bool = True, texts: bool = True, plus: bool = False
) -> EvalReport:
    """Records 10, 11, … with two relations; all reports ask the same prompts.

    With `plus` neighbours' prompts have a divergence, and each is asked after the edit's sentence too.
    """
    rng = random.Random(seed)

    def some() -> Likelihood:
        tokens = rng.randint(1, 3)
        return likely(rng.uniform(0.01, 0.99), tokens, rng.randint(0, tokens))

    scores, told = [], []
    for case in range(10, 10 + n):
        relation = f"P{case % 2}"
        for place, group in enumerate((*GROUPS, *(["distracting_neighborhood"] * 2 * plus))):
            old = (some(), some()) if before else (None, None)
            moved = rng.random() if plus and group.endswith("neighborhood") else None
            asked = f"{group} {place} of {case}"
            scores.append(PromptScore(case, group, asked, some(), some(), *old, relation, divergence=moved))
        numbers = [rng.random() for _ in range(7)]
        told.append(
            RecordTexts(case, ("a b", "c"), *numbers[:4], ("d",), *numbers[4:], relation) if texts else None  # type: ignore[arg-type]
        )
    return EvalReport(tuple(scores), label, tuple(each for each in told if each), {"model": "gpt2-xl", "seed": 3})
