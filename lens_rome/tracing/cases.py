"""Folders of case files, named as the released driver names them: one file for each fact and kind."""

import re
from pathlib import Path

from lens_rome.errors import FileFormatError, TraceError
from lens_rome.tracing.npz import CASE_KINDS, case_of, is_skipped, read_case, result_of, write_case
from lens_rome.tracing.result import TraceResult
from lens_rome.tracing.trace_set import TraceSet

_NAME = re.compile(r"knowledge_(?P<id>[\w. -]+?)(?:_(?P<kind>mlp|attn))?\.npz")


def case_name(known_id: int | str, kind: str = "resid") -> str:
    """The released driver's file name for one fact's trace of one kind.

    Raises:
        TraceError: a kind without case files, or an id that such a name cannot hold.

    >>> case_name(7), case_name(7, "mlp")
    ('knowledge_7.npz', 'knowledge_7_mlp.npz')
    """
    if kind not in CASE_KINDS:
        raise TraceError(f"kind {kind!r} has no case files, only {', '.join(CASE_KINDS)}. Keep it with `save`.")
    suffix = f"_{CASE_KINDS[kind]}" if CASE_KINDS[kind] else ""
    name = f"knowledge_{known_id}{suffix}.npz"
    found = _NAME.fullmatch(name)
    if not found or found["id"] != str(known_id):
        raise TraceError(
            f"the id {known_id!r} cannot stand in the name of a case file. Use letters, digits, dots, spaces, - and _, "
            "and neither _mlp nor _attn at its end."
        )
    return name


def write_cases(traces: TraceSet, folder: str | Path) -> list[Path]:
    """Write every trace of a set under its `case_name`; nothing is written if one of them does not fit.

    Skipped facts get no file: the format cannot tell a fact that the model does not know from one that failed.

    Raises:
        TraceError: a trace or an id that does not fit.  FileFormatError: the folder does not exist.
    """
    # All are made before the first is written.
    cases = {
        case_name(known_id, result.settings.kind): case_of(result)
        for known_id, kinds in traces.traces.items()
        for result in kinds.values()
    }
    return [write_case(case, Path(folder) / name) for name, case in cases.items()]


def read_cases(
    folder: str | Path, *, model: str = "unknown", noise: str = "unknown", original: bool = False
) -> TraceSet:
    """All case files of a folder, by the id in their names (numbers in order); other files are passed over.

    Facts whose files hold no scores, because the model did not predict the expected answer, are `skipped`. For the
    options see `TraceResult.from_npz`.

    Raises:
        FileFormatError: no such folder, no case files in it, or a file that `load_case` refuses or whose kind is not
            that of its name.
    """
    traces: dict[str, dict[str, TraceResult]] = {}
    untraced: set[str] = set()
    for path, known_id, kind in _case_files(Path(folder)):
        case = read_case(path)
        if is_skipped(case):
            untraced.add(known_id)
            continue
        result = result_of(case, path, model=model, noise=noise, original=original)
        if result.settings.kind != kind:
            raise FileFormatError(
                f"{path} holds a trace of kind {result.settings.kind}, but is named as one of kind {kind}. Rename it."
            )
        traces.setdefault(known_id, {})[kind] = result
    reason = "the model did not predict the expected answer"
    return TraceSet(traces, {known_id: reason for known_id in sorted(untraced - set(traces), key=_order)})


def _case_files(folder: Path) -> list[tuple[Path, str, str]]:
    """Path, id and kind of each, facts in order, and of each fact the kinds in order."""
    if not folder.is_dir():
        raise FileFormatError(f"there is no folder {folder}.")
    named = [(path, _NAME.fullmatch(path.name)) for path in folder.iterdir()]
    found = [(path, match["id"], match["kind"] or "resid") for path, match in named if match]
    if not found:
        raise FileFormatError(
            f"{folder} has no case files (knowledge_7.npz, knowledge_7_mlp.npz, …). The released code keeps them in "
            "results/…/causal_trace/cases."
        )
    kinds = list(CASE_KINDS)
    return sorted(found, key=lambda entry: (_order(entry[1]), kinds.index(entry[2])))


def _order(known_id: str) -> tuple[bool, int, str]:
    """Numbers by size, then everything else."""
    number = known_id.isdecimal()
    return not number, int(known_id) if number else 0, known_id
