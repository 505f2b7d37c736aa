"""Tables in the papers' layout, and the published rows beside them."""

import math
from dataclasses import replace

import pytest

from lens_rome.evaluation import EvalReport, PromptScore, ReportError, paper_table, published
from tests.evaluation.reports import likely, random_report, row

SMALL = EvalReport(
    tuple(
        row(case, group, prob, 0.4)
        for case, prob in ((1, 0.6), (2, 0.1))
        for group in ("rewrite", "paraphrase", "neighborhood")
    ),
    "F_{|} 5%",
    settings={"model": "openai-community/gpt2-XL"},
)
ZSRE = EvalReport(
    (
        PromptScore(1, "rewrite", "", likely(0.5, 2, 1)),
        PromptScore(1, "neighborhood", "", likely(0.5), likely(0.6, 1, 1)),
    ),
    "ROME",
    settings={"model": "gpt2-xl"},
)


def test_a_text_table_has_the_papers_columns_below_their_headings() -> None:
    assert SMALL.paper_table().splitlines() == [
        "                      Score             Efficacy               Generalization             Specificity",
        "editor    records            S           ES           EM           PS           PM           NS          NM",
        "--------  -------  -----------  -----------  -----------  -----------  -----------  -----------  ----------",
        "F_{|} 5%        2  50.0 (25.0)  50.0 (69.3)  -5.0 (34.6)  50.0 (69.3)  -5.0 (34.6)  50.0 (69.3)  5.0 (34.6)",
    ]


def test_a_latex_table_is_escaped_and_its_headings_span_their_columns() -> None:
    assert SMALL.paper_table("latex").splitlines() == [
        r"\begin{tabular}{lrrrrrrrr}",
        r"\toprule",
        r" & & \multicolumn{1}{c}{Score} & \multicolumn{2}{c}{Efficacy} & \multicolumn{2}{c}{Generalization} "
        r"& \multicolumn{2}{c}{Specificity} \\",
        *(rf"\cmidrule(lr){{{columns}}}" for columns in ("3-3", "4-5", "6-7", "8-9")),
        r"Editor & Records & S $\uparrow$ & ES $\uparrow$ & EM $\uparrow$ & PS $\uparrow$ & PM $\uparrow$ "
        r"& NS $\uparrow$ & NM $\uparrow$ \\",
        r"\midrule",
        r"F\_\{|\} 5\% & 2 & 50.0 (25.0) & 50.0 (69.3) & $-$5.0 (34.6) & 50.0 (69.3) & $-$5.0 (34.6) & 50.0 (69.3) "
        r"& 5.0 (34.6) \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_every_line_of_a_latex_table_has_as_many_cells() -> None:
    labels = ["a & b", "c\\d", "50% of $x^2$ ~ #1", "0.5 × ROME"]
    lines = paper_table([replace(SMALL, label=label) for label in labels], "latex").splitlines()
    assert {line.replace(r"\&", "").count(" & ") for line in lines[7:] if line.endswith(r"\\")} == {8}
    assert r"c\textbackslash{}d & 2" in lines[10] and r"50\% of \$x\textasciicircum{}2\$" in lines[11]
    assert lines[12].startswith(r"0.5 $\times$ ROME & 2")


def test_a_markdown_table_leaves_out_columns_that_no_report_has_data_for() -> None:
    assert " GE " not in SMALL.paper_table("markdown")
    lines = paper_table([SMALL, random_report(0, "other")], "markdown").splitlines()
    assert lines[0] == "| editor | records | S | ES | EM | PS | PM | NS | NM | GE | RS |"
    assert {line.replace(r"\|", "").count("|") for line in lines} == {12}
    assert lines[2].startswith(r"| F_{\|} 5% | 2 | 50.0 (25.0) |") and lines[2].endswith("| – | – |")
    assert lines[3].startswith("| other | 12 |") and "–" not in lines[3]


def test_the_unedited_model_can_come_first() -> None:
    report = random_report(0, "ROME")
    lines = paper_table([SMALL, report], "markdown", unedited=True).splitlines()
    assert lines[2].startswith("| unedited | 12 |") and len(lines) == 5
    before = report.score("NM", before=True)
    assert f"| {100 * before.mean:.1f} ({100 * before.half_width:.1f}) |" in lines[2]
    with pytest.raises(ReportError, match="no report has scores of the unedited model"):
        paper_table(SMALL, unedited=True)


def test_published_rows_stand_below_for_the_model_that_the_report_names() -> None:
    lines = SMALL.paper_table("markdown", published=True).splitlines()
    assert len(lines) == 3 + 9 and "| ROME (published) | 7500 | 89.2 | 100.0 (0.1) | 97.9 (0.2) |" in lines[-1]
    last = SMALL.paper_table("markdown", published="EleutherAI/gpt-j-6B").splitlines()[-1]
    assert last.startswith("| ROME (published) | 2000 | 91.5 | 99.9 (0.1) |")
    other = replace(SMALL, settings={"model": "atlas"})
    assert other.paper_table(published=True) == other.paper_table()
    with pytest.raises(ReportError, match=r"no published rows of 'atlas' on counterfact\. There are some of gpt2-xl"):
        SMALL.paper_table(published="atlas")


def test_published_rows_of_two_models_say_whose_they_are() -> None:
    several = paper_table([SMALL, replace(SMALL, settings={"model": "gpt2-medium"})], "markdown", published=True)
    assert "| gpt2-xl ROME (published) |" in several and "| gpt2-medium ROME (published) |" in several


def test_zsre_has_a_table_of_its_own() -> None:
    assert ZSRE.paper_table("markdown", published=True).splitlines()[:3] == [
        "| editor | records | Efficacy | Paraphrase | Specificity |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| ROME | 1 | 50.0 | – | 100.0 |",
    ]
    last = " ".join(ZSRE.paper_table(published=True).splitlines()[-1].split())
    assert last == "ROME (published) 10000 99.8 (0.0) 88.1 (0.5) 24.2 (0.5)"


def test_normalised_scores_have_a_table_of_their_own() -> None:
    head = paper_table(random_report(0), "markdown", layout="hase").splitlines()[0]
    assert head == "| editor | records | RwS | PaS | NeS | Ess | Overall | Overall+E |"
    assert "RwS_FE" in paper_table(random_report(0), layout="erasure")


@pytest.mark.parametrize(
    ("model", "data", "count"),
    [("gpt2-xl", "counterfact", 9), ("GPT-J-6B", "counterfact", 5), ("gpt2-xl", "zsre", 8), ("gpt2-large", "zsre", 3)],
)
def test_published_figures_are_fractions_with_their_source(model: str, data: str, count: int) -> None:
    rows = published(model, data)
    assert len(rows) == count and all("arXiv 2202.05262" in each.source and each.records >= 2000 for each in rows)
    main = "ES" if data == "counterfact" else "Efficacy"
    assert all(0 < each.scores[main].mean <= 1 and rows[0].editor == "unedited" for each in rows)


def test_some_published_figures_are_as_printed() -> None:
    found = {row.editor: row.scores for row in published("gpt2-xl")}
    assert found["MEND-CF"]["NM"].mean == pytest.approx(-0.699) and found["KN"]["GE"].half_width == pytest.approx(0.023)
    assert math.isnan(found["ROME"]["S"].half_width)
    assert published("pythia-70m") == ()
    with pytest.raises(ReportError, match="published figures for counterfact and zsre, got 'mquake'"):
        published("gpt2-xl", "mquake")


def test_a_table_of_nothing_and_unknown_formats_are_refused() -> None:
    with pytest.raises(ReportError, match="a table needs a report at least"):
        paper_table([])
    with pytest.raises(ReportError, match="a table is text, markdown, latex, got 'html'"):
        SMALL.paper_table("html")
    with pytest.raises(ReportError, match=r"there is no layout 'mend'\. There are counterfact, zsre"):
        paper_table(SMALL, layout="mend")
    with pytest.raises(ReportError, match=r"no report has data for the columns of hase\. Evaluate records"):
        paper_table(SMALL, layout="hase")
    with pytest.raises(ReportError, match="no report has data for the columns of counterfact or of zsre"):
        paper_table(EvalReport(()))
