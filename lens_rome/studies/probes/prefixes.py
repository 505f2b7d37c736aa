"""P8: how much does a subject's key depend on what stands before it, and does averaging over prefixes help?"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from jaxtyping import Float

from lens_rome._typing import Model, Tensor
from lens_rome.editing.key import read_keys
from lens_rome.editing.rows import prompt_rows
from lens_rome.errors import EditError, SurfaceError
from lens_rome.evaluation import EvalReport, compare, evaluate
from lens_rome.facts import EvalRecord
from lens_rome.studies.probes.finding import Answer, Finding, Missing, Value
from lens_rome.studies.probes.intervals import bootstrap
from lens_rome.studies.probes.making import Editor, Moments, bos_of, changes_of
from lens_rome.studies.probes.prefix_sets import PUBLISHED_S, PrefixSet, check_sets, prefix_sets
from lens_rome.surface import AbstractSurface, as_surface, check_layer

QUESTION = "Does the key depend on what stands before the subject, and do prefixes make an edit better?"
_METRICS = ("S", "ES", "PS", "NS")
_NAME = "S with prefixes minus S without"


@dataclass(frozen=True, eq=False)
class Keys:
    """The keys of one subject after the prefixes of a set, compared with their mean."""

    cosine: Float[Tensor, " context"]
    """cos(k_j, mean)."""
    distance: Float[Tensor, " context"]
    """|k_j - mean| / |mean|."""

    @classmethod
    def of(cls, keys: Float[Tensor, "context d_mlp"]) -> "Keys":
        """Of the keys themselves, in float64."""
        exact = keys.detach().cpu().double()
        mean = exact.mean(0)
        cosine = torch.nn.functional.cosine_similarity(exact, mean[None], dim=1)
        return cls(cosine, (exact - mean).norm(dim=1) / mean.norm())


def prefixes(
    model: Model,
    editor: Editor,
    cases: Sequence[EvalRecord],
    *,
    sets: Sequence[PrefixSet] | None = None,
    moments: Moments = None,
    prepend_bos: bool | None = None,
    seed: int = 0,
) -> Finding:
    """Compare the keys of subjects after sets of prefixes, and the edits that are made with these sets.

    The answer is S of the second set minus S of the first (by default the code's 20 prefixes, and none), with the
    interval of the paired difference over records.

    `rows` are of two kinds. Phase `"before"`: a key of the unedited model, with `set`, `context` (its index in the
    set), `cosine` (with the set's mean key) and `distance` (from it, over its norm). Phase `"after"`: a prompt under
    the edit made with the set, with `group`, `nll_new`, `nll_true` (nats), `success` and `change` (norm of the edit
    over that of the weights). What does not apply is None. `summary` has a row a set and measure. `settings["sets"]`
    holds the prefixes, so that `PrefixSet(name, tuple(texts))` repeats the probe.

    Args:
        editor: one with `contexts` and a `layer` (or `layers`, whose last is looked at), such as `ROME`.
        cases: records with paraphrases and neighbours; one that the editor refuses is scored as the unedited model.
        sets: the first two make the answer; None for those of `prefix_sets(model, seed)`.
        seed: of the default sets and of the bootstraps.

    Raises:
        EditError: no records, an editor without contexts, no sets, or none that fits the model.
        FactError, SurfaceError: a prompt that cannot be used, or a layer that there is not.
    """
    surface = as_surface(model)
    layer = _layer(editor)
    check_layer(surface, layer)
    if not cases:
        raise EditError("no records to probe. Give one at least.")
    given, missing = (tuple(sets), ()) if sets is not None else prefix_sets(model, seed)
    check_sets(given)
    bos = bos_of(surface, editor, prepend_bos)
    lost, rows, summary = [*missing], list[dict[str, Value]](), list[dict[str, Value]]()
    reports: dict[str, EvalReport] = {}
    for each in given:
        try:
            keys = {str(case.case_id): _keys(surface, case, each, layer, editor, bos) for case in cases}
            report = _report(model, editor, cases, each, moments, prepend_bos)
        except SurfaceError as error:  # Too long for the model's context.
            if len(given) == 1:
                raise
            lost.append(Missing(each.name, str(error)))
            continue
        reports[each.name] = report
        refused = [case for case in report.cases if case.refused]
        lost += [Missing(f"{one.case_id} with {each.name}", f"scored as unedited: {one.refused}") for one in refused]
        rows += [*_key_rows(cases, each, keys), *_score_rows(report, each.name)]
        summary += _means(report, each, keys, seed)
    answer = _answer(reports, summary, seed)
    settings = {
        "model": surface.model_name,
        "editor": getattr(editor, "name", type(editor).__name__),
        "layer": layer,
        "edits": [each for report in reports.values() for each in report.settings["edits"]],
        "prepend_bos": bos,
        "seed": seed,
        "changes": {name: changes_of(report) for name, report in reports.items()},
        "sets": {each.name: list(each.contexts) for each in given},
        "published": "S of GPT-2 XL on CounterFact, ROME's ablation (https://arxiv.org/abs/2202.05262)",
    }
    return Finding("prefixes", QUESTION, answer, tuple(rows), tuple(summary), tuple(lost), settings)


def _layer(editor: Any) -> int:
    """Where the editor's keys are.

    Raises:
        EditError: it has no contexts or no layer.
    """
    is_settings = is_dataclass(editor) and not isinstance(editor, type)
    names = {field.name for field in fields(editor)} if is_settings else set[str]()
    layers: Any = getattr(editor, "layers", None) if "layers" in names else None
    if "layer" in names:
        layers = (getattr(editor, "layer", None),)
    if "contexts" not in names or not layers:
        found = getattr(editor, "name", None) or type(editor).__name__
        raise EditError(
            f"{found} has no contexts and layer to compare prefixes by. Take an editor such as ROME(layer=5)."
        )
    return int(layers[-1])


def _report(
    model: Model,
    editor: Any,
    cases: Sequence[EvalRecord],
    prefix_set: PrefixSet,
    moments: Moments,
    bos: bool | None,
) -> EvalReport:
    """Scores of one edit a record, made with the set."""
    own: Any = replace(editor, contexts=prefix_set.contexts)
    return evaluate(
        model,
        cases,
        own,
        moments=moments,
        metrics=_METRICS,
        prepend_bos=bos,
        refused="unedited",
        label=prefix_set.name,
    )


def _keys(
    surface: AbstractSurface, case: EvalRecord, prefix_set: PrefixSet, layer: int, editor: Any, bos: bool
) -> Keys:
    lookup = getattr(editor, "lookup", "subject_last")
    rows = prompt_rows(surface, case.request, prefix_set.contexts, lookup, bos)
    return Keys.of(read_keys(surface, [rows], layer)[0].keys)


_EMPTY: Mapping[str, Value] = dict.fromkeys(
    ("context", "cosine", "distance", "group", "nll_new", "nll_true", "success", "change")
)


def _key_rows(
    cases: Sequence[EvalRecord], prefix_set: PrefixSet, keys: Mapping[str, Keys]
) -> Iterator[dict[str, Value]]:
    for case in cases:
        found = keys[str(case.case_id)]
        for index, before in enumerate(prefix_set.contexts):
            yield {
                "case": str(case.case_id),
                "prompt": before + case.request.prompt,
                "phase": "before",
                "target": case.request.target_new,
                "set": prefix_set.name,
                "subject": case.request.subject,
                **_EMPTY,
                "context": index,
                "cosine": float(found.cosine[index]),
                "distance": float(found.distance[index]),
            }


def _score_rows(report: EvalReport, name: str) -> Iterator[dict[str, Value]]:
    cases = {case.case_id: case for case in report.cases}
    for score in report.scores:
        yield {
            "case": str(score.case_id),
            "prompt": score.prompt,
            "phase": "after",
            "target": cases[score.case_id].target_new,
            "set": name,
            "subject": cases[score.case_id].subject,
            **_EMPTY,
            "group": score.group,
            "nll_new": score.nll_new,
            "nll_true": score.nll_true,
            "success": None if score.true is None else score.success,
            "change": cases[score.case_id].change,
        }


def _means(
    report: EvalReport, prefix_set: PrefixSet, keys: Mapping[str, Keys], seed: int
) -> Iterator[dict[str, Value]]:
    """A row a measure of the set; `published` is what the paper has for it."""

    def row(
        measure: str, found: tuple[float, float, float], n: int, published: float | None = None
    ) -> dict[str, Value]:
        mean, low, high = found
        told: dict[str, Value] = {"set": prefix_set.name, "prefixes": len(prefix_set.contexts), "measure": measure}
        return {**told, "mean": mean, "low": low, "high": high, "n": n, "published": published}

    for name, score in report.summary(_METRICS, seed=seed).items():
        published = PUBLISHED_S.get(prefix_set.name) if name == "S" else None
        yield row(name, (score.mean, *score.interval), score.n, published)
    of_cases = {
        "cosine": [float(each.cosine.mean()) for each in keys.values()],
        "lowest cosine": [float(each.cosine.min()) for each in keys.values()],
        "relative spread": [float(each.distance.mean()) for each in keys.values()],
        "bare prompt's distance": [float(each.distance[0]) for each in keys.values()],
        "change": [case.change for case in report.cases if case.change is not None],
    }
    for measure, values in of_cases.items():
        yield row(measure, bootstrap(values, seed=seed), len(values))


def _answer(reports: Mapping[str, EvalReport], summary: Sequence[Mapping[str, Value]], seed: int) -> Answer:
    spreads = {row["set"]: row["mean"] for row in summary if row["measure"] == "relative spread"}
    if not reports:
        raise EditError("no set of prefixes fits the model's context with these prompts. Give shorter ones.")
    first, *others = reports
    second = others[0] if others else first
    told = f"After `{second}` a key lies {spreads[second]:.0%} of the mean key's length away from it, on average"
    nan = math.nan
    if not others:
        return Answer(_NAME, nan, nan, nan, 0, f"{told}. One set was asked, so there is no other to compare it with.")
    found = compare(reports[second], reports[first], seed=seed).differences.get("S")
    if found is None or not found.difference.n:
        return Answer(_NAME, nan, nan, nan, 0, f"{told}. No record has what S needs.")
    reading = f"{told}. Edits have S {found.first.mean:.3f} with it and {found.second.mean:.3f} with `{first}`."
    return Answer(_NAME, found.difference.mean, *found.difference.interval, found.difference.n, reading)
