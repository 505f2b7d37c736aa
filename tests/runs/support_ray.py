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
    """Gives the rows of `row_of`; dies at `poison`, raises at `bad`, and leaves a file named by its process in `pids`,
    with the number of its session.
    """

    pids: Path
    poison: str = ""
    bad: str = ""
    pause: float = 0.0

    def __call__(self) -> Compute:
        """What a worker calls once."""
        (self.pids / str(os.getpid())).write_text(str(os.getsid(0)), "utf-8")
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
