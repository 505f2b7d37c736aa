"""What a study of localization says in a sentence, and the caution that belongs to it."""

from typing import Any

FEW = 20
"""Facts below which the regressions say little."""


def answer(regressions: Any) -> str:
    """How much the tracing effect adds to the rewrite score's explained variance, over all windows, problems and
    methods, and how much chance alone would.

    Args:
        regressions: the frame of all regressions of a study.
    """
    asked = {"measure": "tracing", "predictor": "effect", "score": "rewrite"}
    found = _computed(regressions)
    for name, value in asked.items():
        found = found[found[name] == value]
    if found.empty:
        return "No regression of the rewrite score could be computed; the table says why."
    most = found.loc[found["difference"].idxmax()]
    return (
        f"Rewrite score, {len(found)} regressions (all problems, methods and windows): a fact's tracing effect "
        f"adds {found['difference'].median():.3f} in the median to the share of variance that the edited layer "
        f"explains ({found['r2_layer'].median():.3f}); by chance alone it would add about "
        f"{found['chance'].median():.3f}. At most it adds {most['difference']:.3f} ({most['problem']}, "
        f"{most['method']}, window {most['window']}; the layer alone {most['r2_layer']:.3f}, by chance "
        f"{most['chance']:.3f})."
    )


def caution(regressions: Any) -> str:
    """What to beware of where a regression has fewer than `FEW` facts; "" where none has.

    Regressions of the concentrated facts do not count: they are few by choice.
    """
    found = _computed(regressions)
    few = found[found["n_facts"] < FEW]
    if few.empty:
        return ""
    least, most = int(few["n_facts"].min()), int(few["n_facts"].max())
    facts = f"{least} fact{'s' * (least > 1)}" if least == most else f"{least} to {most} facts"
    which = "The regressions have" if len(few) == len(found) else f"{len(few)} of {len(found)} regressions have"
    return (
        f"Caution: few facts. {which} {facts}; with fewer than {FEW} what the effect adds is mostly chance, and p "
        "takes the edits of one fact as independent, which they are not. Take more facts."
    )


def _computed(regressions: Any) -> Any:
    """Of all facts, with numbers."""
    return regressions[(regressions["subset"] == "all") & regressions["difference"].notna()]
