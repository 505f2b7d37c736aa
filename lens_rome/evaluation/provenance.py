"""How a report was made, as JSON: the model, the edits, and what was asked."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from lens_rome._installed import versions
from lens_rome.editing import Edit
from lens_rome.editing.problems import EditingProblem
from lens_rome.evaluation.settings import TextSettings
from lens_rome.surface import AbstractSurface


class Provenance:
    """Collects what the edits say of themselves while they go by; nothing of the edits is kept."""

    def __init__(self, surface: AbstractSurface) -> None:
        self._surface = surface
        self._made: dict[str, dict[str, Any]] = {}
        self._bos: set[bool] = set()

    def add(self, edit: Edit | None, prepend_bos: bool) -> None:
        """An edit that is scored, and the setting that it is scored with."""
        self._bos.add(prepend_bos)
        for told in _editors(edit.provenance) if edit is not None else ():
            self._made.setdefault(json.dumps(told, sort_keys=True), told)

    def settings(
        self,
        *,
        before: bool,
        groups: Sequence[str],
        weights: bool,
        texts: TextSettings | None = None,
        essence: bool = False,
        metrics: Sequence[str] = (),
        problem: EditingProblem | None = None,
    ) -> dict[str, Any]:
        """For `EvalReport.settings`.

        `edits` has every editor with its settings once, in the order in which they came; it is empty for the unedited
        model. `prepend_bos` is a truth, or both where edits were made with either.
        """
        found: dict[str, Any] = {
            "model": self._surface.model_name,
            "surface": self._surface.name,
            "dtype": str(self._surface.dtype).removeprefix("torch."),
            "prepend_bos": next(iter(self._bos)) if len(self._bos) == 1 else sorted(self._bos),
            "edits": list(self._made.values()),
            "before": before,
            "groups": list(groups),
            "weights": weights,
        }
        if texts is not None:
            # How many texts are written together changes none of them.
            found["texts"] = {name: value for name, value in asdict(texts).items() if name != "rows"}
            found["texts"] |= {} if essence else {"essence_samples": 0}
        found |= {"metrics": list(metrics)} if metrics else {}
        found |= {"problem": problem.name, "problem_settings": asdict(problem)} if problem else {}
        return found | {"versions": versions()}


def _editors(provenance: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """The editors of an edit, or of the parts of a sum, with their settings."""
    for part in provenance.get("sum") or [provenance]:
        told = {"editor": str(part.get("editor", "unknown")), "settings": plain(part.get("settings", {}))}
        factors = [each.get("scaled", 1.0) for each in ([part] if part is provenance else [provenance, part])]
        scaled = math.prod(map(float, factors))
        yield told if scaled == 1 else told | {"scaled": scaled}


def plain(value: Any, other: Callable[[Any], str] = str) -> Any:
    """A setting as JSON can hold it; `other` tells as text what JSON does not know, and numbers that are not finite."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name), other) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(each, other) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each, other) for each in value]
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return other(value)
