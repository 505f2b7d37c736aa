"""What the study of localization cannot do."""

from importlib import import_module
from types import ModuleType

from lens_rome.errors import LensRomeError


class StudyError(LensRomeError, ValueError):
    """The study was asked for something that its tables do not hold: columns, records, layers, names."""


class MissingStatisticsError(LensRomeError, ImportError):
    """A library of statistics is not installed."""


def import_statistics(name: str) -> ModuleType:
    """The module `name`, of statsmodels or SciPy, which are imported only where they are used.

    Raises:
        MissingStatisticsError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        library = name.split(".")[0]
        raise MissingStatisticsError(
            f"this analysis needs {library}, which cannot be imported ({error}). Run: pip install 'lens_rome[study]'"
        ) from error
