"""Collect second moments: one streaming pass over a corpus for any number of layers, stopped after the last of them.

Published runs read a hundred thousand documents for hours. The solution of a rank-one update needs far fewer: about
ten tokens a dimension, and a measure (`SecondMoment.turn`) that tells how much the key direction still turns.
"""

import operator
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import SupportsIndex

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from lens_rome._typing import Model
from lens_rome.errors import MomentError
from lens_rome.moments import fitter as fitting
from lens_rome.moments.by_layer import SecondMoments
from lens_rome.moments.fitter import MomentFitter, TextRow
from lens_rome.moments.share import MomentShare, share_path
from lens_rome.runs import Worker
from lens_rome.surface import as_surface

_WINDOW = 4  # batches that are read at once and sorted by length: bounds the tokens in memory, saves padding
_SAVE_EVERY = 1  # windows between two checkpoints


def collect_moments(
    model: Model,
    layers: SupportsIndex | Iterable[SupportsIndex],
    corpus: Iterable[str],
    *,
    tokens: SupportsIndex | None = None,
    prepend_bos: bool | None = None,
    name: str = "corpus",
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> SecondMoments:
    """Second moments of the keys of `layers` over the first texts of `corpus` that hold `tokens` tokens.

    One pass serves all layers; sums are float64; the model is unchanged. Texts are run one by one from their start
    (cut at the context length), as in the released code, and not packed. BOS tokens and padding are not counted.

    Args:
        layers: a layer or several, from 0.
        corpus: texts; read only as far as needed.
        tokens: how many to use at least (texts are used whole); None for ten times the widest layer.
        name: what the corpus is called in messages and files.
        checkpoint: a file to save to on the way and to continue from; the corpus must begin with the same texts.
        progress: show a progress bar.

    Raises:
        MomentError: no tokens in the corpus, a single text for a corpus, or a checkpoint of something else.
        SurfaceError: no such layer, or weights that are not finite.
    """
    fitter, budget = _fitter(model, layers, corpus, tokens, prepend_bos, name, checkpoint)
    texts = iter(corpus)
    if checkpoint is not None and Path(checkpoint).is_file():
        fitter.resume(SecondMoments.load(checkpoint), texts)

    def save() -> None:
        if checkpoint is not None and fitter.count:
            fitter.result().save(checkpoint)

    _collect(fitter, texts, budget, save, progress)
    result = fitter.result()
    if checkpoint is not None:
        result.save(checkpoint)
    return result


def collect_share(
    model: Model,
    layers: SupportsIndex | Iterable[SupportsIndex],
    corpus: Iterable[str],
    *,
    out: str | Path,
    shard: str | Worker,
    tokens: SupportsIndex | None = None,
    prepend_bos: bool | None = None,
    name: str = "corpus",
    progress: bool = True,
) -> Path:
    """One worker's share of `collect_moments`; when all have theirs, `merge_moments(out)` gives the moments.

    Every worker reads and tokenises the whole corpus, as far as one process would, and cuts it into the same batches;
    each runs its own, by their numbers. So which texts count does not depend on the number of workers, nor does a
    batch's sum: 1, 2 and 3 shares give the same moments but for the order of float64 additions.

    Args:
        layers, corpus, tokens, prepend_bos, name: as of `collect_moments`; the same for all workers. `tokens` are those
            of all workers together.
        out: the file that the shares will be merged into. This share is written beside it on the way, as
            `<out>.share-2-of-8`, and continued from there.
        shard: such as `"2/8"`.

    Returns:
        The share's file.

    Raises:
        MomentError: as `collect_moments`, or a share of something else is in the file.  RunError: not such a shard.
    """
    worker = shard if isinstance(shard, Worker) else Worker.from_shard(shard)
    fitter, budget = _fitter(model, layers, corpus, tokens, prepend_bos, name, out, worker)
    texts, path = iter(corpus), share_path(out, worker)
    if path.is_file():
        saved = MomentShare.load(path)
        fitter.resume_share(saved, budget, texts)
        if saved.finished:
            return path

    def save() -> None:
        if fitter.seen.tokens:
            fitter.share(budget, False).save(path)

    _collect(fitter, texts, budget, save, progress)
    return fitter.share(budget, True).save(path)


def _fitter(
    model: Model,
    layers: SupportsIndex | Iterable[SupportsIndex],
    corpus: Iterable[str],
    tokens: SupportsIndex | None,
    prepend_bos: bool | None,
    name: str,
    file: str | Path | None,
    worker: Worker | None = None,
) -> tuple[MomentFitter, int]:
    """An empty fitter and the number of tokens to collect, all arguments checked."""
    surface, wanted = as_surface(model), _whole_layers(layers)
    surface.check_layers(wanted)
    if isinstance(corpus, str):
        raise MomentError(f"the corpus {corpus[:40]!r} is one text; its letters would count as texts. Give a list.")
    if file is not None and Path(file).suffix == ".npz":
        raise MomentError(f"a checkpoint cannot be a .npz file, got {file}. Name it *.safetensors.")
    budget = _budget(tokens) or 10 * max((surface.weight(layer).shape[0] for layer in wanted), default=0)
    return MomentFitter(surface, wanted, prepend_bos, name, budget // 2, worker), budget


def _whole_layers(layers: SupportsIndex | Iterable[SupportsIndex]) -> list[int]:
    """The layers as plain numbers; NumPy's are numbers too."""
    several = list(layers) if isinstance(layers, Iterable) else [layers]
    try:
        if any(isinstance(layer, bool) for layer in several):
            raise TypeError
        return [operator.index(layer) for layer in several]
    except TypeError as error:
        raise MomentError(f"layers are whole numbers from 0, got {layers!r}.") from error


def _budget(tokens: SupportsIndex | None) -> int | None:
    if tokens is None:
        return None
    if isinstance(tokens, bool) or not hasattr(tokens, "__index__") or operator.index(tokens) < 1:
        raise MomentError(f"tokens must be a whole number from 1 up, got {tokens!r}.")
    return operator.index(tokens)


def _collect(
    fitter: MomentFitter, texts: Iterator[str], budget: int, save: Callable[[], object], progress: bool
) -> None:
    """Add windows until the budget is used, with a progress bar and checkpoints.

    Raises:
        MomentError: there were no tokens.
    """
    columns = (
        TextColumn("second moments: {task.completed:.0f} of {task.total:.0f} tokens"),
        BarColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not progress, transient=True) as bar:
        task = bar.add_task("", total=budget, completed=fitter.seen.tokens)
        for index, rows in enumerate(_windows(fitter, texts, budget)):
            fitter.add(rows)
            bar.update(task, completed=min(fitter.seen.tokens, budget))
            if index % _SAVE_EVERY == _SAVE_EVERY - 1:
                save()
    if fitter.seen.tokens == 0:
        raise MomentError("the corpus has no tokens. Give an iterable of non-empty texts.")


def _windows(fitter: MomentFitter, texts: Iterator[str], budget: int) -> Iterator[list[TextRow]]:
    """Texts in order, some at a time. A window ends with the text that reaches the half or the whole of the budget, so
    the texts that count depend on nothing but the corpus.
    """
    while (seen := fitter.seen.tokens) < budget:
        left = (fitter.half_at if seen < fitter.half_at else budget) - seen
        rows: list[TextRow] = []
        filled = 0
        for text in texts:
            rows.append(fitter.row(text))
            filled += fitter.tokens_of(rows[-1])
            if filled >= min(left, _WINDOW * fitting.BATCH_POSITIONS):
                break
        if not rows:
            return
        yield rows
