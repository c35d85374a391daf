from __future__ import annotations

import json
from pathlib import Path

import pytest

from kit.data import files
from kit.errors import InputError, MissingError

ROWS = [{"problem": "a\u2028b", "answer": "1"}, {"problem": 'c, d\n"e"', "answer": "2"}]


def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ROWS)
    (tmp_path / "rows.json").write_text(json.dumps(ROWS), encoding="utf-8")
    (tmp_path / "rows.jsonl").write_text("\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS), "utf-8")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_parquet(tmp_path / "rows.parquet")
    for path in tmp_path.iterdir():
        assert list(files.rows(path)) == ROWS, path


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.jsonl", b'{"a": 1}\n{"b":\n', "line 2 is no JSON"),
        ("a.jsonl", b"[1]\n", "line 1 is .*expected an object"),
        ("a.jsonl", b"", "holds no rows"),
        ("a.jsonl", b"\xff\xfe\xfa", "not UTF-8"),
        ("a.json", b'{"a": 1}', "expected a list of objects"),
        ("a.json", b"{", "no JSON"),
        ("a.json", b"\xff\xfe\xfa", "not UTF-8"),
        ("a.csv", b"a,b\n1\n", "row 1 has more or fewer fields"),
        ("a.csv", b"a,b\n1,2,3\n", "row 1 has more or fewer fields"),
        ("a.csv", b"a,b,b\n1,2,3\n", "the column 'b' stands more than once"),
        ("a.csv", b"a,b\n", "holds no rows"),
        ("a.csv", b'a,b\n"1', "no CSV"),
        ("a.parquet", b"nothing of the kind", "no parquet file"),
        ("a.xml", b"", "a file of kind '.xml'; expected one of .jsonl"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_fault(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: {told}"):
        files.rows(path)


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"a\.jsonl: no such file"):
        files.rows(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").mkdir()
    with pytest.raises(InputError, match=r"b\.jsonl: cannot be read"):
        files.rows(tmp_path / "b.jsonl")
