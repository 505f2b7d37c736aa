"""`EvalRecord`: a request and the prompts that score it, in the schema of CounterFact."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lens_rome.errors import FactError
from lens_rome.facts.fact import EditRequest

_LISTS = ("paraphrase_prompts", "neighborhood_prompts", "attribute_prompts", "generation_prompts")


@dataclass(frozen=True)
class EvalRecord:
    """One CounterFact-style record: a request and the prompts that score what an edit did (reference: ROME, §3.3)."""

    case_id: int
    request: EditRequest
    paraphrase_prompts: tuple[str, ...] = ()
    """Other wordings of the request's prompt, subject filled in."""
    neighborhood_prompts: tuple[str, ...] = ()
    """Prompts about other subjects for which `target_true` is right, or the answer in `neighborhood_answers`."""
    attribute_prompts: tuple[str, ...] = ()
    """Prompts about other subjects for which `target_new` is right."""
    generation_prompts: tuple[str, ...] = ()
    neighborhood_answers: tuple[str, ...] = ()
    """The right answer of each neighbourhood prompt where it is not `target_true` (zsRE); empty where it is."""
    neighborhood_target: str = ""
    """The object whose probability should not move after the neighbourhood prompts where it is not the request's new
    one, as in problems whose new object is the true one; empty where it is.
    """
    extra: dict[str, Any] = field(default_factory=dict, compare=False, hash=False)
    """Keys of the source file that have no field here, and its `requested_rewrite` as it stood; kept for a round
    trip.
    """

    @property
    def reference_group(self) -> tuple[str, str]:
        """The relation and the new object, by its id in the source file if it has one there: the group of texts that an
        edited model's texts about the subject should be like.
        """
        target = self.extra.get("requested_rewrite", {}).get("target_new", {})
        return self.request.relation, str(target.get("id", self.request.target_new))

    def to_dict(self) -> dict[str, Any]:
        """The record in the schema of `counterfact.json`. What `from_dict` read comes back exactly."""
        source = self.extra.get("requested_rewrite", {})
        request = self.request
        rewrite = {
            **source,
            "prompt": _as_it_stood(source.get("prompt"), request.template),
            "subject": _as_it_stood(source.get("subject"), request.subject),
            "target_new": _target(source.get("target_new", {}), request.target_new),
            "target_true": _target(source.get("target_true", {}), request.target_true),
        }
        if request.relation or "relation_id" in source or not source:
            rewrite["relation_id"] = request.relation
        lists = {name: list(getattr(self, name)) for name in _LISTS}
        return {**self.extra, "case_id": self.case_id, "requested_rewrite": rewrite, **lists}

    @classmethod
    def from_dict(cls, record: Any) -> "EvalRecord":
        """Read one record of `counterfact.json`, a mapping.

        Raises:
            FactError: a key is missing, a value has the wrong type, or the request is not valid; the message names the
                case.
        """
        case = record.get("case_id", "?") if isinstance(record, Mapping) else "?"
        try:
            rewrite = _mapping(record, "the record")["requested_rewrite"]
            request = EditRequest(
                subject=_text(_mapping(rewrite, "requested_rewrite")["subject"], "subject"),
                template=_text(rewrite["prompt"], "prompt"),
                target_new=_text(_mapping(rewrite["target_new"], "target_new")["str"], "target_new.str"),
                target_true=_text(_mapping(rewrite["target_true"], "target_true")["str"], "target_true.str"),
                relation=_text(rewrite.get("relation_id", ""), "relation_id"),
            )
            prompts: dict[str, Any] = {name: _prompts(name, record.get(name, [])) for name in _LISTS}
            extra = {key: value for key, value in record.items() if key not in ("case_id", *_LISTS)}
            return cls(int(record["case_id"]), request, extra=extra, **prompts)
        except FactError as error:
            raise FactError(f"record {case}: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            wrong = f"the key {error} is missing" if isinstance(error, KeyError) else repr(error)
            raise FactError(
                f"record {case} is not in the CounterFact schema: {wrong}. It needs case_id, requested_rewrite "
                "(prompt, subject, target_new.str, target_true.str) and lists of prompts."
            ) from error


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be an object, got {type(value).__name__}")
    return value


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a text, got {value!r}")
    return value


def _prompts(name: str, prompts: object) -> tuple[str, ...]:
    if not isinstance(prompts, (list, tuple)) or not all(isinstance(prompt, str) for prompt in prompts):
        raise TypeError(f"{name} must be a list of strings")
    return tuple(prompts)


def _as_it_stood(source: str | None, text: str) -> str:
    """The source's own text where only the white space around it was dropped."""
    return source if source is not None and source.strip() == text.strip() else text


def _target(source: Mapping[str, Any], text: str) -> dict[str, Any]:
    """A target with the source's other keys (its Wikidata id), which belong to the source's own object only."""
    if source.get("str", "").strip() != text:
        return {"str": text}
    return {**source}
