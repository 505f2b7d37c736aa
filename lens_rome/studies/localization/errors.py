"""What the study of localization cannot do."""

from types import ModuleType

from lens_rome._installed import import_extra
from lens_rome.errors import LensRomeError


class StudyError(LensRomeError, ValueError):
    """The study was asked for something that its tables do not hold: columns, records, layers, names."""


def import_statistics(name: str) -> ModuleType:
    """The module `name`, of statsmodels or SciPy, which are imported only where they are used.

    Raises:
        MissingLibraryError: it is not installed.
    """
    return import_extra(name, "this analysis", "study")
