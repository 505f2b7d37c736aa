"""What a causal trace found."""

import json
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float

from lens_rome._files import load_tensors, save_tensors
from lens_rome._typing import Tensor
from lens_rome.errors import FileFormatError
from lens_rome.facts import show_tokens

if TYPE_CHECKING:
    import pandas as pd

_FILE_KIND = "trace"


class WeakTraceWarning(UserWarning):
    """Noise hardly changes the answer, so the differences that a trace shows mean nothing."""


@dataclass(frozen=True)
class TraceSettings:
    """Everything that determined a trace besides the model's weights."""

    kind: str
    window: int
    """Layers restored together."""
    noise: str
    noise_level: float
    """Standard deviation that was used, in embedding units."""
    samples: int
    seed: int
    prepend_bos: bool
    model: str
    surface: str
    full_length: bool
    """Whether runs were full length because the model's owner had attached hooks."""
    precision: str


@dataclass(frozen=True, eq=False)
class TraceResult:
    """Probability of the answer after restoring one site at one position of a corrupted run (ROME, §2.1).

    Cells that were not asked for are NaN.
    """

    sample_scores: Float[Tensor, "layer pos sample"]
    """Probability of the answer for each noise sample, float64."""
    corrupted_samples: Float[Tensor, " sample"]
    """The same without any restoration."""
    clean_prob: float
    """Probability of the answer without noise."""
    prompt: str
    subject: str
    tokens: tuple[int, ...]
    token_strings: tuple[str, ...]
    subject_span: tuple[int, int]
    """Half-open range of the subject's token positions."""
    answer: str
    answer_tokens: tuple[int, ...]
    target: str
    """The fact's own target; the answer may differ from it."""
    settings: TraceSettings
    notes: tuple[str, ...] = field(default=())

    @property
    def scores(self) -> Float[Tensor, "layer pos"]:
        """Probability of the answer, mean over noise samples."""
        return self.sample_scores.mean(-1)

    @property
    def corrupted_prob(self) -> float:
        """Probability of the answer under noise, mean over samples."""
        return float(self.corrupted_samples.mean())

    @property
    def total_effect(self) -> float:
        """Clean minus corrupted probability."""
        return self.clean_prob - self.corrupted_prob

    @property
    def indirect_effects(self) -> Float[Tensor, "layer pos"]:
        """Restored minus corrupted probability."""
        return self.scores - self.corrupted_prob

    @property
    def answer_is_target(self) -> bool:
        """Whether the traced answer is the fact's target."""
        return self.answer.strip() == self.target.strip()

    @property
    def is_weak(self) -> bool:
        """Whether the total effect is below 0.01 or twice its standard error over the noise samples."""
        count = len(self.corrupted_samples)
        error = float(self.corrupted_samples.std()) / count**0.5 if count > 1 else 0.0
        return self.total_effect < max(0.01, 2 * error)

    def warn_if_weak(self) -> "TraceResult":
        """Emit `WeakTraceWarning` if `is_weak`; returns itself."""
        if self.is_weak:
            warnings.warn(
                f"the noise hardly changes the answer of {self.prompt!r} (probability {self.clean_prob:.3f} clean, "
                f"{self.corrupted_prob:.3f} corrupted): this trace shows nothing. Use more noise, or a fact the "
                "model knows.",
                WeakTraceWarning,
                stacklevel=3,
            )
        return self

    def to_dataframe(self) -> "pd.DataFrame":
        """One row a traced cell: layer, pos, token, is_subject, prob, indirect_effect, std (over noise samples)."""
        import pandas as pd

        first, last = self.subject_span
        spread = self.sample_scores.std(-1, correction=0)
        rows = [
            {
                "layer": layer,
                "pos": pos,
                "token": token,
                "is_subject": first <= pos < last,
                "prob": float(self.scores[layer, pos]),
                "indirect_effect": float(self.indirect_effects[layer, pos]),
                "std": float(spread[layer, pos]),
            }
            for layer in range(self.scores.shape[0])
            for pos, token in enumerate(self.token_strings)
            if not self.scores[layer, pos].isnan()
        ]
        return pd.DataFrame(rows)

    def top(self, k: int = 5) -> list[tuple[int, int, float]]:
        """The `k` cells of largest indirect effect, as `(layer, pos, indirect effect)`, best first."""
        effects = torch.nan_to_num(self.indirect_effects, nan=-torch.inf).flatten()
        best = effects.topk(min(k, int(torch.isfinite(effects).sum())))
        width = self.scores.shape[1]
        return [(int(i) // width, int(i) % width, float(v)) for v, i in zip(best.values, best.indices, strict=True)]

    def save(self, path: str | Path) -> Path:
        """Write everything to one safetensors file."""
        tensors = {"sample_scores": self.sample_scores, "corrupted_samples": self.corrupted_samples}
        return save_tensors(path, _FILE_KIND, tensors, json.loads(json.dumps(self.describe(), default=list)))

    @classmethod
    def load(cls, path: str | Path) -> "TraceResult":
        """Read what `save` wrote.

        Raises:
            FileFormatError: not a readable trace file.
        """
        tensors, header = load_tensors(path, _FILE_KIND)
        try:
            values: dict[str, Any] = {k: value for k, value in header.items() if k not in ("kind", "format_version")}
            for name in ("tokens", "token_strings", "subject_span", "answer_tokens", "notes"):
                values[name] = tuple(values[name])
            values |= {"settings": TraceSettings(**values["settings"]), **tensors}
            return cls(**values)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise FileFormatError(f"{path} is not a complete trace: {error}.") from error

    def describe(self) -> dict[str, Any]:
        """All fields but the tensors, for JSON."""
        names = (
            "clean_prob",
            "prompt",
            "subject",
            "tokens",
            "token_strings",
            "subject_span",
            "answer",
            "answer_tokens",
            "target",
            "notes",
        )
        return {**{name: getattr(self, name) for name in names}, "settings": asdict(self.settings)}

    def __repr__(self) -> str:
        settings = self.settings
        window = f", window {settings.window}" if settings.kind != "resid" else ""
        lines = [
            f"TraceResult({settings.kind}{window}, {settings.samples} samples, noise {settings.noise} = "
            f"{settings.noise_level:.4g})",
            f"  {show_tokens(self.token_strings, self.subject_span)} → {self.answer!r}",
            f"  p(answer): clean {self.clean_prob:.3f}, corrupted {self.corrupted_prob:.3f}, total effect "
            f"{self.total_effect:.3f}",
        ]
        lines += [
            f"  layer {layer:2d}, {self.token_strings[pos]!r}: indirect effect {effect:+.3f}"
            for layer, pos, effect in self.top(3)
        ]
        return "\n".join(lines)
