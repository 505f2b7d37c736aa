"""Options that pictures of data frames share, for the overloads that tell which library's figure comes back."""

from typing import TypedDict


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
