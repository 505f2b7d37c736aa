"""What `original=True` leaves no choice about: the options, kinds and noise that the released code has."""

from collections.abc import Mapping, Sequence

from lens_rome.errors import TraceError
from lens_rome.tracing.corruption import AbstractCorruption
from lens_rome.tracing.noise import GaussianNoise, UniformNoise
from lens_rome.tracing.statistics import MultivariateNoise, StudentNoise

ORIGINAL_KINDS = ("resid", "mlp", "attn")
ORIGINAL_WINDOW = 10

_NOT_ORIGINAL = {
    "answer": "which always traces the model's top token",
    "metric": "which measures probabilities",
    "against": "which measures probabilities",
    "direction": "which restores clean states",
    "corrupt": "which corrupts the subject",
    "together": "which restores single positions",
    "prepend_bos": "which prepends no BOS",
    "head": "which knows no heads",
}
"""Options that it does not have, and why."""
_USUAL: dict[str, tuple[object, ...]] = {
    "metric": ("prob",),
    "direction": ("denoise",),
    "together": (False,),
    "prepend_bos": (False,),
}
"""Values of these options that say what it does anyway."""


def check_original(options: Mapping[str, object], kinds: Sequence[str], corruption: AbstractCorruption) -> None:
    """Check that the released code could have made these traces.

    Raises:
        TraceError: an option, a kind or a corruption that it does not have.
    """
    for name, reason in _NOT_ORIGINAL.items():
        value = options.get(name)
        if value is not None and value not in _USUAL.get(name, ()):
            raise TraceError(f"original=True follows the released code, {reason}; leave out {name}=.")
    for kind in kinds:
        if kind not in ORIGINAL_KINDS:
            raise TraceError(
                f"original=True follows the released code, which does not know the kind {kind!r}; trace one of "
                f"{', '.join(ORIGINAL_KINDS)}."
            )
    if not isinstance(corruption, (GaussianNoise, UniformNoise, MultivariateNoise, StudentNoise)):
        raise TraceError(
            f"original=True follows the released code, which corrupts by random noise, not by {corruption}; give a "
            "number, '3σ' or another noise."
        )
    if options.get("severed") is not None and isinstance(corruption, StudentNoise):
        # Its chi-squares come from a stream of their own, which starts anew for the second draw.
        raise TraceError(
            "original=True severs paths with a second draw of normal or uniform noise, not of Student's t; give "
            "another noise."
        )


def original_window(kind: str, window: int | None) -> int:
    """The released code's window: 10 unless another is given; residuals are restored one by one, whatever is given."""
    if kind == "resid":
        return 1
    return ORIGINAL_WINDOW if window is None else window
