"""P6: at which layer, and at which token of the prompt, does an edit generalise?"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from lens_rome._typing import Model
from lens_rome.editing.rows import LOOKUPS
from lens_rome.errors import EditError
from lens_rome.evaluation import EvalReport, TextSettings, evaluate
from lens_rome.evaluation.texts import ReferenceTexts
from lens_rome.facts import EvalRecord
from lens_rome.moments import SecondMoments
from lens_rome.studies.probes.finding import Finding, Missing, Value
from lens_rome.studies.probes.layers_answer import Key, answer_of
from lens_rome.studies.probes.making import Editor, Moments, changes_of
from lens_rome.surface import as_surface, check_layer

QUESTION = "At which layer and token does an edit generalise?"
METRICS = ("S", "ES", "EM", "PS", "PM", "NS", "NM")
AS_IT_IS = "as the editor does"
"""The token of an editor that looks nothing up."""
UNEDITED = "unedited"
"""In the column of tokens, the scores of the unedited model."""

EditorAt = Callable[[int, str], Editor]
"""Makes the editor of a layer and a token."""


@dataclass(frozen=True, eq=False)
class _Plan:
    """What every layer and token share."""

    model: Model
    records: Sequence[EvalRecord]
    moments: Moments
    metrics: tuple[str, ...]
    texts: TextSettings | None
    references: ReferenceTexts | None

    def scored(self, editor: Editor | None, label: str, prepend_bos: bool | None) -> EvalReport:
        """A report of one edit a record; of the unedited model for a record that the editor refuses, or for None."""
        return evaluate(
            self.model,
            self.records,
            editor,
            moments=self.moments,
            metrics=self.metrics,
            prepend_bos=prepend_bos,
            label=label,
            texts=self.texts,
            references=self.references,
            refused="unedited",
        )


def layers(
    model: Model,
    editor: Editor | EditorAt,
    cases: Sequence[EvalRecord],
    *,
    moments: Moments = None,
    layers: Sequence[int] | None = None,
    tokens: Sequence[str] | None = None,
    metrics: Sequence[str] = METRICS,
    by: str = "S",
    texts: TextSettings | None = None,
    references: ReferenceTexts | None = None,
    prepend_bos: bool | None = None,
    seed: int = 0,
) -> Finding:
    """Edit every record at every layer and token choice, and score it as `evaluate` does.

    The answer is by how much the best layer and token are better than the last layer at the same token at which every
    record was edited, by `by`, with the interval of the paired difference over records; the best one is chosen on the
    same records. A record that the editor refuses (in the last block nothing but the last token can change the answer)
    is scored as the unedited model there, so that all means are over the same records, and stands in `missing`; a layer
    and token at which all are refused is not compared, and the reading names it.

    `rows` have beside the common columns `layer`, `token`, `group` (of the prompt), `nll_new`, `nll_true` (mean over
    the target's tokens, nats) and `success`; those of the unedited model, scored once, have phase `"before"`, layer
    None and token `"unedited"`. `summary` has one row a layer, token and metric (`measure`): `mean`, `low`, `high` and
    `n`, in fractions.

    Args:
        editor: one with a `layer` (or one `layers`) and perhaps a `lookup`, which are replaced, or a function of layer
            and token that makes one.
        cases: records with paraphrases and neighbours.
        moments: second moments of all the layers.
        layers: None for all, or for those that `moments` holds.
        tokens: of `"subject_first"`, `"subject_last"`, `"subject_first_after_last"`, `"last"`; None for all four, or
            for the editor's own way where it looks nothing up.
        metrics: names of `lens_rome.evaluation.METRICS`; `"GE"` and `"RS"` need generation prompts, and `references`.
        texts, references: as `evaluate` takes them.
        prepend_bos: None for the setting that the edits were made with.
        seed: of the bootstrap of S.

    Raises:
        EditError: no records, layers or tokens that there are not, an editor without a layer, or one that refuses every
            record everywhere.  ReportError: no such metric.
        MomentError: no moments of a layer.
    """
    surface = as_surface(model)
    held = moments if isinstance(moments, SecondMoments) else range(surface.n_layers)
    where = tuple(dict.fromkeys(held if layers is None else layers))
    if not where or not cases:
        raise EditError(f"{len(cases)} records and {len(where)} layers; the probe needs one of each at least.")
    for layer in where:
        check_layer(surface, layer)
    at, chosen = _editor_at(editor, tokens)
    names = tuple(dict.fromkeys((*metrics, by)))
    plan = _Plan(model, list(cases), moments, names, texts, references)
    reports, missing = _sweep(plan, at, [(layer, token) for token in chosen for layer in where], prepend_bos)
    bos = next(iter(reports.values())).settings["prepend_bos"]  # A list where edits differ in it.
    plain = plan.scored(None, UNEDITED, bos if isinstance(bos, bool) else None)
    rows = [row for key, report in ((None, plain), *reports.items()) for row in _rows(report, key)]
    summary = [row for key, report in ((None, plain), *reports.items()) for row in _means(report, names, key, seed)]
    settings = {
        "model": surface.model_name,
        "editor": _told(editor),
        "edits": plain_settings(reports.values()),
        "changes": {f"layer {layer}, {token}": changes_of(report) for (layer, token), report in reports.items()},
        "layers": list(where),
        "tokens": list(chosen),
        "metrics": list(names),
        "by": by,
        "seed": seed,
        "prepend_bos": plain.settings["prepend_bos"],
    }
    answer = answer_of(reports, by, seed)
    return Finding("layers", QUESTION, answer, tuple(rows), tuple(summary), tuple(missing), settings)


def plain_settings(reports: Any) -> list[Any]:
    """Every editor's settings once, as the reports tell them."""
    told: list[Any] = []
    for report in reports:
        told += [each for each in report.settings["edits"] if each not in told]
    return told


def _told(editor: Any) -> Any:
    return getattr(editor, "name", getattr(editor, "__name__", type(editor).__name__))


def _editor_at(editor: Any, tokens: Sequence[str] | None) -> tuple[EditorAt, tuple[str, ...]]:
    """What makes the editor of a layer and a token, and the tokens.

    Raises:
        EditError: see `layers`.
    """
    is_settings = is_dataclass(editor) and not isinstance(editor, type)
    names = {field.name for field in fields(editor) if field.init} if is_settings else set[str]()
    looks_up = "lookup" in names or not is_settings
    chosen = tuple(dict.fromkeys(tokens)) if tokens is not None else LOOKUPS if looks_up else (AS_IT_IS,)
    strange = [token for token in chosen if token not in (LOOKUPS if looks_up else (AS_IT_IS,))]
    if not chosen or strange:
        known = ", ".join(LOOKUPS) if looks_up else f"none, for {_told(editor)} looks nothing up"
        raise EditError(f"unknown tokens {', '.join(map(repr, strange)) or '(none given)'}; there are {known}.")
    settings: Any = editor
    if not is_settings:
        if not callable(editor) or isinstance(editor, type):
            raise EditError(f"the probe takes an editor or a function of layer and token, got {editor!r:.80}.")
        return settings, chosen
    if "layer" not in names and len(getattr(editor, "layers", ())) != 1:
        raise EditError(
            f"{_told(editor)} has not one layer to replace. Give a function of layer and token that makes the editor, "
            "such as lambda layer, token: MEMIT((layer,), lookup=token)."
        )

    def at(layer: int, token: str) -> Editor:
        place: dict[str, Any] = {"layer": layer} if "layer" in names else {"layers": (layer,)}
        made: Any = replace(settings, **place, **({"lookup": token} if looks_up else {}))
        return made

    return at, chosen


def _sweep(
    plan: _Plan, at: EditorAt, places: Sequence[Key], bos: bool | None
) -> tuple[dict[Key, EvalReport], list[Missing]]:
    """A report for each layer and token, and the records that were refused there."""
    reports: dict[Key, EvalReport] = {}
    missing: list[Missing] = []
    for layer, token in places:
        place = f"layer {layer}, {token}"
        report = reports[layer, token] = plan.scored(at(layer, token), place, bos)
        refused = [case for case in report.cases if case.refused]
        missing += [
            Missing(f"{case.case_id} at {place}", f"scored as the unedited model: {case.refused}") for case in refused
        ]
    if len(missing) == len(places) * len(plan.records):
        raise EditError(f"the editor makes no edit of any record at any layer and token: {missing[0].reason}")
    return reports, missing


def _rows(report: EvalReport, key: Key | None) -> Iterator[dict[str, Value]]:
    targets = {case.case_id: case.target_new for case in report.cases}
    for score in report.scores:
        yield {
            "case": str(score.case_id),
            "prompt": score.prompt,
            "phase": "before" if key is None else "after",
            "target": targets[score.case_id],
            "layer": None if key is None else key[0],
            "token": UNEDITED if key is None else key[1],
            "group": score.group,
            "nll_new": score.nll_new,
            "nll_true": score.nll_true,
            "success": None if score.true is None else score.success,
        }


def _means(report: EvalReport, names: Sequence[str], key: Key | None, seed: int) -> Iterator[dict[str, Value]]:
    for name, score in report.summary(names, seed=seed).items():
        low, high = score.interval
        where: dict[str, Value] = {"layer": key and key[0], "token": key[1] if key else UNEDITED}
        yield {**where, "measure": name, "mean": score.mean, "low": low, "high": high, "n": score.n}
