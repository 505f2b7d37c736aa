"""The story of one edit as a value, and as a folder of files."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lens_rome._files import load_json, save_json
from lens_rome.editing import Edit
from lens_rome.facts import EditRequest
from lens_rome.studies.one_edit.questions import GROUPS, Question
from lens_rome.studies.one_edit.replies import Reply, Written
from lens_rome.studies.probes import Finding
from lens_rome.studies.probes.intervals import wilson
from lens_rome.surface import folder_written_whole
from lens_rome.tracing import TraceResult

_KIND = "story"
_STORY, _EDIT = "story.json", "edit.safetensors"
UNCHECKED = "unchecked"
"""Under which the settings of a story tell that its old object is only what the model says, and what is known of it."""


@dataclass(frozen=True)
class Share:
    """How many of some things it holds for, before and after the edit."""

    n: int
    before: int
    after: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval (Wilson) of the share after the edit, as if the things were drawn from many alike; NaN for
        none.
        """
        return wilson(self.after, self.n)[1:]

    @property
    def interval_before(self) -> tuple[float, float]:
        """The same before the edit."""
        return wilson(self.before, self.n)[1:]


@dataclass(frozen=True, eq=False)
class EditStory:
    """Everything that the page about one edit tells."""

    request: EditRequest
    edit: Edit
    traces: Mapping[str, TraceResult] = field(default_factory=dict)
    """Of the unedited model, by kind; empty where nothing was traced."""
    replies: tuple[Reply, ...] = ()
    """In the order of `GROUPS`."""
    texts: tuple[Written, ...] = ()
    findings: tuple[Finding, ...] = ()
    """Of the probes."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What everything depends on: model, editor, seeds, BOS, lengths (JSON-able)."""

    def group(self, name: str) -> tuple[Reply, ...]:
        """The replies of one of `GROUPS`."""
        return tuple(each for each in self.replies if each.question.group == name)

    def part(self, name: str) -> tuple[Reply, ...]:
        """The replies of a part of the story: `changed`, `kept`, `leaked`."""
        return tuple(each for each in self.replies if GROUPS[each.question.group].part == name)

    def right(self, replies: tuple[Reply, ...]) -> Share:
        """After how many of the prompts the object that is right after the edit is the likelier one; prompts where
        nothing is required do not count.
        """
        told = [each for each in replies if each.right is not None]
        return Share(len(told), sum(bool(each.right_before) for each in told), sum(bool(each.right) for each in told))

    def mentions(self, words: str) -> Share:
        """How many of the texts name something after their prompt."""
        found = [each.mentions(words) for each in self.texts]
        return Share(len(found), sum(before for before, _ in found), sum(after for _, after in found))

    @property
    def doubt(self) -> str:
        """A sentence where the old object is only what the model says (`settings["unchecked"]`); else empty."""
        if UNCHECKED not in self.settings:
            return ""
        sure = "".join(f" ({100 * each.old_before:.0f}%)" for each in self.group("rewrite"))
        told = f"The object until now, {self.request.target_true}, is what the model says{sure}; nobody has checked "
        return f"{told}that it is true. {self.settings[UNCHECKED]}".strip()

    def save(self, folder: str | Path) -> Path:
        """Write the story into a new or empty folder, which appears whole or not at all: `story.json`, the edit, each
        trace (`trace_KIND.safetensors`) and each finding (`finding_NUMBER_PROBE.json`). Returns the folder.

        Raises:
            FileFormatError: the folder holds something already, or lies in no folder.
        """
        folder = Path(folder)
        names = [f"finding_{place}_{found.probe}.json" for place, found in enumerate(self.findings, 1)]
        content = {
            "request": asdict(self.request),
            "traces": [*self.traces],
            "findings": names,
            "replies": [asdict(each) for each in self.replies],
            "texts": [asdict(each) for each in self.texts],
            "settings": dict(self.settings),
        }
        with folder_written_whole(folder) as temporary:
            save_json(temporary / _STORY, _KIND, content)
            self.edit.save(temporary / _EDIT)
            for kind, trace in self.traces.items():
                trace.save(temporary / _trace_name(kind))
            for name, finding in zip(names, self.findings, strict=True):
                finding.save(temporary / name)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> "EditStory":
        """Read what `save` wrote.

        Raises:
            FileFormatError: no such folder, or a file of it is missing, truncated, of another kind or newer format.
        """
        folder = Path(folder)

        def make(content: dict[str, Any]) -> "EditStory":
            return cls(
                request=EditRequest(**content["request"]),
                edit=Edit.load(folder / _EDIT),
                traces={kind: TraceResult.load(folder / _trace_name(kind)) for kind in content["traces"]},
                replies=tuple(_reply(each) for each in content["replies"]),
                texts=tuple(Written(**each) for each in content["texts"]),
                findings=tuple(Finding.load(folder / name) for name in content["findings"]),
                settings=content["settings"],
            )

        return load_json(folder / _STORY, _KIND, "story of an edit", make)


def _trace_name(kind: str) -> str:
    return f"trace_{kind}.safetensors"


def _reply(told: Mapping[str, Any]) -> Reply:
    fields: dict[str, Any] = {**told, "question": Question(**told["question"])}
    return Reply(**fields)
