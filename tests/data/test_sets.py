from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.data.examples import AnswerForm
from kit.data.sets import load
from kit.data.solutions import clean_solution
from kit.errors import InputError, MissingError


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def sums(count: int) -> list[dict[str, Any]]:
    return [{"question": f"{number} + 1?", "answer": f"#### {number + 1}"} for number in range(count)]


def test_a_limit_takes_the_first_and_a_seed_draws_at_random_in_the_sets_order(tmp_path: Path) -> None:
    name = write(tmp_path / "sums.jsonl", sums(50))
    first = load(name, limit=5)
    drawn = [load(name, limit=5, seed=seed).examples for seed in (1, 1, 2)]
    assert [example.gold for example in first.examples] == ["1", "2", "3", "4", "5"]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all([int(e.gold) for e in found] == sorted(int(e.gold) for e in found) for found in drawn)
    assert len(load(name, limit=500).examples) == 50


def test_an_examples_id_does_not_depend_on_the_limit(tmp_path: Path) -> None:
    name = write(tmp_path / "sums.jsonl", sums(20))
    whole = {example.problem.key for example in load(name).examples}
    assert {example.problem.key for example in load(name, limit=3, seed=1).examples} < whole
    assert "sums-test-0:" in load(name).examples[0].problem.key


def test_the_hash_tells_whether_the_examples_are_the_same(tmp_path: Path) -> None:
    name = write(tmp_path / "sums.jsonl", sums(9))
    whole = load(name).sha256
    other = write(tmp_path / "other.jsonl", [*sums(8), {"question": "8 + 1?", "answer": "#### 10"}])
    assert whole == load(name).sha256
    assert whole not in (load(name, limit=8).sha256, load(other).sha256)


def test_a_folder_gives_the_splits_file(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", sums(3))
    (tmp_path / "test.csv").write_text("problem,answer\np,7\n", encoding="utf-8")
    assert len(load(str(tmp_path), split="train").examples) == 3
    assert load(f"gsm8k={tmp_path}").examples[0].gold == "7"
    write(tmp_path / "test.jsonl", sums(1))
    with pytest.raises(InputError, match=r"both test\.jsonl and test\.csv"):
        load(str(tmp_path))


def test_a_folder_without_the_split_says_what_is_there(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", sums(3))
    with pytest.raises(MissingError, match=r"no test\.jsonl or its like; found train\.jsonl"):
        load(str(tmp_path))


def test_a_known_name_with_a_file_reads_it_by_that_sets_rules(tmp_path: Path) -> None:
    name = write(tmp_path / "one.jsonl", [{"problem": "p", "answer": "12"}])
    assert load(f"math500={name}").examples[0].form is AnswerForm.EXPRESSION
    assert load(f"gsm8k={name}").examples[0].form is AnswerForm.INTEGER
    assert load(f"gsm8k={name}").examples[0].problem.id == "gsm8k-test-0"


def test_numinas_rows_without_an_answer_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        {"problem": "Find 1.", "solution": "\\boxed{1}"},
        {"problem": "Prove that 1 = 1.", "solution": "Clear."},
        {"problem": "Find 2.", "solution": "It is 2."},
        {"problem": "Find 3.", "solution": "\\boxed{3}"},
        {"problem": "Find 4.", "solution": "no box"},
    ]
    data = load(f"numina={write(tmp_path / 'numina.jsonl', rows)}", limit=2)
    assert [example.gold for example in data.examples] == ["1", "3"]
    assert data.left_out == {"proofs": 1, "without a final answer": 1}
    assert "of 4 rows left out: 1 proofs, 1 without a final answer" in caplog.text


def test_ids_that_stand_twice_are_refused(tmp_path: Path) -> None:
    name = write(tmp_path / "d.jsonl", [{"id": "a", "problem": p, "answer": 1} for p in "pq"])
    with pytest.raises(InputError, match="id 'a' stands more than once"):
        load(name)


def test_the_competitions_csv_follows_its_own_rules(tmp_path: Path) -> None:
    path = tmp_path / "aimo.csv"
    path.write_text("id,problem,answer\nx,p,100000\n", encoding="utf-8")
    with pytest.raises(InputError, match="the answer of 'x' is '100000', expected an integer 0–99999"):
        load(f"aimo={path}")
    assert load(str(path)).examples[0].gold == "100000"
    path.write_text("id,problem\nx,p\n", encoding="utf-8")
    with pytest.raises(InputError, match="no column 'answer'"):
        load(f"aimo={path}")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("gsm9k", "unknown data set 'gsm9k': did you mean 'gsm8k'"),
        ("what", "unknown data set 'what': expected one of gsm8k, math, math500"),
        ("no/such/folder", "unknown data set"),
        ("", "unknown data set"),
    ],
)
def test_an_unknown_name_gives_the_nearest_that_is_known(name: str, told: str, monkeypatch: Any, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=told):
        load(name)


def test_wrong_splits_and_limits_are_refused() -> None:
    with pytest.raises(InputError, match="split must be train or test, got 'dev'"):
        load("gsm8k", split="dev")
    with pytest.raises(InputError, match="limit must be >= 1, got 0"):
        load("gsm8k", limit=0)
    with pytest.raises(InputError, match="math500 has no split 'train', only test"):
        load("math500", split="train")
    with pytest.raises(MissingError, match=r"sums\.jsonl: no such file"):
        load("gsm8k=sums.jsonl")


@given(limit=st.integers(1, 60), seed=st.none() | st.integers(0, 99))
def test_any_limit_gives_so_many_examples_of_the_set_in_its_order(
    tmp_path_factory: pytest.TempPathFactory, limit: int, seed: int | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "ordered.jsonl"
    name = str(path) if path.exists() else write(path, sums(40))
    golds = [int(example.gold) for example in load(name, limit=limit, seed=seed).examples]
    assert len(golds) == min(limit, 40)
    assert golds == sorted(set(golds))


# ------------------------------------------------------------------------------------- the public sets


@pytest.mark.parametrize(
    ("name", "file", "count", "form"),
    [
        ("gsm8k", "gsm8k_test.jsonl", 1319, AnswerForm.INTEGER),
        ("gsm8k", "gsm8k_train.jsonl", 7473, AnswerForm.INTEGER),
        ("math500", "math500_test.jsonl", 500, AnswerForm.EXPRESSION),
        ("aime", "aime24_nemo.jsonl", 30, AnswerForm.INTEGER),
        ("aimo", "amc23.jsonl", 40, AnswerForm.INTEGER),
        ("aimo", "aimo3_reference.csv", 10, AnswerForm.INTEGER),
    ],
)
def test_the_public_sets_are_read_whole(shared_data: Path, name: str, file: str, count: int, form: AnswerForm) -> None:
    path = shared_data / "problems" / file
    data = load(f"{name}={path}")
    assert len(data.examples) == count
    assert {example.form for example in data.examples} == {form}
    plain = load(str(path))
    assert [example.problem.text for example in plain.examples] == [e.problem.text for e in data.examples]


def test_gsm8ks_solutions_are_clean_and_box_their_own_gold(shared_data: Path) -> None:
    for example in load(f"gsm8k={shared_data / 'problems' / 'gsm8k_train.jsonl'}").examples:
        clean = clean_solution(example.solution)
        assert not re.search(r"<<|>>|####|[‘’“”]", clean), clean
        assert clean.endswith(f"The final answer is $\\boxed{{{example.gold}}}$.")


def test_math500s_last_box_is_its_answer(shared_data: Path, tmp_path: Path) -> None:
    lines = (shared_data / "problems" / "math500_test.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    name = write(tmp_path / "boxes.jsonl", [{k: row[k] for k in ("problem", "solution", "level")} for row in rows])
    data = load(f"math={name}")
    assert [example.gold for example in data.examples] == [row["answer"] for row in rows]
    assert [example.level for example in data.examples] == [str(row["level"]) for row in rows]
