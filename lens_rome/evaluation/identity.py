"""What an evaluation depends on, as JSON that is equal only for equal things: for the manifests of runs."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lens_rome.editing import Edit, KnowledgeNeurons, TrainedKnowledgeEditor, TrainedMEND
from lens_rome.editing.fingerprint import fingerprint
from lens_rome.editing.spread import SpreadEditor
from lens_rome.errors import EditError
from lens_rome.evaluation.making import Moments
from lens_rome.evaluation.provenance import plain
from lens_rome.facts import EvalRecord, sample_contexts, sample_started_contexts
from lens_rome.moments import SecondMoment
from lens_rome.surface import AbstractSurface


def editor_name(editor: Any) -> str:
    """What an editor is called."""
    return str(getattr(editor, "name", type(editor).__name__))


def with_contexts(editor: Any, surface: AbstractSurface) -> Any:
    """The editor with the context prefixes that it would sample, which are then the same in every process and told by
    its settings. One that samples none comes back as it is.
    """
    if getattr(editor, "contexts", ()) is not None or not is_dataclass(editor) or isinstance(editor, type):
        return editor
    if isinstance(editor, SpreadEditor):
        bos = surface.prepends_bos(editor.prepend_bos)
        found = sample_started_contexts(surface, editor.starts, editor.context_length, editor.seed, bos)
    elif isinstance(editor, KnowledgeNeurons) and (editor.paraphrases or editor.faithful):
        return editor
    elif hasattr(editor, "context_lengths"):
        found = sample_contexts(surface, getattr(editor, "context_lengths"), getattr(editor, "seed", 0))  # noqa: B009
    else:
        return editor
    return replace(editor, contexts=found)  # pyright: ignore[reportArgumentType, reportCallIssue]


def describe_editor(editor: Any) -> dict[str, Any]:
    """Name and settings as edits tell them in their provenance, with the contexts or the trained network.

    Raises:
        EditError: an editor that does not tell its settings.
    """
    told: dict[str, Any] = {"editor": editor_name(editor)}
    if isinstance(editor, TrainedMEND | TrainedKnowledgeEditor):
        return told | {"settings": plain(editor.editor.jsonable(), _other), "network": digest(editor.learned.network)}
    if not is_dataclass(editor) or isinstance(editor, type):
        raise EditError(
            f"a run notes the settings of its editor, and {type(editor).__name__} does not tell them. Make it a "
            "dataclass, or give the edits themselves."
        )
    settings = {field.name: plain(getattr(editor, field.name), _other) for field in fields(editor)}
    contexts = settings.pop("contexts", None)
    return told | {"settings": settings} | ({} if contexts is None else {"contexts": contexts})


def describe_moments(moments: Moments) -> Any:
    """A text a layer. Moments that know their corpus are told by it: the last digits of sums depend on the machine."""
    if moments is None or isinstance(moments, str):
        return moments
    several = [moments] if isinstance(moments, SecondMoment) else moments.values()
    return {str(moment.layer): _moment(moment) for moment in several}


def _moment(moment: SecondMoment) -> str:
    origin = asdict(moment.origin)
    values = None if origin["texts_digest"] else moment.total
    return f"sha256 {digest([moment.count, origin, values, moment.memory])}"


def records_digest(records: Sequence[EvalRecord]) -> str:
    """sha256 over all that is asked about the records."""
    asked = [field.name for field in fields(EvalRecord) if field.name != "extra"]
    return digest([[getattr(record, name) for name in asked] + [record.reference_group] for record in records])


def edits_digest(edits: Sequence[Edit | None]) -> str:
    """sha256 over the changes, in their order."""
    known: dict[int, str] = {}
    for edit in filter(None, edits):
        if id(edit) not in known:
            known[id(edit)] = digest([[*place, delta.tensors()] for place, delta in sorted(edit.deltas.items())])
    return digest([known.get(id(edit)) for edit in edits])


def digest(value: Any) -> str:
    """sha256 of a value: JSON's kinds, tensors, networks, and mappings, sequences and dataclasses of them.

    Raises:
        EditError: of another kind, so that nobody could tell whether it is the same.
    """
    hashed = hashlib.sha256()
    for text in _texts(value):
        hashed.update(text.encode())
        hashed.update(b"\0")
    return hashed.hexdigest()


def _texts(value: Any) -> Iterable[str]:
    """Texts that tell the value; brackets keep what is inside apart from what comes after."""
    if isinstance(value, torch.Tensor):
        # A column of a matrix passes for contiguous, and its bytes cannot be seen all the same.
        yield fingerprint(value.detach().clone(memory_format=torch.contiguous_format))
    elif isinstance(value, torch.nn.Module):
        yield from _texts(value.state_dict())
    elif isinstance(value, Mapping):
        yield "{"
        for key in sorted(value, key=repr):
            yield from (*_texts(key), *_texts(value[key]))
        yield "}"
    elif isinstance(value, list | tuple):
        yield "["
        for each in value:
            yield from _texts(each)
        yield "]"
    elif is_dataclass(value) and not isinstance(value, type):
        yield type(value).__name__
        yield from _texts({field.name: getattr(value, field.name) for field in fields(value)})
    elif value is None or isinstance(value, str | bool | int | float):
        yield json.dumps(value)
    elif isinstance(value, Path | torch.dtype):
        yield str(value)
    else:
        raise EditError(
            f"a run notes what it depends on, and of a {type(value).__name__} nobody can tell whether it is the same. "
            "Give a dataclass of numbers, texts and tensors."
        )


def _other(value: Any) -> str:
    """A setting that JSON does not know, as a text that is equal only for equal ones."""
    return str(value) if isinstance(value, float | Path | torch.dtype) else f"sha256 {digest(value)}"
