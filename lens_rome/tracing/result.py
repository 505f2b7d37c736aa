"""What a causal trace found."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

import torch
from jaxtyping import Float

from lens_rome._files import load_tensors, save_tensors
from lens_rome._typing import Tensor
from lens_rome._warnings import warn_caller
from lens_rome.errors import FileFormatError, TraceError
from lens_rome.facts import show_tokens
from lens_rome.tracing.places import is_whole
from lens_rome.tracing.settings import TraceSettings as TraceSettings

if TYPE_CHECKING:
    import pandas as pd

_FILE_KIND = "trace"
_TENSORS = ("sample_scores", "corrupted_samples")
COLUMNS = ("layer", "pos", "token", "is_subject", "score", "indirect_effect", "std")
"""Of a trace as a data frame."""


class WeakTraceWarning(UserWarning):
    """Noise hardly changes the answer, so the differences that a trace shows mean nothing."""


def check_count(k: object) -> int:
    """`k` as an int; `TraceError` unless it is a whole number from 1 up."""
    if not is_whole(k) or k < 1:
        raise TraceError(f"top(k) takes a whole number from 1 up, got {k!r}.")
    return int(k)


@dataclass(frozen=True, eq=False)
class TraceResult:
    """The metric (the answer's probability unless another was asked for) after putting the state of one run into
    another at one site and position (ROME, §2.1).

    Cells that were not asked for are NaN.
    """

    sample_scores: Float[Tensor, "layer pos sample"]
    """The metric for each sample of the corruption, float64."""
    corrupted_samples: Float[Tensor, " sample"]
    """The metric in the corrupted run; that of the clean run where nothing was corrupted (direction `zero`)."""
    clean_score: float
    """The metric in the clean run."""
    prompt: str
    subject: str
    tokens: tuple[int, ...]
    token_strings: tuple[str, ...]
    subject_span: tuple[int, int]
    """Half-open range of the subject's token positions."""
    answer: str
    answer_tokens: tuple[int, ...]
    """Empty in a trace read from a case file."""
    target: str
    """The fact's own target; the answer may differ from it."""
    settings: TraceSettings
    notes: tuple[str, ...] = field(default=())
    corrupted_spans: tuple[tuple[int, int], ...] = field(default=())
    """Half-open ranges of the corrupted positions; empty for the subject's own."""

    @property
    def scores(self) -> Float[Tensor, "layer pos"]:
        """The metric, mean over samples."""
        return self.sample_scores.mean(-1)

    @property
    def corrupted_score(self) -> float:
        """The metric in the corrupted run, mean over samples."""
        return float(self.corrupted_samples.mean())

    @property
    def baseline(self) -> float:
        """The metric in the run that states are put into: the corrupted one, or the clean one for the directions
        `noise` and `zero`.
        """
        return self.corrupted_score if self.settings.direction == "denoise" else self.clean_score

    @property
    def total_effect(self) -> float:
        """Clean minus corrupted score."""
        return self.clean_score - self.corrupted_score

    @property
    def indirect_effects(self) -> Float[Tensor, "layer pos"]:
        """Score minus baseline: what a restored state brings back, or what a corrupted or zeroed one takes away."""
        return self.scores - self.baseline

    @property
    def answer_is_target(self) -> bool:
        """Whether the traced answer is the fact's target."""
        return self.answer.strip() == self.target.strip()

    @property
    def is_weak(self) -> bool:
        """Whether the total effect is below 0.01 (for probabilities) or twice its standard error over the samples.

        Never where nothing is corrupted (direction `zero`).
        """
        if self.settings.direction == "zero":
            return False
        count = len(self.corrupted_samples)
        error = float(self.corrupted_samples.std()) / count**0.5 if count > 1 else 0.0
        smallest = 0.01 if self.settings.metric in ("prob", "prob_per_token") else 1e-6
        return self.total_effect * self._rises < max(smallest, 2 * error)

    @property
    def _rises(self) -> int:
        """1 where a larger score means more of the answer; -1 for a divergence from the clean run."""
        return -1 if self.settings.metric == "kl" else 1

    def warn_if_weak(self) -> "TraceResult":
        """Emit `WeakTraceWarning` if `is_weak`; returns itself."""
        if self.is_weak:
            warn_caller(
                f"the noise changes the answer of {self.prompt!r} too little ({self.settings.metric} "
                f"{self.clean_score:.3f} clean, {self.corrupted_score:.3f} corrupted, with its samples' scatter): "
                "this trace shows nothing. Use more noise or samples, or a fact the model knows.",
                WeakTraceWarning,
            )
        return self

    def to_dataframe(self) -> "pd.DataFrame":
        """One row a traced cell: layer, pos, token, is_subject, score, indirect_effect, std (over samples; NaN where
        there is one).
        """
        import pandas as pd

        first, last = self.subject_span
        several = self.sample_scores.shape[-1] > 1
        spread = self.sample_scores.std(-1, correction=0) if several else torch.full_like(self.scores, torch.nan)
        rows = [
            {
                "layer": layer,
                "pos": pos,
                "token": token,
                "is_subject": first <= pos < last,
                "score": float(self.scores[layer, pos]),
                "indirect_effect": float(self.indirect_effects[layer, pos]),
                "std": float(spread[layer, pos]),
            }
            for layer in range(self.scores.shape[0])
            for pos, token in enumerate(self.token_strings)
            if not self.scores[layer, pos].isnan()
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def top(self, k: SupportsIndex = 5) -> list[tuple[int, int, float]]:
        """The `k` cells that matter most, as `(layer, pos, indirect effect)`: those that bring back most of the
        answer, or that take most of it away where clean states were replaced.

        Raises:
            TraceError: `k` is not a whole number from 1 up.
        """
        count = check_count(k)
        sign = self._rises * (1 if self.settings.direction == "denoise" else -1)
        effects = torch.nan_to_num(sign * self.indirect_effects, nan=-torch.inf).flatten()
        best = effects.topk(min(count, int(torch.isfinite(effects).sum())))
        width = self.scores.shape[1]
        return [
            (int(i) // width, int(i) % width, sign * float(v)) for v, i in zip(best.values, best.indices, strict=True)
        ]

    def save(self, path: str | Path) -> Path:
        """Write everything to one safetensors file."""
        tensors = {name: getattr(self, name) for name in _TENSORS}
        return save_tensors(path, _FILE_KIND, tensors, json.loads(json.dumps(self.describe(), default=list)))

    @classmethod
    def load(cls, path: str | Path) -> "TraceResult":
        """Read what `save` wrote.

        Raises:
            FileFormatError: not a readable trace file.
        """
        tensors, header = load_tensors(path, _FILE_KIND)
        try:
            return cls.from_described(header, **tensors)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise FileFormatError(f"{path} is not a complete trace: {error}.") from error

    def to_npz(self, path: str | Path) -> Path:
        """Write the released code's case file: means over samples in float32, no settings; `save` keeps everything.

        Raises:
            TraceError: what such a file cannot hold.  FileFormatError: the folder does not exist.
        """
        from lens_rome.tracing.npz import save_case

        return save_case(self, path)

    @classmethod
    def from_npz(
        cls, path: str | Path, *, model: str = "unknown", noise: str = "unknown", original: bool = False
    ) -> "TraceResult":
        """Read a case file of the released code; `notes` say what is not in it.

        Args:
            model: name for `settings`, which the file does not hold; so are `noise` and `original` (True for what the
                released code itself wrote). They must agree with those of traces to average with.

        Raises:
            FileFormatError: not such a file, one that needs pickle, or one without scores.
        """
        from lens_rome.tracing.npz import load_case

        return load_case(path, model=model, noise=noise, original=original)

    @classmethod
    def from_described(cls, described: Mapping[str, Any], **tensors: Tensor) -> "TraceResult":
        """Inverse of `describe`, with the tensors by name; `described` may hold other keys too.

        Raises:
            KeyError, TypeError, AttributeError, ValueError: something is missing or of another type.
        """
        values: dict[str, Any] = {each.name: described[each.name] for each in fields(cls) if each.name not in _TENSORS}
        for name in ("tokens", "token_strings", "subject_span", "answer_tokens", "notes"):
            values[name] = tuple(values[name])
        values["corrupted_spans"] = tuple(tuple(span) for span in values["corrupted_spans"])
        values["settings"] = TraceSettings(**values["settings"])
        values.update(tensors)
        return cls(**values)

    def describe(self) -> dict[str, Any]:
        """All fields but the tensors, for JSON."""
        names = [each.name for each in fields(self) if each.name not in (*_TENSORS, "settings")]
        return {**{name: getattr(self, name) for name in names}, "settings": asdict(self.settings)}

    def __repr__(self) -> str:
        lines = [
            f"TraceResult({self.settings.summary()})",
            f"  {show_tokens(self.token_strings, self.subject_span)} → {self.answer!r}",
            *self._told_spans(),
            f"  {self.settings.metric}: clean {self.clean_score:.3f}, corrupted {self.corrupted_score:.3f}, "
            f"total effect {self.total_effect:.3f}",
        ]
        lines += [
            f"  layer {layer:2d}, {self.token_strings[pos]!r}: indirect effect {effect:+.3f}"
            for layer, pos, effect in self.top(3)
        ]
        return "\n".join(lines)

    def _told_spans(self) -> list[str]:
        """A line that tells what was corrupted, where it was not the subject."""
        texts = [repr("".join(self.token_strings[first:last])) for first, last in self.corrupted_spans]
        return [f"  corrupted instead of the subject: {', '.join(texts)}"] if texts else []
