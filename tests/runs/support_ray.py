"""What workers on a real Ray do in the tests."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.runs.support import Compute, row_of


@dataclass(frozen=True)
class Toy:
    """Gives the rows of `row_of`; dies at `poison`, raises at `bad`, and leaves the number of its process in `pids`."""

    pids: Path
    poison: str = ""
    bad: str = ""
    pause: float = 0.0

    def __call__(self) -> Compute:
        """What a worker calls once."""
        (self.pids / str(os.getpid())).touch()
        return self.rows

    def rows(self, ids: list[str]) -> Iterator[dict[str, Any]]:
        """The rows, unless."""
        for key in ids:
            if key == self.poison:
                os.kill(os.getpid(), signal.SIGKILL)
            if key == self.bad:
                raise LookupError(f"no subject in {key}")
            time.sleep(self.pause)
            yield row_of(key)
