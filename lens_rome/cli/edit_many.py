"""`lens-rome edit --requests`: one joint edit of many facts."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

import lens_rome
from lens_rome.cli.ask import answer_probs
from lens_rome.cli.editors import Editor, described, moments_for
from lens_rome.cli.models import Loaded
from lens_rome.cli.object_until_now import object_until_now
from lens_rome.cli.output import Folder
from lens_rome.cli.reporting import working
from lens_rome.cli.show_places import describe_places, median_written, places_table
from lens_rome.cli.tables import plain_table
from lens_rome.editing import Edit
from lens_rome.facts import EditRequest
from lens_rome.moments import SecondMoments

_FIRST = 20


@dataclass(frozen=True)
class Outcome:
    """Joint probabilities of a request's two objects after its prompt; NaN for the old one where it is not known."""

    request: EditRequest
    p_new_before: float
    p_new_after: float
    p_true_before: float
    p_true_after: float

    @property
    def holds(self) -> bool | None:
        """Whether after the edit the new object is the likelier one; None where the old one is not known."""
        return None if math.isnan(self.p_true_after) else self.p_new_after > self.p_true_after


def edit_many(
    loaded: Loaded, editor: Editor, asked: Sequence[EditRequest], moments: SecondMoments | str | None
) -> tuple[Edit, list[Outcome]]:
    """Make one edit of all requests and ask for each before and after, with progress.

    Raises:
        CommandError: the editor needs moments and there are none.
    """
    moments = moments_for(editor, loaded, moments)
    requests = [_completed(loaded, each, getattr(editor, "prepend_bos", None)) for each in asked]
    with working("editing", 2) as begin:
        begin(f"{described(editor)}, {len(requests)} requests")
        made = editor.edit(loaded.model, requests, moments=moments)
        begin("asking before and after")
        bos = made.provenance.get("prepend_bos")
        before = _probs(loaded, requests, bos)
        with made.applied(loaded.model):
            after = _probs(loaded, requests, bos)
    pairs = zip(requests, before, after, strict=True)
    return made, [Outcome(request, new, late, true, kept) for request, (new, true), (late, kept) in pairs]


def _completed(loaded: Loaded, asked: EditRequest, bos: bool | None) -> EditRequest:
    """With the object until now, as far as one is known; none where the model says no word that ends, or the new one
    already.
    """
    if asked.target_true:
        return asked
    found = object_until_now(loaded, asked, bos)
    known = found.ends and found.text != asked.target_new
    return replace(asked, target_true=found.text) if known else asked


def _probs(loaded: Loaded, requests: Sequence[EditRequest], bos: bool | None) -> list[tuple[float, float]]:
    """`(new, true)` probabilities of each request."""
    new = answer_probs(loaded.surface, [(each.prompt, each.target_new) for each in requests], bos)
    known = [index for index, each in enumerate(requests) if each.target_true]
    asked = [(requests[index].prompt, requests[index].target_true) for index in known]
    true = dict(zip(known, answer_probs(loaded.surface, asked, bos), strict=True))
    return [(prob, true.get(index, math.nan)) for index, prob in enumerate(new)]


def show_many(console: Console, made: Edit, outcomes: Sequence[Outcome]) -> None:
    """How many requests hold, the first of them with their probabilities, and what the edit changes."""
    several = "one request" if len(outcomes) == 1 else f"{len(outcomes)} requests"
    console.print(f"\n[bold]{escape(str(made.provenance['editor']))}: {several} in one edit[/bold]")
    console.print(f"{_counted(outcomes)}\n", soft_wrap=True)
    console.print(_table(outcomes[:_FIRST]))
    if len(outcomes) > _FIRST:
        console.print(f"… and {len(outcomes) - _FIRST} more; --out writes all of them.", style="dim")
    console.print()
    console.print(places_table(made, median_written(made.provenance.get("diagnostics", ()))))


def _counted(outcomes: Sequence[Outcome]) -> str:
    known = [outcome.holds for outcome in outcomes if outcome.holds is not None]
    means = [
        sum(each) / len(outcomes) for each in zip(*((o.p_new_before, o.p_new_after) for o in outcomes), strict=True)
    ]
    told = f"The new object's mean probability goes from {means[0]:.1%} to {means[1]:.1%}"
    return f"{told}; it is likelier than the old one in {sum(known)} of {len(known)}." if known else f"{told}."


def _table(outcomes: Sequence[Outcome]) -> Table:
    table = plain_table("request", "p(new) before", "after", "p(old) before", "after")
    for each in outcomes:
        style = {True: "green", False: "red", None: ""}[each.holds]
        old = [f"{prob:.1%}" if prob == prob else "–" for prob in (each.p_true_before, each.p_true_after)]
        after = f"[{style}]{each.p_new_after:.1%}[/{style}]" if style else f"{each.p_new_after:.1%}"
        table.add_row(escape(str(each.request)), f"{each.p_new_before:.1%}", after, *old)
    return table


def write_many(folder: Folder, made: Edit, outcomes: Sequence[Outcome]) -> None:
    """JSON and the edit itself."""
    folder.json("edit.json", "all requests and numbers", describe_many(made, outcomes))
    folder.save("edit.safetensors", "read it with Edit.load, or lens-rome edits show", made.save)


def describe_many(made: Edit, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Outcomes, places and provenance for JSON."""
    return {
        "lens_rome": lens_rome.__version__,
        "requests": [{**asdict(each), "holds": each.holds} for each in outcomes],
        "places": describe_places(made),
        "edit": dict(made.provenance),
    }
