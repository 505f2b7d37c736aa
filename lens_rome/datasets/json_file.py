"""One JSON value from a file that fits into memory."""

import json
from pathlib import Path
from typing import Any

from lens_rome.errors import DatasetError


def read_json(path: Path) -> Any:
    """The value of the whole file.

    Raises:
        DatasetError: no such file, or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}. Check the path.") from error
    except ValueError as error:
        raise DatasetError(f"{path} is not JSON: {error}.") from error
