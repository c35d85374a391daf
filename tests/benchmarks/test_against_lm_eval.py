from typing import Any

import pytest

from benchmarks.against_lm_eval import (
    Pair,
    Reading,
    TextDifference,
    Theirs,
    Verdict,
    answer_of,
    first_difference,
    pairs_of,
    readings_of,
    reason,
    samples_in,
    text_difference,
)
from kit.data.examples import AnswerForm, MathExample
from kit.errors import InputError
from kit.evaluation.grading import Grader, grade
from kit.evaluation.prompts import PromptStyle, prompt_of
from kit.problem import Problem
from tests.evaluation import runs


def row(question: str, text: str, *, filter_name: str, read: str, right: float = 0.0) -> dict[str, Any]:
    """As lm_eval 0.4.13 writes it with --log_samples."""
    return {
        "doc_id": 0,
        "doc": {"question": question, "answer": "#### 7"},
        "arguments": {"gen_args_0": {"arg_0": f"<user>{question}", "arg_1": {"until": []}}},
        "resps": [[text]],
        "filtered_resps": [read],
        "filter": filter_name,
        "exact_match": right,
    }


def pair(
    ours: str,
    theirs: str,
    *,
    style: PromptStyle = PromptStyle.BOXED,
    prompt: str | None = None,
    read: str = "7",
    name: str = "flexible-extract",
    is_right: bool = False,
) -> Pair:
    example = MathExample(problem=Problem("p", "What is 3 + 4?"), gold="7", form=AnswerForm.INTEGER)
    asked = prompt_of(example, style)
    said = prompt if prompt is not None else asked.text or asked.messages[-1].content
    return Pair(
        example=example,
        ours=runs.completion(example, 0, "7", text=ours),
        theirs=Theirs(question="What is 3 + 4?", prompt=said, text=theirs, verdicts={name: Verdict(read, is_right)}),
        style=style,
        regraded=grade(theirs, example),
    )


def reading(text: str, read: str, *, name: str = "flexible-extract", is_right: bool = False) -> Reading:
    (found,) = readings_of(pair(text, text, read=read, name=name, is_right=is_right))
    return found


def test_a_sample_has_the_verdicts_of_all_its_filters() -> None:
    rows = [
        row("Q", "so 7", filter_name=name, read=read)
        for name, read in (("boxed", "[invalid]"), ("flexible-extract", "7"))
    ]
    (sample,) = samples_in(rows).values()
    assert sample.text == "so 7"
    assert sample.prompt == "<user>Q"
    assert sample.verdicts == {"boxed": Verdict("[invalid]", False), "flexible-extract": Verdict("7", False)}


def test_a_file_of_something_else_is_refused_with_its_row() -> None:
    with pytest.raises(InputError, match=r"row 2: no sample of lm_eval --log_samples"):
        samples_in([row("Q", "7", filter_name="boxed", read="7"), {"doc": {"question": "Q"}}])


def test_questions_are_paired_as_the_set_writes_them_and_others_are_left_out() -> None:
    example = MathExample(
        problem=Problem("p", "Ann's 7?"),
        gold="7",
        form=AnswerForm.INTEGER,
        as_written="Ann\N{RIGHT SINGLE QUOTATION MARK}s 7?",
    )
    other = runs.example(2)
    run = runs.run(
        [example, other], [runs.completion(each, 0, "7") for each in (example, other)], prompt={"style": "boxed"}
    )
    samples = samples_in([row(example.as_written, "The answer is 7.", filter_name="boxed", read="[invalid]")])
    with Grader() as grader:
        (found,) = pairs_of(run, samples, grader)
    assert found.example is example
    assert found.regraded[0].is_right


@pytest.mark.parametrize(
    ("ours", "theirs", "told"),
    [
        ("so 7", "so 7", TextDifference.NONE),
        ("so 7", " so 7\n", TextDifference.SPACE),
        ("so 7", "so 7, I say", TextDifference.LONGER),
        ("so 7", "or 7", TextDifference.PARTED),
    ],
)
def test_texts_of_one_prompt_are_classed_by_how_they_differ(ours: str, theirs: str, told: TextDifference) -> None:
    assert text_difference(pair(ours, theirs)) is told


def test_a_stop_text_that_only_the_kit_keeps_is_no_other_completion() -> None:
    kept = pair("7\n\nQuestion:", "7\n\n", style=PromptStyle.LM_EVAL)
    assert text_difference(kept) is TextDifference.STOP


def test_texts_of_two_prompts_are_told_apart_from_those_of_one() -> None:
    assert text_difference(pair("so 7", "or 7", prompt="What is 4 + 3?")) is TextDifference.PROMPT


def test_the_first_difference_is_where_the_common_beginning_ends() -> None:
    assert [first_difference(*texts) for texts in (("abc", "abd"), ("ab", "abc"), ("", "a"), ("a", "b"))] == [
        2,
        2,
        0,
        0,
    ]


def test_what_a_filter_reads_is_compared_as_the_harness_compares_it() -> None:
    assert [answer_of(read) for read in ("$1,234", "18.", "x\n#### 5", "[invalid]", "3.5")] == [
        "1234",
        "18",
        "5",
        None,
        "3.5",
    ]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (reading("The answer is 7.", "[invalid]", name="boxed"), "stated without the form"),
        (reading("It costs 18.00.", "18.00."), "written as a decimal"),
        (reading("Some 3.5 litres", "3.5"), "no integer: they take it"),
        (reading("5 - 3", "-3"), "sign"),
        (reading("\\boxed{7}, and so 9", "9"), "they the text's last number"),
        (reading("7 left..", "."), "no number"),
    ],
)
def test_a_difference_in_reading_has_a_class(found: Reading, told: str) -> None:
    assert not found.is_same_answer
    assert told in reason(found)


def test_what_no_rule_tells_is_other() -> None:
    assert reason(reading("\\boxed{7}", "8", name="boxed")) == "other"


def test_both_verdicts_of_one_text_are_compared_by_what_is_right() -> None:
    assert reading("\\boxed{7}", "7", is_right=True).is_same_verdict
    assert not reading("\\boxed{7}", "7").is_same_verdict
