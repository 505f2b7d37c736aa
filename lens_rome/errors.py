"""Every error that this package raises on purpose.

Each kind is a `LensRomeError` and also the builtin that fits, so callers can catch either. A message says what was
asked, what was found and what to do.
"""


class LensRomeError(Exception):
    """Base of all errors raised by `lens_rome`."""


class FactError(LensRomeError, ValueError):
    """A fact, request or record that cannot be used: template, subject or target is wrong."""


class SubjectSpanError(FactError):
    """The subject (or the target) has no token span of its own in the prompt."""


class SurfaceError(LensRomeError, ValueError):
    """The model cannot be used: unsupported shape, training mode, broken weights, wrong site."""


class TraceError(LensRomeError, ValueError):
    """A causal trace was asked for something that does not exist: kind, layer, position, noise, window."""


class MomentError(LensRomeError, ValueError):
    """A second moment is missing, singular, or belongs to another model, layer or BOS setting."""


class EditError(LensRomeError, ValueError):
    """An edit cannot be computed with these settings."""


class SingularSystemError(EditError):
    """The keys of several requests cannot be told apart, so no change gives each of them what it asks for."""

    def __init__(self, message: str, pair: tuple[int, int] | None = None, cosine: float | None = None) -> None:
        super().__init__(message)
        self.pair = pair
        """Two requests (rows of the keys, from 0) whose keys are parallel under the metric; None if no two are."""
        self.cosine = cosine
        """The cosine of those two keys under the metric."""


class NotFiniteError(EditError):
    """The computation of an edit diverged: a loss, a change or an edited weight is not finite."""


class EditMismatchError(EditError):
    """An edit was made for other weights than the ones it meets."""


class FileFormatError(LensRomeError, ValueError):
    """A file is truncated, corrupt, of another kind, or of a newer format."""


class RunError(LensRomeError, ValueError):
    """A run's folder cannot be made, continued or read, or a worker's share of it cannot be told."""


class MissingLibraryError(LensRomeError, ImportError):
    """A library that only pictures or statistics need is not installed."""


class DatasetError(LensRomeError, ValueError):
    """A file of facts or records cannot be fetched, read, or understood."""
