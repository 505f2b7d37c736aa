"""A share of a collection of moments: sums that are not yet all, and what they are a share of."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lens_rome._files import load_tensors, save_tensors
from lens_rome._typing import Tensor
from lens_rome.errors import FileFormatError, MomentError
from lens_rome.moments.by_layer import SecondMoments
from lens_rome.moments.moment import MomentOrigin, SecondMoment
from lens_rome.moments.probe import same_keys
from lens_rome.runs import Worker

_KIND = "moments-share"
_NAME = re.compile(r"\.share-(\d+)-of-(\d+)$")


@dataclass(frozen=True)
class Seen:
    """How far into the corpus a collection is. The same for all shares that are as far."""

    tokens: int = 0
    """Of all texts so far, whoever's they are."""
    batches: int = 0
    """Likewise."""
    half: int = 0
    """Tokens of all texts when the half was taken; 0 before."""


@dataclass(frozen=True, eq=False)
class MomentShare:
    """Sums over the batches of one worker of several. Unlike a `SecondMoment`, it may have no tokens."""

    worker: Worker
    budget: int
    """Tokens that all shares collect together, at least."""
    seen: Seen
    count: int
    """Tokens in the sums."""
    half_count: int
    origin: MomentOrigin
    """Of the texts that were read: all, not only this worker's."""
    totals: Mapping[int, Tensor]
    """Sums of outer products by layer, float64."""
    halves: Mapping[int, Tensor]
    """Of the first half of the tokens; empty before."""
    probes: Mapping[int, Tensor]
    finished: bool = False

    def save(self, path: str | Path) -> Path:
        """Write it to one safetensors file, which appears whole or not at all."""
        named = {"total": self.totals, "half_total": self.halves, "probe": self.probes}
        tensors = {f"{layer}.{name}": found for name, layers in named.items() for layer, found in layers.items()}
        described = {
            "rank": self.worker.rank,
            "world": self.worker.world,
            "budget": self.budget,
            "seen": asdict(self.seen),
            "count": self.count,
            "half_count": self.half_count,
            "origin": asdict(self.origin),
            "finished": self.finished,
        }
        return save_tensors(path, _KIND, tensors, {"share": described})

    @classmethod
    def load(cls, path: str | Path) -> "MomentShare":
        """Read what `save` wrote.

        Raises:
            FileFormatError: truncated, corrupt, or not a share.
        """
        tensors, header = load_tensors(path, _KIND)
        try:
            told = header["share"]
            found: dict[str, dict[int, Tensor]] = {"total": {}, "half_total": {}, "probe": {}}
            for key, tensor in sorted(tensors.items()):
                layer, _, name = key.partition(".")
                found[name][int(layer)] = tensor
            return cls(
                Worker(told["rank"], told["world"]),
                told["budget"],
                Seen(**told["seen"]),
                told["count"],
                told["half_count"],
                MomentOrigin(**told["origin"]),
                found["total"],
                found["half_total"],
                found["probe"],
                told["finished"],
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise FileFormatError(f"{path} is not a complete share of moments: {error!r}.") from error

    def same_collection(self, other: "MomentShare") -> bool:
        """Whether both are finished shares of one collection: texts, budget, layers and model."""
        mine, theirs = (
            (share.worker.world, share.budget, share.seen, share.origin, sorted(share.totals), share.finished)
            for share in (self, other)
        )
        return mine == theirs and all(same_keys(probe, other.probes[layer]) for layer, probe in self.probes.items())


def share_path(out: str | Path, worker: Worker) -> Path:
    """Where the share of a worker is kept on the way to `out`."""
    out = Path(out)
    return out.with_name(f"{out.name}.share-{worker.rank + 1}-of-{worker.world}")


def merge_moments(out: str | Path) -> SecondMoments:
    """Add the shares beside `out` up, save them as `out`, and return them. The shares stay; delete them as you like.

    All is as of one process (texts, tokens, the half), but for the order in which the sums are added.

    Raises:
        MomentError: a share is missing or not finished, or they are of different collections; nothing is written then.
    """
    shares = _shares(out)
    first = shares[0]
    wrong = next((share for share in shares if not share.same_collection(first)), None)
    if wrong is not None:
        raise MomentError(
            f"{share_path(out, wrong.worker)} and {share_path(out, first.worker)} are of different collections: "
            f"{wrong.origin}, {wrong.seen}, and {first.origin}, {first.seen}. Collect them with the same arguments."
        )
    count = sum(share.count for share in shares)
    if count == 0:
        raise MomentError("the corpus has no tokens. Give an iterable of non-empty texts.")
    merged = [
        SecondMoment(
            layer,
            _sum([share.totals[layer] for share in shares]),
            count,
            first.origin,
            first.probes[layer],
            _sum([share.halves[layer] for share in shares]) if first.halves else None,
            sum(share.half_count for share in shares),
        )
        for layer in first.totals
    ]
    result = SecondMoments(merged)
    result.save(out)
    return result


def unfinished(out: str | Path, world: int) -> list[Path]:
    """The files of shares that are not there or not finished."""
    paths = [share_path(out, Worker(rank, world)) for rank in range(world)]
    return [path for path in paths if not (path.is_file() and MomentShare.load(path).finished)]


def _shares(out: str | Path) -> list[MomentShare]:
    """All shares, in the order of their ranks."""
    out = Path(out)
    found = {match for path in out.parent.glob("*.share-*") if (match := _NAME.search(path.name))}
    worlds = sorted({int(match[2]) for match in found if match.string == out.name + match[0]})
    if not worlds:
        raise MomentError(f"there are no shares beside {out}. Collect them with --shard 1/2 and so on, or torchrun.")
    lacking = {world: unfinished(out, world) for world in worlds}
    whole = [world for world in worlds if not lacking[world]]
    if len(whole) != 1:
        if whole:
            raise MomentError(f"beside {out} are finished shares of {whole} workers. Delete those of all but one.")
        names = ", ".join(path.name for path in min(lacking.values(), key=len)[:5])
        raise MomentError(f"shares of {out} are not finished: {names}. Start them (again); they go on where they were.")
    return [MomentShare.load(share_path(out, Worker(rank, whole[0]))) for rank in range(whole[0])]


def _sum(tensors: Sequence[Tensor]) -> Tensor:
    total = tensors[0].clone()
    for tensor in tensors[1:]:
        total += tensor
    return total
