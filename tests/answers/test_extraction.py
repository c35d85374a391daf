import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.answers.extraction import RawAnswer, Source, _openings, extract, last_boxed
from kit.answers.normalisation import normalise
from kit.answers.rejection import Rejection

GOLDEN = [
    json.loads(line) for line in (Path(__file__).parent / "golden" / "answers.jsonl").read_text("utf-8").splitlines()
]
MEGABYTE = 1 << 20


def boxed(text: str) -> RawAnswer:
    return RawAnswer(text, Source.BOXED)


def stated(text: str) -> RawAnswer:
    return RawAnswer(text, Source.STATED)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["style"])
def test_reads_golden_completions_as_a_person_does(case: dict[str, object]) -> None:
    raw = extract(str(case["text"]))
    assert (raw.source.value if raw else None) == case["source"]
    modulus = case["modulus"]
    assert modulus is None or isinstance(modulus, int)
    assert (normalise(raw.text, modulus=modulus) if raw else None) == case["expected"]


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        (r"\boxed{1} and \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\fbox{9}", "9"),
        (r"\boxed {8}", "8"),
        (r"\boxed{\{7\}}", r"\{7\}"),
        (r"\boxed{a\}b}", r"a\}b"),
        (r"\\boxed{9}", "9"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{x \boxed{5} y", "5"),
        (r"\boxed{1}}} \boxed{2}}", "2"),
        (r"\boxed{x}{y}", "x"),
        (r"\boxed 5", "5"),
        (r"so \boxed 42$.", "42"),
        (r"\boxed5 ok", "5"),
        (r"\boxed{3} then \boxed{4", "3"),
        (r"\boxed{3} then \boxed{{4}", "3"),
        (r"\boxed{3} then \boxed", "3"),
        (r"\boxed{3} {\boxed{4} \boxed{5", "4"),
        (r"\boxed{7}, put it in \boxed{}", "7"),
        (r"\boxed{7}, put it in \boxed{ \ldots? }", r" \ldots? "),
        (r"\boxed{7} \boxed{...}", "7"),
        (r"\boxed{ab{c", None),
        (r"\boxed{}", None),
        (r"\boxed is a command", None),
        (r"\unboxed{5}", None),
        (r"\framebox{5}", None),
        ("", None),
    ],
)
def test_finds_the_last_whole_box(text: str, inside: str | None) -> None:
    assert last_boxed(text) == inside


def test_a_box_wins_over_a_statement() -> None:
    assert extract(r"The box is \boxed{5}. The answer is 6.") == boxed("5")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 42.", "42"),
        ("Thus, the final answer is: **42**.", "**42**"),
        ("So the answer is $x = 7$, which is prime.", "$x = 7$"),
        ("The answer is 5 since 2+3=5.", "5"),
        ("The answer is 2.5.", "2.5"),
        ("The answer is 3, 4 and 5.", "3, 4 and 5"),
        ("The answer is 5 if n is odd.", "5 if n is odd"),
        ("The answer is:\n\\[\n 42 \n\\]", "42"),
        ("**Answer:** 7", "7"),
        ("### Answer\n\n7", "7"),
        ("Work.\n#### 1,234", "1,234"),
        ("Work.\nA: 18", "18"),
        ("The answer is 1. No: the carry was lost. The answer is 2.", "2"),
        ("The answer is 42.\nThe answer is", "42"),
    ],
)
def test_takes_a_stated_answer_when_there_is_no_box(text: str, answer: str) -> None:
    assert extract(text) == stated(answer)


@pytest.mark.parametrize(
    "text",
    [
        "If the answer is 5 then we are done",
        "For n=2 the answer is 3.",
        "Suppose that the answer is 3.",
        "We get 7 + 8 = 15 and so on",
        "x = 5",
        "```output\n42\n```",
        "#### Step by step",
        "The answer is 5. " + "But that case is impossible, so we count again. " * 20,
    ],
)
def test_takes_no_intermediate_value_from_prose(text: str) -> None:
    assert extract(text) is None


HARMONY = "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>{}<|return|>"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (HARMONY.format(r"\boxed{5}", r"\boxed{6}"), boxed("6")),
        (HARMONY.format(r"\boxed{5}", "The answer is 6."), stated("6")),
        (HARMONY.format(r"\boxed{5}", "I could not find it."), None),
        (HARMONY.format(r"\boxed{5}", ""), boxed("5")),
        (r"<|channel|>analysis<|message|>\boxed{5}. The answer is 6.", boxed("5")),
        (r"<|channel|>final <|constrain|>json<|message|>\boxed{6}", boxed("6")),
        (r"analysisWe get \boxed{5}.assistantfinalIt is \boxed{6}.", boxed("6")),
        (r"analysisWe get \boxed{5}. The answer is 6.", boxed("5")),
        (r"analysis of the case \boxed{5} done, \boxed{6}", boxed("6")),
        (r"<think>\boxed{5}</think>It is \boxed{6}", boxed("6")),
        (r"it is \boxed{5}</think>The answer is 6", stated("6")),
        (r"<think>\boxed{5}</think>I do not know", None),
        (r"<think>\boxed{5}</think> ", boxed("5")),
        (r"<think>\boxed{5} The answer is 6.", boxed("5")),
        ("<think>The answer is 6.", None),
        (r"<think>a</think>\boxed{5}<think>b \boxed{6}", boxed("5")),
        (r"<think>a</think>\boxed{5}<think>b \boxed{6}</think>", boxed("5")),
        (r"<think>a</think>\boxed{5}<think>b</think>\boxed{6}", boxed("6")),
        ("text \\boxed{5}\n<think>\nno, \\boxed{6}", boxed("5")),
        ("The answer is 5.\n<think>\nno, \\boxed{6}", stated("5")),
        ("Let me see.\n<think>\\boxed{5}", boxed("5")),
        ("Let me see.\n<think>\\boxed{5}</think> I do not know", None),
        (r"\boxed{1} so far</think>\boxed{5}<think>\boxed{6}", boxed("5")),
        (HARMONY.format("", r"\boxed{5}") + HARMONY.format(r"\boxed{6}", ""), boxed("5")),
        (HARMONY.format("", r"\boxed{5}") + HARMONY.format("", r"\boxed{6}"), boxed("6")),
        (HARMONY.format("", r"\boxed{5}") + r"<|start|>assistant<|channel|>analysis<|message|>\boxed{6}", boxed("5")),
        (r"analysisA.assistantfinal\boxed{5}assistantanalysisNo, \boxed{6}", boxed("5")),
        (r"analysisA.assistantfinal\boxed{5}assistantanalysisB.assistantfinal\boxed{6}", boxed("6")),
    ],
)
def test_the_final_channel_decides(text: str, answer: RawAnswer | None) -> None:
    """Bug of public notebooks: a box in the analysis channel locked in an intermediate value.

    Bug of ours: a second thought, perhaps cut off, beat the answer already given.
    """
    assert extract(text) == answer


@pytest.mark.parametrize("token", ["<|im_end|>", "<|endoftext|>", "<|eot_id|>", "</s>", "<|im_start|>"])
def test_nothing_counts_after_the_end_of_the_turn(token: str) -> None:
    assert extract(rf"\boxed{{4}}{token} \boxed{{5}}") == boxed("4")


@pytest.mark.parametrize("heading", ["Question:", "## Problem 2:", "**Question:**", "New question:", "Q:", "User:"])
def test_nothing_counts_after_the_heading_of_another_question(heading: str) -> None:
    assert extract(rf"So \boxed{{4}}.{chr(10)}{chr(10)}{heading} What? \boxed{{5}}") == boxed("4")
    assert extract(f"A: 4\n\n{heading} What?\nA: 5") == stated("4")


def test_a_heading_before_any_answer_cuts_nothing() -> None:
    assert extract("Let me restate it.\nProblem: find x.\nSo \\boxed{5}") == boxed("5")
    assert extract("Fine.\nQuestion: what is x?") is None


@given(st.text())
def test_is_total_on_any_text(text: str) -> None:
    extract(text)
    last_boxed(text)


PIECES = [
    r"\boxed{", r"\boxed", r"\fbox{", "{", "}", r"\{", r"\}", "\\", "5", " ", "\n", "$", "**", "The answer is ", "A: ",
    "#### ", "Question:", "<|channel|>final<|message|>", "<|channel|>analysis", "<|end|>", "<think>", "</think>",
    "assistantfinal", "analysis", "\x00", "\ud800", "٤", ".", "if ",
]  # fmt: skip
texts_of_pieces = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@given(texts_of_pieces)
def test_is_total_on_its_own_markers(text: str) -> None:
    extract(text)


def slow_last_boxed(text: str) -> str | None:
    """Oracle: for every opening from the last to the first, count braces one by one to the end."""
    for start in reversed(range(len(text))):
        for opener in ("\\boxed{", "\\fbox{"):
            if not text.startswith(opener, start):
                continue
            depth, at = 1, start + len(opener)
            while at < len(text) and depth:
                if text[at] == "\\":
                    at += 1
                else:
                    depth += {"{": 1, "}": -1}.get(text[at], 0)
                at += 1
            inside = text[start + len(opener) : at - 1]
            if depth == 0 and at <= len(text) and any(character.isalnum() for character in inside):
                return inside
    return None


@given(st.lists(st.sampled_from(["\\boxed{", "\\fbox{", "{", "}", "a", "}", "{}", "{a}", "\\{", "\\}", "\\\\", " "])))
def test_agrees_with_counting_braces_one_by_one(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert last_boxed(text) == slow_last_boxed(text)


@given(texts_of_pieces, st.integers(0, 99_999))
def test_a_whole_box_at_the_end_is_found_whatever_comes_before(before: str, answer: int) -> None:
    assert last_boxed(f"{before} \\boxed{{{answer}}}") == str(answer)


HOSTILE = {
    "braces": "{" * MEGABYTE,
    "open boxes": r"\boxed{" * (MEGABYTE // 7),
    "open boxes of open braces": r"\boxed{{{" * (MEGABYTE // 9),
    "open boxes and one brace": r"\boxed{" * (MEGABYTE // 7) + "}",
    "nested whole boxes": r"\boxed{1" * (MEGABYTE // 16) + "}" * (MEGABYTE // 16),
    "empty boxes": r"\boxed{}" * (MEGABYTE // 8),
    "a box of braces": r"\boxed{" + "{" * (MEGABYTE // 2) + "}" * (MEGABYTE // 2),
    "a box of pairs": r"\boxed{" + "{}" * (MEGABYTE // 2),
    "bare boxes": r"\boxed 5 " * (MEGABYTE // 9),
    "a box and spaces": r"\boxed" + " " * MEGABYTE,
    "backslashes": "\\" * MEGABYTE,
    "answer is": "answer is " * (MEGABYTE // 10),
    "sentences": "The answer is " * (MEGABYTE // 14),
    "lines": "\nThe answer is 5" * (MEGABYTE // 16),
    "headings": "\nQuestion: \\boxed{1}" * (MEGABYTE // 20),
    "a heading and spaces": "\nQuestion" + " " * MEGABYTE,
    "a line and spaces": "\n" + " " * MEGABYTE,
    "connectives": "\n" + "so " * (MEGABYTE // 3),
    "hashes": "\n" + "#" * MEGABYTE,
    "channels": "<|channel|>final " * (MEGABYTE // 17),
    "a channel and spaces": "<|channel|>final" + " " * MEGABYTE,
    "thoughts": "<think>" * (MEGABYTE // 7) + "</think>" * 1000,
    "analyses": "analysis " * (MEGABYTE // 9),
    "thoughts and texts": "<think>a</think>b" * (MEGABYTE // 17),
    "final messages": "<|channel|>final<|message|>a<|end|>" * (MEGABYTE // 35),
    "bare final messages": "analysisA" + "assistantfinal" * (MEGABYTE // 14),
    "bare thoughts": "analysisAassistantfinal" + "assistantanalysis" * (MEGABYTE // 17),
    "nulls": "\x00" * MEGABYTE,
    "surrogates": "\ud800" * MEGABYTE,
    "right-to-left digits": "٤٢" * (MEGABYTE // 2),
}


@pytest.mark.timeout(20)  # a quadratic scan of a megabyte takes minutes; a linear one, milliseconds
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_megabyte_is_read_in_linear_time(text: str) -> None:
    raw = extract(text)
    assert raw is None or normalise(raw.text) in (1, 5, Rejection.NOT_A_NUMBER)


BOX_PIECES = [*"{}\\5x $\n", "\\boxed", "\\fbox", "boxed", "-7", "\\{", "{3}", "\\boxed{", "{4}"]


@given(st.lists(st.sampled_from(BOX_PIECES), max_size=14).map("".join))
def test_boxes_looked_for_from_the_end_are_those_that_a_search_from_the_beginning_finds(text: str) -> None:
    beyond = text.rfind("}") + 1
    forward = [
        *re.finditer(r"\\(?:boxed|fbox)\s*\{(?!\s*\})|\\(?:boxed|fbox)\s*-?\d[^\s{}$\\]*", text[:beyond], re.ASCII),
        *re.compile(r"\\(?:boxed|fbox)\s*-?\d[^\s{}$\\]*", re.ASCII).finditer(text, beyond),
    ]
    spans = [opening.span() for opening in _openings(text)]
    assert spans == [opening.span() for opening in reversed(forward)]
