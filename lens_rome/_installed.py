"""Which programs made a result, and libraries that not everyone has."""

from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from lens_rome.errors import MissingLibraryError


def versions() -> dict[str, str]:
    """Of lens_rome, torch and TransformerLens; a checkout that was not installed has none."""
    found = {}
    for name in ("lens_rome", "torch", "transformer-lens"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def import_extra(name: str, what: str, extra: str) -> ModuleType:
    """The module `name` of a library that comes with an extra of this package, imported only where it is used.

    Args:
        what: needs it, such as `"this picture"`.
        extra: as in `pip install 'lens_rome[extra]'`.

    Raises:
        MissingLibraryError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        library = name.split(".")[0]
        raise MissingLibraryError(
            f"{what} needs {library}, which cannot be imported ({error}). Run: pip install 'lens_rome[{extra}]'"
        ) from error
