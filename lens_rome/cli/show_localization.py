"""What `lens-rome study localization` prints, and the tables and pictures that it writes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from lens_rome.cli.localization_answer import answer, caution
from lens_rome.cli.output import Folder
from lens_rome.cli.reporting import CommandError
from lens_rome.cli.tables import show_files
from lens_rome.plotting import (
    plot_effect_peaks,
    plot_explained,
    plot_layer_effects,
    plot_score_effect,
    plot_scores_by_layer,
    plot_trace,
)
from lens_rome.studies.localization import (
    Analysis,
    LocalizationReport,
    analysis,
    load_localization,
    localization_table,
    published_regressions,
    scores_table,
)
from lens_rome.studies.localization.scoring import SCORES
from lens_rome.tracing import TraceSet
from lens_rome.tracing.window import default_window

_WINDOW = 5
"""Of the paper's main tables."""
_LAYER_SCORES = ("rewrite", "paraphrase", "neighborhood", "essence", "overall", "overall_essence")


def show_study(
    screen: Console, folder: Path, window: int | None, marks: Mapping[str, Any] | None = None, *, draws: bool
) -> None:
    """How far the study is, and its tables; written into the folder with the pictures where it is finished.

    Args:
        window: of the printed tables; None for the paper's, or less for a shallow model.
        marks: what the pictures mark: `edited`, the layer of ROME's own settings, and `shade`, MEMIT's first and last.
        draws: whether this process is the one to write.
    """
    report = load_localization(folder)
    _progress(screen, report, folder)
    scores: Any = report.scores
    if not draws or not scores["rewrite"].notna().any():
        return
    study = _Study(folder, report, analysis(report), window, marks or {})
    screen.print(f"\n{escape(localization_table(study.main, score='rewrite'))}", soft_wrap=True)
    screen.print("\n" + escape(answer(study.analysis.regressions)), soft_wrap=True)
    if warned := caution(study.analysis.regressions):
        screen.print(escape(warned), style="yellow", soft_wrap=True)
    files = Folder(folder)
    study.write(files)
    show_files(screen, files)


def _progress(screen: Console, report: LocalizationReport, folder: Path) -> None:
    scores: Any = report.scores
    done = int((scores["missing"] == "").sum())
    screen.print(f"{done} edits are scored, in {folder}.", soft_wrap=True)
    lacking = scores.loc[scores["missing"] != "", "missing"]
    if len(lacking):
        first = str(lacking.value_counts().index[0])
        screen.print(f"{len(lacking)} have no scores, most of them: {escape(first)}", style="dim", soft_wrap=True)
    if report.untraced:
        name, reason = next(iter(report.untraced.items()))
        screen.print(f"{len(report.untraced)} facts have no trace, {name}: {escape(reason)}", style="yellow")
    if report.left:
        screen.print(f"{report.left} are left: the same command goes on, on any number of workers.", soft_wrap=True)
    told = [
        f"{method} {seconds:.2f}" for method, seconds in scores.groupby("method", sort=False)["seconds"].mean().items()
    ]
    screen.print(f"Seconds an edit, by the clock: {', '.join(told)}.", style="dim", soft_wrap=True)


@dataclass(frozen=True, eq=False)
class _Study:
    """A study with its analysis, ready to be written."""

    folder: Path
    report: LocalizationReport
    analysis: Analysis
    asked: int | None
    marks: Mapping[str, Any]

    @property
    def scores(self) -> Any:
        """A data frame, and of no narrower type: a checker takes what is chosen from one for anything."""
        return self.report.scores

    @property
    def effects(self) -> Any:
        """As `scores`."""
        return self.report.effects

    @cached_property
    def n_layers(self) -> int:
        return int(self.effects["layer"].max()) + 1

    @cached_property
    def window(self) -> int:
        """Of the tables and scatter plots."""
        effects = self.effects
        there = sorted(set(effects.loc[effects["measure"] == "tracing", "window"]))
        wanted = min(_WINDOW, default_window("mlp", self.n_layers)) if self.asked is None else self.asked
        if self.asked is not None and wanted not in there:
            raise CommandError(f"window {wanted} was not traced; there are {', '.join(map(str, there))}.")
        return int(wanted if wanted in there else there[0])

    @cached_property
    def main(self) -> Any:
        """The regressions of the tables."""
        return self.analysis.of("tracing", self.window)

    @property
    def title(self) -> str:
        ids = self.scores["id"].nunique()
        return f"{ids} facts, {self.report.settings.get('model', 'model')}"

    def write(self, files: Folder) -> None:
        """Tables and pictures."""
        tables = {
            "scores.csv": ("every edit with its scores", self.scores),
            "effects.csv": ("every fact's effect of every layer", self.effects),
            "regressions.csv": ("all regressions: measures, windows, predictors", self.analysis.regressions),
            "correlations.csv": ("correlations layer by layer", self.analysis.correlations),
        }
        for name, (what, frame) in tables.items():
            files.save(name, what, lambda path, frame=frame: frame.to_csv(path, index=False))
        text = "\n\n".join(self._texts()) + "\n"
        files.save("tables.md", "the paper's tables", lambda path: path.write_text(text, encoding="utf-8"))
        for name, what, draw in self._pictures():
            files.picture(name, what, draw)

    def _texts(self) -> Iterator[str]:
        yield f"# Localization and editing: {self.title}"
        yield answer(self.analysis.regressions)
        if warned := caution(self.analysis.regressions):
            yield f"**{warned}**"
        for score in SCORES:
            if (self.main["score"] == score).any():
                yield f"## R² of the {score.replace('_', ' ')} score"
                yield localization_table(self.main, score=score, format="markdown")
        for problem in dict.fromkeys(self.scores["problem"]):
            for score in ("rewrite", "paraphrase", "neighborhood", "essence"):
                own = self.scores[self.scores["problem"] == problem]
                if own[score].notna().any():
                    yield f"## {score.capitalize()} score by layer: {problem}"
                    yield scores_table(own, score=score, problem=problem, format="markdown")

    def _pictures(self) -> Iterator[tuple[str, str, Any]]:
        scores, effects, title = self.scores, self.effects, self.title
        marks = dict(self.marks)
        yield "effects.png", "tracing effect by layer", lambda: plot_layer_effects(effects, title=title, **marks)
        yield (
            "effects_last.png",
            "the same at the subject's last token",
            lambda: plot_layer_effects(effects, by="effect_last", title=title, **marks),
        )
        if (effects["measure"] == "zeroing").any():
            yield (
                "zeroing.png",
                "effect of zeroing by layer",
                lambda: plot_layer_effects(effects, measure="zeroing", title=title, **marks),
            )
        yield "peaks.png", "where each fact peaks", lambda: plot_effect_peaks(effects, title=title, **marks)
        yield from self._scatters()
        for score in ("rewrite", "overall"):
            if self.main.loc[self.main["score"] == score, "r2_layer"].notna().any():
                yield (
                    f"explained_{score}.png",
                    f"explained variance of the {score} score",
                    lambda score=score: plot_explained(
                        self.main, score=score, published=self._published(score), title=title
                    ),
                )
        for problem in dict.fromkeys(scores["problem"]):
            own = scores[scores["problem"] == problem]
            names = [name for name in _LAYER_SCORES if own[name].notna().any()]
            if names:
                yield (
                    f"scores_{problem.replace(' ', '_')}.png",
                    f"scores by edited layer, {problem}",
                    lambda own=own, names=names: plot_scores_by_layer(own, names=names, title=title),
                )
        yield from self._trace()

    def _scatters(self) -> Iterator[tuple[str, str, Any]]:
        """The paper's versions of score against effect, as far as the study has them, and the first method's."""
        scores, effects, window = self.scores, self.effects, self.window
        versions = (
            ("rome", "error injection", "ROME", "rewrite", "effect", "tracing"),
            ("rome_last_token", "error injection", "ROME", "rewrite", "effect_last", "tracing"),
            ("forcing_ft5", "fact forcing", "FT-5", "rewrite", "effect", "tracing"),
            ("rome_overall", "error injection", "ROME", "overall", "effect", "tracing"),
            ("rome_zeroing", "error injection", "ROME", "rewrite", "effect", "zeroing"),
        )
        first = str(scores["method"].iloc[0])
        if first != "ROME":
            versions += ((_file_name(first), "error injection", first, "rewrite", "effect", "tracing"),)
        for name, problem, method, score, by, measure in versions:
            own = scores[(scores["problem"] == problem) & (scores["method"] == method) & scores[score].notna()]
            there = effects[(effects["measure"] == measure)]
            if own.empty or there.empty:
                continue
            size = window if measure == "tracing" else int(there["window"].iloc[0])
            chosen = {"problem": problem, "method": method, "score": score, "by": by, "measure": measure}
            yield (
                f"scatter_{name}.png",
                f"{score} score of {method} against the {measure} effect, layer by layer",
                lambda chosen=chosen, size=size: plot_score_effect(
                    scores, effects, window=size, title=self.title, **chosen
                ),
            )

    def _trace(self) -> Iterator[tuple[str, str, Any]]:
        """The trace of the first fact, as an example."""
        traces = TraceSet.load(self.folder / "traces" / f"window-{self.window}")
        for results in list(traces.traces.values())[:1]:
            yield "trace.png", "one fact's trace, token by token", lambda results=results: plot_trace(results["mlp"])

    def _published(self, score: str) -> Any:
        """The paper's rows of a score, where it has some."""
        frame = published_regressions()
        asked = (frame["score"] == score) & (frame["subset"] == "all") & (frame["data"] == "counterfact")
        own = frame[asked & frame["r2_layer"].notna()]
        return None if own.empty else own


def _file_name(method: str) -> str:
    return "".join(letter for letter in method.lower() if letter.isalnum())
