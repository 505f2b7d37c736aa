"""What the lines of a probe's summary are: a sentence and a unit for each `measure`.

Numbers of one unit may stand on one axis.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lens_rome.studies.probes.finding import Value

NATS, SHARE, RATIO = "nats", "share", "ratio"


@dataclass(frozen=True)
class Measure:
    """One measure of a summary."""

    unit: str
    told: str
    """What it is, in a sentence without its full stop."""


_SCORE = {
    "S": Measure(SHARE, "harmonic mean of ES, PS and NS"),
    "ES": Measure(SHARE, "of the edited prompts, where the new object is likelier than the old one"),
    "PS": Measure(SHARE, "of the paraphrases, where the new object is likelier than the old one"),
    "NS": Measure(SHARE, "of the neighbours, where their own object is likelier than the new one"),
    "EM": Measure("probability", "p(new) minus p(old) after the edited prompts"),
    "PM": Measure("probability", "p(new) minus p(old) after the paraphrases"),
    "NM": Measure("probability", "p(own object) minus p(new) after the neighbours"),
}
_CONCEPT = {
    "diagonal": Measure(NATS, "of the subject that was edited itself, mean over subjects"),
    "off-diagonal": Measure(NATS, "of related subjects that were not edited, mean over them"),
    "leak ratio": Measure(RATIO, "off-diagonal over diagonal: 0 if the edit is of the name, 1 if of the concept"),
    "leak ratio, same last token": Measure(RATIO, "the same of names that end in the edited one’s last token"),
    "leak ratio, other last token": Measure(RATIO, "the same of names that end in another token"),
    "flipped, diagonal": Measure(SHARE, "of the edited subjects, where the new object is the likelier one afterwards"),
    "flipped, off-diagonal": Measure(SHARE, "the same of related subjects that were not edited"),
    "flipped before, diagonal": Measure(SHARE, "of the edited subjects, where it was so before the edit"),
    "flipped before, off-diagonal": Measure(SHARE, "the same of related subjects"),
    "asymmetry": Measure(NATS, "difference between A’s edit seen at B and B’s edit seen at A"),
    "spread over tests": Measure(NATS, "how differently the tests of one pair come out"),
    "correlation with key cosine": Measure("correlation", "of a pair’s change with the cosine of both subjects’ keys"),
}
MEASURES: Mapping[str, Mapping[str, Measure]] = {
    "direction": {
        "change": Measure(NATS, "log p(asked for) after the edit minus before it: the object forward, the subject in "
                          "reverse"),
        "says": Measure(SHARE, "of prompts after which the model goes on with what is asked for"),
        "mentions": Measure(SHARE, "of the texts written after reverse prompts that mention the subject anywhere"),
        "then new": Measure(SHARE, "of those texts, the ones that go on to mention the new object"),
        "competitor": Measure(SHARE, "of reverse prompts with the new object where another subject that has it is "
                              "likelier than the edited one"),
        "inconsistent": Measure(SHARE, "of cases that say the new object forward and still the subject for the old "
                                "one in reverse"),
    },
    "strength": {
        "mentioned": Measure(SHARE, "of texts that mention the object (role)"),
        "push ratio": Measure(RATIO, "texts with the new object after the edit over texts with the old one before it: "
                              "1 if said as often"),
        "push difference": Measure(SHARE, "the same two shares, one minus the other; the verdict is read off it"),
        "gap": Measure(NATS, "log p(new) after the edit minus log p(old) before it, right after the prompts"),
        "mass": Measure("probability", "mean probability of the object’s first token, over all places of the texts"),
    },
    "hops": {
        "change": Measure(NATS, "what the new object gains on the old one by the edit, with the name (direct) or a "
                          "description"),
        "flipped": Measure(SHARE, "of prompts after which the new object is likelier than the old one"),
        "says new": Measure(SHARE, "of prompts whose most likely next token begins the new object"),
        "says old": Measure(SHARE, "of prompts whose most likely next token begins the old object"),
    },
    "bleed": {
        "bleed": Measure(NATS, "change of log p by the edit with a mention of the subject minus without it; of cases"),
        "bleed of prompts": Measure(NATS, "the same of single prompts"),
        "change": Measure(NATS, "log p after the edit minus before it"),
        "logprob": Measure("log p in nats", "log p of the new object, or of the known answer (role)"),
        "most likely": Measure(SHARE, "of prompts whose most likely next token begins the target (role)"),
    },
    "concept": _CONCEPT,
    "layers": _SCORE,
    "prefixes": {
        **_SCORE,
        "cosine": Measure("cosine", "of a key in a context with the mean key, mean over contexts"),
        "lowest cosine": Measure("cosine", "of the key that is farthest from the mean key"),
        "relative spread": Measure(RATIO, "distance of a key from the mean key over the mean key’s length"),
        "bare prompt's distance": Measure(RATIO, "the same of the key of the prompt alone"),
        "change": Measure("share of the weight’s norm", "norm of the edit over that of the weight"),
    },
}  # fmt: skip
"""By probe, then by measure. Shares are between 0 and 1, also as changes of them; nats are natural logarithms."""


def measures_of(probe: str, summary: Sequence[Mapping[str, Value]]) -> dict[str, Measure]:
    """The measures of a summary that are known, each once, in order."""
    known, named = MEASURES.get(probe, {}), (str(row.get("measure")) for row in summary)
    return {name: known[name] for name in dict.fromkeys(named) if name in known}
