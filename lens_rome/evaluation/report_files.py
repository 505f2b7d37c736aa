"""Reports as files: JSON Lines, which hold everything, and Parquet beside them for those who read tables.

The first line tells what the file is and how the report was made, then comes a line a row, in the report's order, and
the last line tells how many there were and their sha256, so that a file that was cut or changed is refused.
"""

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lens_rome._files import FORMAT_VERSION, written_whole
from lens_rome.errors import FileFormatError
from lens_rome.evaluation.metrics import ReportError
from lens_rome.evaluation.report import EvalReport
from lens_rome.evaluation.row_lines import from_line, to_line
from lens_rome.evaluation.rows import PromptScore, RecordCase, RecordTexts
from lens_rome.evaluation.run_folder import is_run, load_run

_KIND = "evaluation"
_ROWS_FILE, _PROMPTS_FILE, _RECORDS_FILE = "report.jsonl", "prompts.parquet", "records.parquet"


def save_report(report: EvalReport, path: str | Path) -> Path:
    """Write a report to a file of JSON Lines (`*.jsonl`), or to a folder, which is made if it is not there.

    A folder holds `report.jsonl` and, where pyarrow is installed (the extra `parquet`), `prompts.parquet` and
    `records.parquet` with the rows of `to_dataframe` and `to_record_dataframe`. Files appear whole or not at all; a
    report that is there is replaced.

    Returns:
        The path.

    Raises:
        ReportError: a name that is neither a folder nor `*.jsonl`, or the folder of a run.
        FileFormatError: the folder that it is to lie in does not exist.
    """
    path = Path(path)
    if path.suffix == ".jsonl" and not path.is_dir():
        _write_rows(report, path)
        return path
    if path.is_file() or (path.suffix and not path.is_dir()):
        raise ReportError(f"a report is saved to a folder or to a file *.jsonl, got {path}.")
    if not path.parent.is_dir():
        raise FileFormatError(f"cannot write {path}: the folder {path.parent} does not exist. Create it first.")
    if is_run(path):
        raise ReportError(f"{path} is the folder of a run, which is its own report. Name another folder, or a file.")
    path.mkdir(exist_ok=True)
    _write_tables(report, path)
    _write_rows(report, path / _ROWS_FILE)
    return path


def load_report(path: str | Path) -> EvalReport:
    """Read what `save_report` wrote, a file or a folder; or the folder of a run, as `load_run`.

    Raises:
        FileFormatError: no such file, truncated, changed, of another kind, or of a newer format.
        RunError: the folder of a run that is none of an evaluation, or damaged.
    """
    path = Path(path)
    if is_run(path):
        return load_run(path)
    if not path.exists():
        raise FileFormatError(f"there is no {path}. Name a report that EvalReport.save wrote, or the folder of a run.")
    path = path / _ROWS_FILE if path.is_dir() else path
    try:
        lines = path.read_bytes().splitlines(keepends=True)
        if len(lines) < 2:
            raise ValueError("it has not the first and the last line of one")
        head, *rows, end = lines
        header, check = json.loads(head), json.loads(end)
        if header["kind"] != _KIND or header["format_version"] > FORMAT_VERSION:
            raise FileFormatError(
                f"{path} holds a {header['kind']!r} of format version {header['format_version']}, expected an "
                f"{_KIND!r} of version {FORMAT_VERSION} at most. Take another file, or update lens_rome."
            )
        if check != _end(lines[:-1]):
            raise ValueError("its last line does not fit the lines before it")
        found = [from_line(json.loads(line)) for line in rows]
        scores = tuple(row for row in found if isinstance(row, PromptScore))
        texts = tuple(row for row in found if isinstance(row, RecordTexts))
        cases = tuple(row for row in found if isinstance(row, RecordCase))
        return EvalReport(scores, header["label"], texts, header["settings"], cases)
    except FileFormatError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(
            f"{path} is not a complete report (missing, cut, or changed since it was written): {error}. Take another "
            "copy."
        ) from error


def _head(report: EvalReport) -> str:
    head = {"kind": _KIND, "format_version": FORMAT_VERSION, "label": report.label, "settings": dict(report.settings)}
    return json.dumps(head)


def _write_rows(report: EvalReport, path: Path) -> None:
    with written_whole(path) as temporary:
        lines = [_head(report).encode() + b"\n"]
        lines += [
            json.dumps(to_line(row), allow_nan=False).encode() + b"\n"
            for row in (*report.cases, *report.scores, *report.texts)
        ]
        temporary.write_bytes(b"".join([*lines, json.dumps(_end(lines)).encode() + b"\n"]))


def _end(lines: list[bytes]) -> dict[str, Any]:
    """What the last line says of those before it."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    return {"rows": len(lines) - 1, "sha256": digest.hexdigest()}


def _write_tables(report: EvalReport, folder: Path) -> None:
    """The data frames as Parquet; without pyarrow, older ones are taken away, since they would not fit the rows."""
    frames = {_PROMPTS_FILE: report.to_dataframe, _RECORDS_FILE: report.to_record_dataframe}
    for name, frame in frames.items():
        if find_spec("pyarrow") is None:
            (folder / name).unlink(missing_ok=True)
            continue
        with written_whole(folder / name) as temporary:
            frame().to_parquet(temporary, engine="pyarrow", index=False)
