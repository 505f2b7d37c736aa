import re
from pathlib import Path

import pytest

from lens_rome.plotting import PlotError, plot_edit, plot_trace, save_figure
from tests.plotting.synthetic import made_up_edit, made_up_trace, three_traces

STARTS = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml", ".html": b"<!DOCTYPE html>"}


@pytest.mark.parametrize("suffix", STARTS)
def test_a_matplotlib_figure_is_written_as_its_suffix_says(suffix: str, tmp_path: Path) -> None:
    path = save_figure(plot_trace(made_up_trace()), tmp_path / f"trace{suffix}")
    assert path.read_bytes().startswith(STARTS[suffix])
    assert list(tmp_path.iterdir()) == [path]


def test_upper_case_suffixes_and_plain_strings_are_understood(tmp_path: Path) -> None:
    assert save_figure(plot_trace(made_up_trace()), str(tmp_path / "TRACE.PNG")).is_file()


@pytest.mark.parametrize("suffix", STARTS)
def test_equal_figures_give_equal_files(suffix: str, tmp_path: Path) -> None:
    first, second = (save_figure(plot_edit(made_up_edit()), tmp_path / f"{name}{suffix}") for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_an_interactive_page_holds_all_it_needs_and_loads_nothing(tmp_path: Path) -> None:
    figure = plot_trace(three_traces(), backend="plotly")
    page = save_figure(figure, tmp_path / "trace.html").read_text(encoding="utf-8")
    assert len(page) > 1_000_000  # the library itself is inside
    # The library's own text mentions addresses; what the page loads stands in tags.
    tags = re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page)
    assert tags
    assert not [tag for tag in tags if "src=" in tag or "href=" in tag]
    assert "Plotly.newPlot" in page


def test_a_page_of_a_matplotlib_figure_holds_the_drawing_itself(tmp_path: Path) -> None:
    page = save_figure(plot_trace(made_up_trace()), tmp_path / "trace.html").read_text(encoding="utf-8")
    body = page[page.index("<body>") :]
    assert body.index("<svg") < 10
    assert "<?xml" not in page


def test_a_plotly_figure_is_not_written_as_paper_formats(tmp_path: Path) -> None:
    figure = plot_trace(made_up_trace(), backend="plotly")
    with pytest.raises(PlotError, match="Draw it with backend='matplotlib'"):
        save_figure(figure, tmp_path / "trace.png")
    assert not list(tmp_path.iterdir())


def test_unknown_suffixes_folders_and_objects_are_refused(tmp_path: Path) -> None:
    figure = plot_trace(made_up_trace())
    with pytest.raises(PlotError, match=r"end the name in \.png, \.pdf, \.svg, \.html"):
        save_figure(figure, tmp_path / "trace.bmp")
    with pytest.raises(PlotError, match="Create it first"):
        save_figure(figure, tmp_path / "nowhere" / "trace.png")
    with pytest.raises(PlotError, match="takes a matplotlib or Plotly figure, got str"):
        save_figure("figure", tmp_path / "trace.png")  # pyright: ignore


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_no_scrap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trace.png"
    path.write_text("old")
    figure = plot_trace(made_up_trace())

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        save_figure(figure, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
