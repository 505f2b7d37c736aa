"""The Python blocks of the README and of the documentation run as they stand.

The blocks of a page run in order in one namespace and in an empty working folder. A block right after a line
`<!-- not run: reason -->` is left out.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [path for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if path.is_file()]

_FENCE = re.compile(r"\s*(```+|~~~+)\s*(\w*)")
_NOT_RUN = re.compile(r"\s*<!--\s*not run:(.*?)-->\s*$")


@dataclass(frozen=True)
class Block:
    line: int
    """Of the block's first line of code, from 1."""
    code: str
    reason: str | None
    """Why it is not run; None if it is."""


def python_blocks(text: str) -> list[Block]:
    """The fenced Python blocks of a page, in order."""
    blocks: list[Block] = []
    fence, language, start, reason = "", "", 0, None
    code: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        found = _FENCE.match(line)
        if fence and found and found[1].startswith(fence) and not found[2]:
            if language in ("python", "py"):
                blocks.append(Block(start, dedent("\n".join(code)), reason))
            fence, reason = "", None
        elif fence:
            code.append(line)
        elif found:
            (fence, language), start, code = found.groups(), number + 1, []
        elif line.strip():
            mark = _NOT_RUN.match(line)
            reason = mark[1].strip() if mark else None
    if fence:
        raise ValueError(f"the block that begins at line {start} has no end")
    return blocks


def run_page(path: Path) -> None:
    """Run the blocks of a page; errors point to the page's own lines."""
    namespace: dict[str, object] = {"__name__": "__page__"}
    for block in python_blocks(path.read_text(encoding="utf-8")):
        if block.reason is None:
            exec(compile("\n" * (block.line - 1) + block.code, str(path), "exec"), namespace)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page.read_text(encoding="utf-8"))], ids=_name)
@pytest.mark.usefixtures("moments_once")
def test_the_code_blocks_of_the_page_run_in_order(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    run_page(page)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_a_block_that_is_not_run_says_why(page: Path) -> None:
    assert all(block.reason is None or block.reason for block in python_blocks(page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_relative_links_and_pictures_of_the_page_lead_to_files(page: Path) -> None:
    text = re.sub(r"(```+).*?\1", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [*re.findall(r"\]\(([^)\s]+)[^)]*\)", text), *re.findall(r"<img[^>]*src=[\"']([^\"']+)", text)]
    files = [target.split("#")[0] for target in targets if not re.match(r"[a-z]+:", target)]
    assert [file for file in files if file and not (page.parent / file).exists()] == []


def test_commands_of_the_pages_name_targets_that_the_makefile_has() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), flags=re.MULTILINE))
        assert named <= targets, f"{_name(page)} names {named - targets}"


def test_blocks_of_a_page_are_found_with_their_lines_and_their_reasons() -> None:
    marked = ["<!-- not run: needs a network -->", "", "```python", "b = 2", "```"]
    stale = ["<!-- not run: old -->", "text between", "- item", "  ```py", "  c = 3", "  ```", "```bash", "ls", "```"]
    page = "\n".join(["text", "```python", "a = 1", "```", *marked, *stale])
    assert python_blocks(page) == [
        Block(3, "a = 1", None),
        Block(8, "b = 2", "needs a network"),
        Block(14, "c = 3", None),
    ]


def test_blocks_share_a_namespace_and_a_failure_names_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\na = 1\n```\n\n```python\nassert a == 1\nassert a == 2\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError) as caught:
        run_page(page)
    assert caught.traceback[-1].lineno + 1 == 7


def test_a_block_without_an_end_is_an_error() -> None:
    with pytest.raises(ValueError, match="begins at line 2"):
        python_blocks("```python\na = 1\n")


def test_no_page_holds_a_figure_that_is_still_to_be_measured() -> None:
    notebooks = sorted((ROOT / "examples").glob("*.ipynb"))
    for path in [*PAGES, ROOT / "CHANGELOG.md", *notebooks]:
        found = re.search(r"@@[A-Z]|\bFIGURES\b|\bTODO\b|\bTBD\b", path.read_text(encoding="utf-8"))
        assert found is None, f"{path.name}: {found and found[0]!r}"
