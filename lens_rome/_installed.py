"""Which programs made a result."""

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version


def versions() -> dict[str, str]:
    """Of lens_rome, torch and TransformerLens; a checkout that was not installed has none."""
    found = {}
    for name in ("lens_rome", "torch", "transformer-lens"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
