"""A file of rows in, the rows out: JSON lines, JSON, CSV, and parquet where pyarrow is installed.

Says nothing of what the columns mean; see kit.data.columns.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kit.data.columns import Row
from kit.errors import InputError, MissingError
from kit.problem import fields_of_any_length

EXTRA = "pip install 'mathllm-kit[eval]'"


def rows(path: Path) -> Sequence[Row]:
    """The rows of a file, in its order.

    Raises: MissingError if it is not there, or for parquet without pyarrow; InputError for a kind that is not known, a
        file that cannot be read, a line that is no JSON object, and one without rows.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: a file of kind {path.suffix!r}; expected one of {', '.join(READERS)}")
    try:
        found = reader(path)
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error}); save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not found:
        raise InputError(f"{path}: holds no rows; expected at least one problem")
    return found


def _json_lines(path: Path) -> list[Row]:
    found: list[Row] = []
    with path.open(encoding="utf-8-sig") as lines:  # str.splitlines would split at U+2028 too, which GSM8K holds
        for number, line in enumerate(lines, start=1):
            if line.strip():
                found.append(_object(path, f"line {number}", line))
    return found


def _object(path: Path, place: str, text: str) -> Row:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {place} is no JSON ({error}): {text.strip()[:60]!r}") from None
    if not isinstance(row, dict):
        raise InputError(f"{path}: {place} is {text.strip()[:60]!r}; expected an object with the columns as keys")
    return row


def _json(path: Path) -> list[Row]:
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise
        raise InputError(f"{path}: no JSON ({error}); name a file of JSON lines .jsonl") from None
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise InputError(f"{path}: expected a list of objects, one a row")
    return found


def _csv(path: Path) -> list[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file, fields_of_any_length():
        try:
            reader = csv.DictReader(file, strict=True)
            found = list(reader)
        except csv.Error as error:
            raise InputError(f"{path}: no CSV ({error})") from None
    doubled = [name for name, count in Counter(reader.fieldnames or ()).items() if count > 1]
    if doubled:
        raise InputError(f"{path}: the column {doubled[0]!r} stands more than once; keep one of them")
    for number, row in enumerate(found, start=1):
        if None in row or None in row.values():
            raise InputError(f"{path}: row {number} has more or fewer fields than the header")
    return [{str(name): value for name, value in row.items()} for row in found]


def _parquet(path: Path) -> list[Row]:
    try:
        from pyarrow import ArrowException, parquet  # heavy
    except ImportError:
        raise MissingError(f"{path}: parquet is read with pyarrow, which is not installed; {EXTRA}") from None
    try:
        found: list[Row] = parquet.read_table(path).to_pylist()
    except ArrowException as error:
        raise InputError(f"{path}: no parquet file ({error})") from None
    return found


READERS: Mapping[str, Callable[[Path], Sequence[Row]]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}
"""By the ending of a file's name."""
