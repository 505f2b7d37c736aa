"""The page about one edit in a browser, on the desk and on a phone."""

import json
from pathlib import Path
from typing import Any

import pytest

from lens_rome.studies.pages import edit_page
from tests.studies.one_edit.made import made_story
from tests.studies.pages.browser import open_page, with_script

LOOK = """
for (const each of document.querySelectorAll("details")) each.open = true;
const root = document.documentElement;
const shown = (one) => one.getBoundingClientRect();
const text = [...document.querySelectorAll(".heat-map text")];
parent.postMessage({
  width: window.innerWidth,
  wide: root.scrollWidth - root.clientWidth,
  maps: [...document.querySelectorAll(".heat-map svg")].map((each) => [shown(each).left, shown(each).width]),
  cut: text.filter((each) => shown(each).left < 0 || shown(each).right > root.clientWidth).length,
  fill: getComputedStyle(document.querySelector(".heat-map rect.warm")).fill,
}, "*");
"""
# A window is no narrower than 500 pixels, a frame can be: what a page asks of its width is then the frame's.
FRAMES = """<!DOCTYPE html>
<html><head><title>frames</title></head><body><pre id="found">[]</pre><script>
const found = document.getElementById("found");
addEventListener("message", (told) => {
  found.textContent = JSON.stringify([...JSON.parse(found.textContent), told.data]);
});
</script>FRAMES</body></html>"""
WIDTHS = (390, 1200)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """What stands where, by the width of the page, with everything open. The page as it is stands there as well."""
    folder: Path = tmp_path_factory.mktemp("framed")
    page = edit_page(made_story())
    (folder / "asked.html").write_text(with_script(page, LOOK), encoding="utf-8")
    (folder / "plain.html").write_text(page, encoding="utf-8")
    frames = "".join(f'<iframe src="asked.html" width="{width}" height="900"></iframe>' for width in WIDTHS)
    opened = open_page(FRAMES.replace("FRAMES", frames + '<iframe src="plain.html"></iframe>'), folder)
    assert opened.console == []
    told = json.loads(opened.page.all("pre")[0].text)
    return {each["width"]: each for each in told}


@pytest.mark.parametrize(("width", "beside"), [(390, 1), (1200, 3)])
def test_the_page_fits_its_width_with_everything_open(
    width: int, beside: int, found: dict[int, dict[str, Any]]
) -> None:
    assert sorted(found) == sorted(WIDTHS)
    told = found[width]
    assert (told["wide"], told["cut"]) == (0, 0)
    assert len({left for left, _ in told["maps"]}) == beside
    assert all(wide > 250 for _, wide in told["maps"])
    assert told["fill"] not in ("rgb(0, 0, 0)", "none")
