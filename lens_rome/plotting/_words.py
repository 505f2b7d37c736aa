"""Options that pictures of data frames share, for the overloads that tell which library's figure comes back."""

from collections.abc import Sequence
from typing import TypedDict

from lens_rome.plotting._figure import Frame


class Words(TypedDict, total=False):
    """What the texts of a picture of effects say."""

    title: str | None
    measure: str


class BandWords(Words, total=False):
    """The same for a picture with intervals."""

    band: str


class SegmentWords(Words, total=False):
    """The same for `plot_segments`."""

    statistic: str
    kind: str | None


class PeakWords(TypedDict, total=False):
    """What `plot_peak_layers` says and marks."""

    title: str | None
    band: tuple[int, int] | None
    line: int | None
    n_layers: int | None


class EffectWords(TypedDict, total=False):
    """What a picture of the localization study's effects is drawn from, says and marks."""

    by: str
    measure: str
    windows: Sequence[int] | None
    edited: int | None
    shade: tuple[int, int] | None
    edited_is: str | None
    shade_is: str | None
    title: str | None


class ScoreEffectWords(TypedDict, total=False):
    """What `plot_score_effect` is drawn from and says."""

    score: str
    by: str
    measure: str
    window: int | None
    layers: int | Sequence[int] | None
    title: str | None


class ExplainedWords(TypedDict, total=False):
    """What `plot_explained` is drawn from and says."""

    score: str
    published: Frame | None
    measure: str | None
    window: int | None
    predictor: str | None
    subset: str | None
    title: str | None


class ScoreWords(TypedDict, total=False):
    """What `plot_scores_by_layer` is drawn from and says."""

    problem: str | None
    names: str | Sequence[str] | None
    title: str | None
