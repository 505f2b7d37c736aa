"""`lens-rome moments`: collect the second moments that ROME needs."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from lens_rome.cli.engines import Shard
from lens_rome.cli.models import Loaded, load
from lens_rome.cli.options import Bos, Device, Dtype, ModelName, Precision, SurfaceName, split_numbers
from lens_rome.cli.reporting import CommandError, console, reporting
from lens_rome.cli.tables import plain_table
from lens_rome.errors import MomentError
from lens_rome.moments import SecondMoment, SecondMoments, collect_moments, collect_share, merge_moments
from lens_rome.moments.share import share_path, unfinished
from lens_rome.runs import Worker


@reporting
def moments(
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write, and to continue from if it is there.")],
    layers: Annotated[str | None, typer.Option("--layers", "-l", help="Layers, separated by commas.")] = None,
    corpus: Annotated[
        str, typer.Option("--corpus", help="A text file with one text a line, or `atlas` for the bundled world's.")
    ] = "atlas",
    tokens: Annotated[
        int | None, typer.Option("--tokens", min=1, help="Tokens to use; left out: ten for each dimension.")
    ] = None,
    model: ModelName = "atlas",
    surface: SurfaceName = None,
    device: Device = "cpu",
    dtype: Dtype = Precision.float32,
    bos: Bos = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the atlas's corpus.")] = 0,
    shard: Shard = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Only add up the shares that are beside --out; no model is loaded.")
    ] = False,
) -> None:
    """Collect second moments of MLP keys, for `lens-rome edit --moments` and `moments=` in Python.

    Example: lens-rome moments --layers 2,3 --tokens 20000 --out moments.safetensors

    In shares: the same with --shard 1/4 … 4/4, or under torchrun or SLURM; whoever ends last adds them up.
    """
    if merge:
        _show(merge_moments(out), out)
        return
    worker = Worker.from_environment(os.environ, shard)
    if layers is None:
        raise CommandError("--layers says of which layers moments are collected, such as 2,3; only --merge needs none.")
    wanted = split_numbers(layers, "--layers")
    if not out.parent.is_dir():
        raise CommandError(f"cannot write {out}: the folder {out.parent} does not exist. Create it first.")
    if (shared := worker.world > 1) and out.exists() and not share_path(out, worker).exists():
        raise CommandError(f"{out} is there already and would be overwritten by the shares. Name another file.")
    loaded = load(model, surface, device, dtype)
    texts = _texts(loaded, corpus, seed)
    name = Path(corpus).name  # no path gets into the file
    if shared:
        collect_share(loaded.model, wanted, texts, out=out, shard=worker, tokens=tokens, prepend_bos=bos, name=name)
        _merge_if_last(out, worker)
        return
    found = collect_moments(loaded.model, wanted, texts, tokens=tokens, prepend_bos=bos, name=name, checkpoint=out)
    _show(found, out)


def _merge_if_last(out: Path, worker: Worker) -> None:
    """Add the shares up where all are there. Two workers that end together both do, and write the same."""
    missing = unfinished(out, worker.world)
    if missing:
        console().print(
            f"Share {worker.rank + 1} of {worker.world} is finished; {len(missing)} are not yet, such as "
            f"{missing[0].name}.",
            soft_wrap=True,
        )
        return
    _show(merge_moments(out), out)


def _texts(loaded: Loaded, corpus: str, seed: int) -> Iterator[str]:
    """The texts of `--corpus`, read as far as needed."""
    if corpus == "atlas":
        if loaded.world is None:
            raise CommandError("--corpus atlas is for --model atlas; give a text file, one text a line.")
        return loaded.world.corpus(seed)
    path = Path(corpus)
    if not path.is_file():
        raise CommandError(f"there is no file {corpus}; --corpus takes a text file, or `atlas`.")
    return _lines(path)


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from (line.strip() for line in file if line.strip())
    except UnicodeDecodeError as error:
        raise CommandError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}.") from error


def _show(found: SecondMoments, out: Path) -> None:
    screen = console()
    table = plain_table("layer", "dimensions", "tokens", "condition number", "still turns by")
    for moment in found.values():
        condition, turn = _quality(moment)
        table.add_row(str(moment.layer), str(moment.d_mlp), str(moment.count), condition, turn)
    screen.print(table)
    screen.print(
        "`still turns by`: mean angle between C⁻¹k from the first half of the tokens and from all of them, for the "
        "keys of a probe text. The smaller, the less more tokens would change an edit.",
        style="dim",
    )
    screen.print(f"Written to {out}", soft_wrap=True)


def _quality(moment: SecondMoment) -> tuple[str, str]:
    """Condition number and convergence as text."""
    try:
        condition = f"{moment.condition:.2e}"
    except MomentError:
        return f"singular: about {10 * moment.d_mlp} tokens are needed", "–"
    turn = None if moment.probe is None else moment.turn(moment.probe.double())
    return condition, "unknown: no sum of a half that can be inverted" if turn is None else f"{turn:.1f}°"
