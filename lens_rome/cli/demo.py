"""`lens-rome demo`: the whole story on the bundled model, in under a minute."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from lens_rome.cli.comparison import Comparison, world_prompts
from lens_rome.cli.edit_one import run_edit, write_edit
from lens_rome.cli.models import ATLAS, load
from lens_rome.cli.options import Precision, SurfaceName
from lens_rome.cli.output import Folder
from lens_rome.cli.reporting import console, reporting
from lens_rome.cli.show_edit import show_edit
from lens_rome.cli.show_trace import show_traces
from lens_rome.cli.tables import show_files
from lens_rome.cli.trace import run_traces, write_traces
from lens_rome.editing import preset
from lens_rome.tracing import TraceResult

_SUBJECT, _RELATION, _NEW = "Eiffel Tower", "landmarks.city", "Rome"


@reporting
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for pictures and results.")] = Path("out/demo"),
    surface: SurfaceName = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the trace's noise.")] = 1,
) -> None:
    """Trace a fact in the bundled model, rewrite it with ROME, and show what that changed and what it did not."""
    started = time.perf_counter()
    screen, folder = console(), Folder(out)
    loaded = load(ATLAS, surface, "cpu", Precision.float32)
    assert loaded.world is not None
    fact = loaded.world.fact(_SUBJECT, _RELATION)
    _head(screen, "1 · Where does the model recall this fact?")
    traces = run_traces(loaded, fact, ["resid", "mlp", "attn"], {"answer": fact.target, "seed": seed})
    show_traces(screen, traces, top=2)
    screen.print(escape(_where(traces["resid"])))
    _head(screen, f"2 · Rewrite it: the {_SUBJECT} is to be in {_NEW}")
    request = fact.rewrite(_NEW)
    prompts = world_prompts(loaded, request)
    made, comparison = run_edit(loaded, preset("ROME", ATLAS), request, loaded.world.moments, prompts)
    show_edit(screen, made, comparison)
    screen.print("\n" + escape(_summary(comparison)))
    write_traces(folder, traces)
    write_edit(folder, made, comparison)
    show_files(screen, folder)
    screen.print(_what_to_look_at(), style="dim")
    screen.print(f"Done in {time.perf_counter() - started:.0f} seconds.")


def _head(screen: Console, title: str) -> None:
    screen.print()
    screen.rule(f"[bold]{escape(title)}[/bold]", align="left")


def _where(result: TraceResult) -> str:
    """What the trace of hidden states says, from its numbers."""
    last, end = result.subject_span[1] - 1, len(result.tokens) - 1
    shares = result.indirect_effects / result.total_effect
    best = int(shares[:, last].argmax())
    late = next((layer for layer in range(len(shares)) if shares[layer, end] > 0.5), None)
    found = (
        f"At the subject's last token the hidden state after layer {best} alone brings back "
        f"{float(shares[best, last]):.0%} of what the noise took"
    )
    if late is None:
        return found + "."
    return f"{found}; at the last token of the prompt it is more than half from layer {late} on."


def _summary(comparison: Comparison) -> str:
    """What the edit did, counted."""
    request = comparison.request
    reworded, wordings = comparison.counted("paraphrase")
    kept, neighbours = comparison.counted("neighbourhood")
    done, _ = comparison.counted("rewrite")
    return (
        f"The model {'now says' if done else 'does not say'} {request.target_new} for the {request.subject}; "
        f"it does so in {reworded} of {wordings} wordings that it never saw about this subject. "
        f"Of {neighbours} other sights of {request.target_true}, {kept} are still in {request.target_true}."
    )


def _what_to_look_at() -> str:
    return (
        "In trace.png a dark cell is a state that brings the answer back: look at the rows of the subject's last token "
        "(marked *) and of the last token. In edit.png the filled marks are after the edit: orange should lead in the "
        "first two blocks, blue in the third."
    )
