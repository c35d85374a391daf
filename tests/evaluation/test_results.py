from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from kit.errors import StorageError
from kit.evaluation.description import described, parameters_text
from kit.evaluation.markdown import markdown
from kit.evaluation.metrics import Grading
from kit.evaluation.model_table import comparison_table
from kit.evaluation.results import sample_lines, summary, write_results
from kit.evaluation.table import notes
from kit.sampling import FinishReason
from tests.evaluation.runs import answered, completion, example, run


def test_results_have_the_keys_of_lm_evaluation_harness() -> None:
    written = json.loads(json.dumps(summary(answered([["7"], ["9"], ["7"], [None]])).as_json()))
    task = written["results"]["gsm8k"]
    assert task["exact_match,strict"] == 0.5
    assert task["exact_match_stderr,strict"] == pytest.approx(0.288675, abs=1e-6)  # sd 0.57735 over the root of 4
    assert task["exact_match_interval,strict"] == pytest.approx([0.15, 0.85], abs=1e-3)
    assert task["unanswered,strict"] == 0.25
    assert task["alias"] == "gsm8k"
    assert written["n-samples"]["gsm8k"] == {"original": 4, "effective": 4}
    assert written["n-shot"] == {"gsm8k": 0}
    assert task["finish_reasons"] == {"stop": 4}
    assert task["num_tokens"] == 80


def test_one_problem_has_no_standard_error_and_says_so_as_the_harness_does() -> None:
    assert summary(answered([["7"]])).as_json()["results"]["gsm8k"]["exact_match_stderr,strict"] == "N/A"


def test_each_depth_level_and_subject_is_a_task_of_its_own() -> None:
    examples = [example(0, level="5", subject="Number Theory"), example(1, level="1", subject="Algebra")]
    made = [completion(of, 0, "7", depth=depth) for of in examples for depth in (3, 5)]
    results = summary(run(examples, made, depths=(3, 5), data={"name": "math500"})).as_json()["results"]
    assert sorted(results) == sorted(
        f"math500_depth{depth}{rest}"
        for depth in (3, 5)
        for rest in ("", "_level_1", "_level_5", "_subject_algebra", "_subject_number_theory")
    )


def test_a_line_for_each_completion_and_grading_names_its_document_by_its_hash() -> None:
    of = example(0)
    made = [completion(of, 0, None, lenient="7", finish=FinishReason.LENGTH), completion(of, 1, "9")]
    lines = list(sample_lines(run([of], made, num_samples=2)))
    assert [(line["filter"], line["filtered_resps"], line["exact_match"]) for line in lines] == [
        ("strict", ["[invalid]"], 0.0),
        ("lenient", ["7"], 1.0),
        ("strict", ["9"], 0.0),
        ("lenient", ["9"], 0.0),
    ]
    doc = json.dumps(lines[0]["doc"], indent=2, ensure_ascii=False)
    assert {line["doc_hash"] for line in lines} == {hashlib.sha256(doc.encode()).hexdigest()}
    assert (lines[0]["finish"], lines[0]["doc_id"], lines[0]["target"]) == ("length", 0, "7")


def test_results_are_written_whole_beside_the_samples_whatever_a_completion_holds(tmp_path: Path) -> None:
    of = example(0)
    written = run([of], [completion(of, 0, "7", text="\x00 \ud800 \u202e </script>")])
    write_results(written, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json", "samples_gsm8k.jsonl"]
    assert json.loads((tmp_path / "results.json").read_text())["is_whole"] is True
    lines = [json.loads(line) for line in (tmp_path / "samples_gsm8k.jsonl").read_text().splitlines()]
    assert lines[0]["resps"] == [["\x00 \ud800 \u202e </script>"]]


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        write_results(answered([["7"]]), tmp_path / "file" / "below")


def test_an_empty_run_has_results_without_a_task() -> None:
    assert summary(run([example(0)], [])).as_json()["results"] == {}


def test_a_head_is_read_whatever_it_lacks() -> None:
    blank = described({})
    assert (blank.model, blank.training_data, blank.trainable_parameters, blank.task) == (
        "unnamed model",
        "",
        None,
        "problems",
    )
    assert described({"model": "/models/Qwen/"}).model == "Qwen"
    assert described({"model": "org/Qwen", "data": "MATH-500"}).task == "math_500"
    assert described({"model": 3, "data": ["x"], "num_shots": "x"}).num_shots == 0
    assert described({"model": {"trainable_parameters": True}}).trainable_parameters is None


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "–"), (0, "0"), (999, "999"), (2_442_240, "2.44 M"), (999_600, "1 M"), (7_000_000_000, "7 B")],
)
def test_parameters_are_told_in_three_figures(count: int | None, text: str) -> None:
    assert parameters_text(count) == text


def test_the_table_has_a_row_a_model_with_its_sets_side_by_side_and_level_5_on_its_own() -> None:
    gsm8k = answered([["7"], ["9"]])
    examples = [example(0, level="5"), example(1, level="5"), example(2, level="1"), example(3, level="1")]
    math500 = run(
        examples, [completion(of, 0, "7" if of is examples[0] else "9") for of in examples], data={"name": "MATH-500"}
    )
    table = comparison_table([summary(gsm8k), summary(math500)], Grading.STRICT)
    assert table.heads == (
        "model", "training data", "trainable parameters", "GSM8K %", "MATH-500 %", "Level 5 %", "note",
    )  # fmt: skip
    ((model, data, parameters, on_gsm8k, on_math500, on_level_5, note),) = table.rows
    assert (model, data, parameters) == ("tiny-1B", "none", "0")
    assert [text.split()[0] for text in (on_gsm8k, on_math500, on_level_5)] == ["50.0", "25.0", "50.0"]
    assert note == "as published; GSM8K: 2 problems × 1, boxed prompt; MATH-500: 4 problems × 1, boxed prompt"


def test_a_second_run_on_the_same_set_has_a_row_of_its_own_and_so_has_another_checkpoint_of_the_same_name() -> None:
    plain, shots = answered([["7"]]), answered([["9"]], prompt={"style": "lm_eval", "num_shots": 8})
    trm = answered([["7"]], model={"name": "tiny-1B", "sha256": "a", "trm": {"name": "best", "sha256": "b"}})
    other = answered([["7"]], model={"name": "tiny-1B", "sha256": "a", "trm": {"name": "best", "sha256": "c"}})
    rows = comparison_table([summary(each) for each in (plain, shots, trm, other)], Grading.STRICT).rows
    assert [row[0] for row in rows] == ["tiny-1B", "tiny-1B", "tiny-1B + trm best", "tiny-1B + trm best"]
    assert "lm_eval prompt, 8 shots" in rows[1][-1]


def test_only_of_math_level_5_has_a_column() -> None:
    examples = [example(0, level="5"), example(1, level="1")]
    levelled = run(examples, [completion(of, 0, "7") for of in examples], data={"name": "ours"})
    assert summary(levelled).task_of(summary(levelled).parts[-1]) == "ours_level_5"
    assert "–" in comparison_table([summary(levelled)], Grading.STRICT).rows[0][5]


def test_a_depth_sweep_has_a_row_a_depth_and_a_further_set_a_column_of_its_own() -> None:
    made = [completion(example(0), 0, "7", depth=depth, finish=FinishReason.LENGTH) for depth in (3, 5)]
    torn = run([example(0), example(1)], made, depths=(3, 5), data={"name": "reasoning_gym:chain_sum"})
    table = comparison_table([summary(torn)], Grading.LENIENT)
    assert [row[0] for row in table.rows] == ["tiny-1B, T = 3", "tiny-1B, T = 5"]
    assert table.heads[-2] == "reasoning_gym:chain_sum %"
    assert "not whole" in table.rows[0][-1]
    assert "100 % truncated" in table.rows[0][-1]


def test_the_markdown_report_says_what_a_reader_must_know_and_lets_no_name_break_its_tables() -> None:
    named = answered([["7"]], model={"name": "a|b<script>`_x"})
    text = markdown([summary(named), summary(run([example(0), example(1)], [completion(example(0), 0, "7")]))])
    assert "**Not whole**: 1 completions so far, of 2 problems asked." in text
    assert "a\\|b\\<script\\>\\`\\_x" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.replace("\\|", "").count("|") >= 4 for line in tables)
    assert "100.0 [20.7, 100.0]" in text


def test_votes_of_a_run_that_is_not_whole_say_of_how_many_problems_they_are() -> None:
    """maj@8 stood there for all 100 problems where only 3 had eight samples."""
    asked = [example(0), example(1)]
    made = run(asked, [completion(asked[0], 0, "7"), *(completion(asked[1], n, "7") for n in range(2))], num_samples=2)
    assert "@2: 100.0 [20.7, 100.0] of 1 problems" in markdown([summary(made)])
    assert "maj@2 and pass@2 are of the 1 problems with so many" in list(notes(made))
    scored = summary(made).as_json()["results"]["gsm8k"]
    assert (scored["maj@1_sample_len,strict"], scored["pass@2_sample_len,strict"]) == (2, 1)


def test_the_markdown_report_of_an_empty_run_is_a_report() -> None:
    assert "0 completions so far, of 1 problems asked" in markdown([summary(run([example(0)], []))])
