"""Pages opened by headless Chromium, which Debian packages; nothing is fetched."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.studies.pages.parsed import Node, parse

_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--enable-logging=stderr",
    "--dump-dom",
]
_POLICY = re.compile('<meta http-equiv="Content-Security-Policy"[^>]*>')


@dataclass(frozen=True)
class Opened:
    """A page after its scripts ran."""

    page: Node
    console: list[str]
    """What was said on the console: errors, and refusals of the page's policy."""


def chromium() -> str:
    """The program; skips the test where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")


def open_page(page: str, folder: Path) -> Opened:
    """The page from the disk, as a reader opens it."""
    program = chromium()
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    command = [program, *_FLAGS, f"--user-data-dir={folder / 'profile'}", path.as_uri()]
    # It takes about two seconds; a busy machine was seen to stand still for more than a minute.
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return Opened(parse(done.stdout.replace("<!DOCTYPE html>", "<!DOCTYPE html>\n", 1)), console)


def with_script(page: str, script: str, *, policy: bool = False) -> str:
    """The page with one more script at its end, and without the policy that forbids that."""
    page = page if policy else _POLICY.sub("", page)
    return page.replace("</body>", f"<script>{script}</script></body>")
