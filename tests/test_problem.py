import csv
from pathlib import Path

import pytest

from kit.errors import InputError, MissingError
from kit.problem import Problem, read_gold, read_problems


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_reads_problems_in_order_with_quotes_newlines_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", '\ufeffid,problem,answer\nb,"What is $1,2$\nof ""it""?",7\na,x,0\n')
    assert read_problems(path) == (Problem("b", 'What is $1,2$\nof "it"?'), Problem("a", "x"))
    assert read_gold(path) == {"b": 7, "a": 0}


def test_a_csv_without_answers_has_no_gold(tmp_path: Path) -> None:
    assert read_gold(write(tmp_path / "p.csv", "id,problem\na,x\n")) == {}


def test_reads_the_competitions_own_files(shared_data: Path) -> None:
    problems = read_problems(shared_data / "problems" / "aimo3_reference.csv")
    assert len(problems) == 10
    assert read_gold(shared_data / "problems" / "aimo3_reference.csv")[problems[0].id] == 336
    assert len(read_problems(shared_data / "problems" / "aimo3_test.csv")) == 3


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "empty"),
        ("id,problem\n", "no problem"),
        ("id,question\na,x\n", "no column 'problem'"),
        ("name,problem\na,x\n", "no column 'id'"),
        ("id,problem\na,x\na,y\n", "'a' stands more than once"),
        ("id,problem\na\n", "row 1 has a blank"),
        ("id,problem\n ,x\n", "row 1 has a blank"),
        ("id,problem\na,x\n,y\n", "row 2 has a blank"),
        ("id,problem\na,x\nb,y,z\n", "row 2 has 3 fields, the header 2"),
        ("id,problem\na,x,\n", "row 1 has 3 fields, the header 2"),
        ("id,problem\na,x\n\nb,y\n", "row 2 is a blank line"),
        ("id,problem\na,x\n\n", "row 2 is a blank line"),
        ("id,problem,problem\na,x,y\n", "the column 'problem' stands more than once"),
        (b"id,problem\na,\xff\xfe\n", "not a UTF-8 CSV"),
        ('id,problem\na,"x\n', "row 1 opens a double quote that is never closed"),
        ('id,problem\na,x\nb,"y\nc,z\n', "row 2 opens a double quote that is never closed"),
        ('id,problem\na,"x"y\n', "row 1 is no CSV"),
    ],
)
def test_refuses_a_bad_csv_naming_the_file(tmp_path: Path, content: str | bytes, says: str) -> None:
    path = write(tmp_path / "bad.csv", content)
    with pytest.raises(InputError, match=says) as caught:
        read_problems(path)
    assert str(path) in str(caught.value)


def test_a_problem_may_be_longer_than_pythons_csv_takes_by_itself(tmp_path: Path) -> None:
    """131,072 characters; Kaggle's gateway has no such limit."""
    limit = csv.field_size_limit()
    text = "x" * (limit + 1)
    assert read_problems(write(tmp_path / "p.csv", f"id,problem\na,{text}\n"))[0].text == text
    assert csv.field_size_limit() == limit


def test_zeros_before_a_gold_answer_change_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", f"id,problem,answer\na,x,00042\nb,x,{'0' * 5000}\n")
    assert read_gold(path) == {"a": 42, "b": 0}


@pytest.mark.parametrize("answer", ["-1", "100000", "1.0", "x", "", "²", "١", "9" * 5000])
def test_refuses_a_gold_answer_that_is_no_integer_in_range(tmp_path: Path, answer: str) -> None:
    with pytest.raises(InputError, match="answer of 'a'"):
        read_gold(write(tmp_path / "p.csv", f"id,problem,answer\na,x,{answer}\n"))


def test_names_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"nothing\.csv"):
        read_problems(tmp_path / "nothing.csv")
    with pytest.raises(InputError, match="is a folder"):
        read_problems(tmp_path)
    (tmp_path / "p.csv").write_text("")
    for unreadable in (tmp_path / "p.csv" / "x", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match="cannot be read"):
            read_problems(unreadable)


def test_a_problems_key_tells_texts_apart_under_one_id() -> None:
    assert Problem("a", "x").key != Problem("a", "y").key
    assert Problem("a", "\ud800").key == Problem("a", "\ud800").key
