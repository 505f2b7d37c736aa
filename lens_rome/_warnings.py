"""Warnings that point to the caller's own line, however deep in the package they arise."""

import sys
import warnings
from pathlib import Path

_PACKAGE = str(Path(__file__).parent)
_WRAPPERS = ("torch", "jaxtyping", "beartype", "contextlib", "functools")
"""Where decorators of the package's functions run, between the caller and the package."""


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn as the line that called into the package would: decorators and libraries in between do not count."""
    frames = [sys._getframe(1)]
    while (outer := frames[-1].f_back) is not None:
        frames.append(outer)
    inside = [index for index, frame in enumerate(frames) if frame.f_code.co_filename.startswith(_PACKAGE)]
    caller = max(inside, default=0) + 1
    while caller < len(frames) and str(frames[caller].f_globals.get("__name__")).split(".")[0] in _WRAPPERS:
        caller += 1
    warnings.warn(message, category, stacklevel=caller + 2)  # 1 is this function, 2 is `frames[0]`
