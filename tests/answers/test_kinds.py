r"""Kinds of texts that were once read wrongly or lost, each with its near misses; all written for this project.

`None`: no integer is read. The texts go the whole way, from a completion to its integer.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.answers.channels import THOUGHT_TAGS, THOUGHT_TOKENS
from kit.answers.extraction import extract
from kit.answers.fences import without_code
from kit.answers.normalisation import normalise


def answered(text: str) -> int | None:
    raw = extract(text)
    number = normalise(raw.text) if raw else None
    return number if isinstance(number, int) else None


def box(inside: str) -> str:
    return rf"Hence \boxed{{{inside}}}."


def answer(clause: str) -> str:
    return f"The answer is {clause}"


BOXES: dict[str, list[tuple[str, int | None]]] = {
    "a factorial right before an equals sign": [
        ("3!=6", 6),
        ("3!+4!=30", 30),
        (r"\binom{5}{2}\cdot 3!=60", 60),
        ("(2+1)!=6", 6),
        ("x != 6", None),
        ("x!=6", None),
        ("n!=720", None),
    ],
    "a space of any width beside a brace": [
        (r"\sqrt{\;16\;}", 4),
        (r"\frac{\,90\,}{\,2\,}", 45),
        (r"\binom{\,6\,}{\:2\:}", 15),
        (r"2^{\!5}", 32),
        (r"\lfloor\,7/2\,\rfloor", 3),
        (r"\left(\,8\,\right)", 8),
        (r"\sqrt[\,3\,]{\,27\,}", 3),
        (r"\{\;6\;\}", 6),
        (r"6\text{\,km}", 6),
        (r"{\,6\,}", 6),
        (r"6{\,}", 6),
        (r"12{\,}345", 12345),
        (r"\ 6\ ", 6),
        (r"\frac{1\,}{2}", None),
        (r"\sqrt{\,2}", None),
    ],
    "pairs, sets and intervals": [
        ("(7,250)", None),
        (r"\left(7,250\right)", None),
        (r"\{12,345\}", None),
        ("(0,999]", None),
        ("[2,100)", None),
        (r"(x,y)=(3,600)", None),
        ("x, y = 3,600", None),
        (r"\left\{4,444\right\}", None),
        ("(-3,125)", None),
        ("(2+1,500)", None),
        (r"(3,125^\circ)", None),
        ("(1,234,567)", None),
        ("3,125", 3125),
        ("{3,125}", 3125),
        ("(3125)", 3125),
        ("(3{,}125)", 3125),
        (r"\frac{2,500}{5}", 500),
        ("f(2,500) = 7", 7),
        ("|3,125|", 3125),
    ],
    "a symbol in roman type": [
        (r"5\mathrm{i}", None),
        (r"5\text{ i}", None),
        (r"4\mathrm{e}", None),
        (r"7\text{n}", None),
        (r"7\mathrm{xy}", None),
        (r"3\operatorname{cos}", None),
        (r"3\text{ sin}", None),
        (r"9\operatorname{log}", None),
        (r"2\text{ pi}", None),
        (r"5\text{K}", None),
        (r"5\text{M}", None),
        (r"7\text{C}", None),
        (r"7\text{ m}", 7),
        (r"7\mathrm{g}", 7),
        (r"7\text{ cm}", 7),
        (r"25^\circ\text{C}", 25),
        (r"7\text{ men}", 7),
        (r"5\text{ cm}/\text{s}", 5),
        (r"90\text{ deg}", 90),
        (r"12\mathrm{\,mph}", 12),
    ],
    "a word that changes the number": [
        (r"3\text{ elevenths}", None),
        (r"5\text{ sixteenths}", None),
        ("9 nths", None),
        (r"12\text{ ternary}", None),
        (r"101\text{ in binary}", None),
        (r"7\text{ tripled}", None),
        (r"8\text{ halved}", None),
        ("4 gross", None),
        (r"7\text{ below par}", None),
        (r"7\text{ more}", None),
        (r"7\text{ tenfold}", None),
        ("7 otherwise", None),
        (r"7\text{ rounded}", None),
        ("7 twice", None),
        ("7 approximately", None),
        ("7 greater", None),
        (r"8\text{ binary strings}", 8),
        (r"6\text{ months}", 6),
        (r"6\text{ paths}", 6),
        (r"3\text{ manifolds}", 3),
        (r"4\text{ triples}", 4),
        (r"7\text{ roots}", 7),
        (r"7\text{ squares}", 7),
        (r"7\text{ pairs}", 7),
    ],
    "digits with other separators": [
        (r"12 \; 345", 12345),
        (r"12\,\,345", 12345),
        (r"12\text{ }345", 12345),
        (r"12\mathord{,}345", 12345),
        (r"12\hspace{0.2em}345", 12345),
        ("12'345", 12345),
        ("12’345", 12345),
        (r"12{,}\,345", 12345),
        (r"\num{54321}", 54321),
        (r"\num[group-separator={,}]{54321}", 54321),
        (r"\qty{42}{\meter}", 42),
        (r"12\kern 2pt 345", 12345),
        ("12   345", 12345),
        ("12, 345", None),
        (r"12\quad 345", None),
        ("1{,}22", None),
        ("12{,}34", None),
        ("5'11", None),
        ("12.345", None),
        (r"\frac{1}{2}  345", None),
    ],
    "style, end marks and announcing words": [
        (r"\pmb{12}", 12),
        (r"\textup{12}", 12),
        (r"\textsc{12}", 12),
        (r"\mathnormal{12}", 12),
        (r"{\bfseries 12}", 12),
        (r"\colorbox{yellow}{12}", 12),
        (r"\bigl(12\bigr)", 12),
        (r"12\ \blacksquare", 12),
        (r"12 \quad\checkmark", 12),
        (r"\text{Final answer}: 12", 12),
        (r"\text{The total is }12", 12),
        (r"\text{Answer} = 12", 12),
        ("12名", 12),
        ('"12"', 12),
        ("“12”", 12),
        ("``12''", 12),
        ("✅ 12", 12),
        ("12 ✓", 12),
        ("12 is the answer", 12),
        (r"12\tag{1}", 12),
        (r"\cancel{12}", None),
        (r"\overline{12}", None),
        ("12 ❌", None),
        (r"\text{It is not }12", None),
        ("12万", None),
        (r"\text{Half of it is }12", None),
        (r"\text{Twice } n \text{ is } 12", None),
        ("12半", None),
        ('"12" or "13"', None),
    ],
    "a currency sign": [
        ("5$30", None),
        (r"5\$30", None),
        ("5€300", None),
        ("1£000", None),
        ("7₩250", None),
        ("€30", 30),
        (r"\$1,250", 1250),
        ("30¢", 30),
        ("₹1,250", 1250),
        ("30 €", 30),
    ],
    "text is no operator, and a product no name": [
        (r"4\text{!}", 4),
        (r"4\text{.}", 4),
        (r"4\text{-}1", None),
        (r"2\text{^}3", None),
        ("4!", 24),
        ("n(n-1)=42", None),
        ("x(x)=49", None),
        ("k(2)=10", None),
        ("m(m+1)(m+2) = 60", None),
        ("(n+1)n=42", None),
        ("f(f(2))=10", None),
        ("f(3)=10", 10),
        ("P(7) = 10", 10),
        ("a_n = 10", 10),
        ("mn = 12", 12),
    ],
    "a side that cannot be read": [
        (r"1\cdot2\cdots5=120", 120),
        (r"2+4+\ldots+20=110", 110),
        ("1+2+...+4=10", 10),
        ("1+2+…+4=10", 10),
        ("10a+b=47", 47),
        ("a+b+c=21", 21),
        ("2p+3q=17", 17),
        (r"S = n(n+1)/2 = 55", 55),
        (r"\sum_{k=1}^{4} 2k = 20", 20),
        ("x = 3 and y = 4", None),
        (r"7\,\mathrm{m/s}", 7),
        ("x = 3 or x = 4", None),
        ("2x=14", None),
        ("x+1=14", None),
        ("2x+3y=12", None),
        ("2m+1=9", None),
        ("2a=14=2b", None),
        (r"1, 2, \dots, 10", None),
        (r"1+2+\dots", None),
        ("-x = y+1 = 14", None),
        ("x = 7 = 8", None),
    ],
    "functions of literals": [
        (r"\gcd(12,180)", 12),
        (r"\operatorname{lcm}(4,6)", 12),
        (r"\text{lcm}(4, 6, 10)", 60),
        (r"\max\{3,5\}", 5),
        (r"\min(3, 5)+1", 4),
        (r"2\gcd(4,6)", 4),
        (r"\gcd(2^{10},100)", 4),
        (r"\gcd(a,b)=6", 6),
        ("gcd(9, 6)", 3),
        (r"\gcd(12,x)", None),
        (r"\gcd", None),
        (r"\gcd()", None),
        (r"\gcd(\frac12, 3)", None),
        (r"\max(\sqrt2,1)", None),
    ],
    "roots": [
        (r"\sqrt[3]{7+\sqrt{50}}+\sqrt[3]{7-\sqrt{50}}", 2),
        (r"\sqrt[3]{27}\sqrt{2}\sqrt{8}", 12),
        (r"\sqrt{5+2\sqrt6}-\sqrt{5-2\sqrt6}-\sqrt8+3", 3),
        (r"\sqrt{5+2\sqrt6}", None),
        (r"2^{1/3}\cdot 4^{1/3}", 2),
        (r"\frac{\sqrt2+\sqrt3+\sqrt5}{\sqrt2+\sqrt3+\sqrt5}", 1),
        (r"\sqrt{10^{10}+1}-10^5", None),
        (r"4\log_8 4 \cdot 3", 8),
    ],
}


@pytest.mark.parametrize(("inside", "expected"), [case for cases in BOXES.values() for case in cases])
def test_reads_or_refuses_what_a_box_holds(inside: str, expected: int | None) -> None:
    assert answered(box(inside)) == expected


STATEMENTS: dict[str, list[tuple[str, int | None]]] = {
    "`!` within mathematics": [
        (answer("$4! - 2$."), 22),
        (answer(r"\(2 \cdot 3!\)."), 12),
        (answer("4! = 24."), 24),
        (answer("4! + 1 = 25."), 25),
        (answer(r"$\frac{6!}{5!}$! Done."), 6),
        (answer("42! Great."), 42),
        (answer("**42!**"), 42),
        (answer("$4!$"), 24),
        (answer("$18. She keeps $5."), 18),
    ],
    "labelled values": [
        ("Sides\nA: 5\nB: 12\nC: 13", None),
        ("B: 5\nA: 12", None),
        ("a: 5\nb: 12", None),
        ("- A: 5\n- B: 6", None),
        ("A: 5, B: 6", None),
        ("AB: 7\nA: 5", None),
        ("A: 5\n\nC: 6", None),
        ("So 5.\nA: 5", 5),
        ("Q: 2+3?\nA: 5", 5),
        ("Total: 5\nA: 5", 5),
        ("**A:** 5", 5),
    ],
    "explicit statements": [
        ("So $x=5$.The answer is $5$", 5),
        ("$$x=5$$ The answer is 5.", 5),
        (r"\(x=5\) The answer is 5.", 5),
        ("The required integer answer is 5.", 5),
        ("Then x=5, hence the final answer is 5.", 5),
        ("🎯 Final Answer: 5", 5),
        ("* **Answer:** 5", 5),
        ("1. Answer: 5", 5),
        ("> **Final answer**: 5", 5),
        ("a) Answer: 4\nb) Answer: 5", None),
        (r"\text{Answer: } 5", 5),
        ("<answer>5</answer>", 5),
        ("<final_answer>\n5\n</final_answer>", 5),
        ("<ANSWER>5</ANSWER>", 5),
        ("#### : 5", 5),
        ("Step 4: The answer is 5.", 5),
        (r"\textbf{Final Answer:} 5", 5),
        ("Conclusion: the answer is 5.", 5),
        ("The **final answer** is **5**.", 5),
        ("Answer → 5", 5),
        ("<|begin_of_box|>5<|end_of_box|>", 5),
        ("If x=2 then y=3, so the answer is 5.", None),
        ("For n=2 we get 3, so the answer is 3.", None),
        ("Suppose x=1, so the answer is 5.", None),
        ("He claims 4, so the answer is 4.", None),
        ("Is the answer 5?", None),
        ("#### 1. First step", None),
        ("My first answer was 5.", None),
        ("Case 2: the answer is 5.", None),
        ("The answer is not 5.", None),
        ("The answer key: 5 pages", None),
        ("<answer>", None),
        ("<answer>a</answer>", None),
    ],
    "words after the number": [
        (answer("42, as required."), 42),
        (answer("42, done."), 42),
        (answer("42 (see the table)."), 42),
        (answer("42 – QED"), 42),
        (answer("42, and we are done."), 42),
        (answer("42 by symmetry."), 42),
        (answer("'42'."), 42),
        (answer("42 ■"), 42),
        (answer("42 and that is all."), 42),
        (answer("42 \N{EM DASH} as claimed"), 42),
        (answer("**42**, in total."), 42),
        (answer("42 (not 43)."), None),
        (answer("42, or so."), None),
        (answer("42 \N{EM DASH} wait, no."), None),
        (answer("42, perhaps."), None),
        (answer("42 (in thousands)."), None),
        (answer("42 (approximately)."), None),
        (answer("42, x."), None),
        (answer("42 (if n is odd)."), None),
        (answer("42, which is impossible."), None),
        (answer("42 (binary)."), None),
        (answer("6 below the mean."), None),
        (answer("42 divided by the sum."), None),
    ],
    "a verb or another value after the number": [
        (answer("12 is more than 7."), None),
        (answer("12 is wrong."), None),
        (answer("12 was a guess."), None),
        (answer("3; 4."), None),
        (answer("3; and 4."), None),
        (answer("x = 3; y = 4."), None),
        (answer("3? No, 4."), None),
        (answer("3? Yes."), None),
        (answer("3,\n4"), None),
        (answer("3 or\n4"), None),
        (answer("12; this is since 3*4=12."), 12),
        (answer("12 is the answer."), 12),
        ("The largest such n is 12, and the answer is prime.", None),
    ],
    "an unreadable last box": [
        (r"\boxed{n+1}. With n=4:" "\nThe answer is 5.", 5),
        (r"\boxed{x>4}." "\n\n#### 5", 5),
        (r"So \boxed{5}. That is my \boxed{final answer}.", 5),
        (r"\boxed{5} \boxed{\checkmark}", 5),
        (r"The answer is 5. It is in \boxed{answer} form.", 5),
        (r"\boxed{5}, in the \boxed{n} format", 5),
        (r"\boxed{5}. Use \boxed{[answer]}.", 5),
        (r"\boxed{\frac{3}{4}}, so m+n=7. The final answer is 7.", 7),
        (r"\boxed{3} and then \boxed{\frac12}", None),
        (r"\boxed{3}, so \boxed{n+1}", None),
        (r"\boxed{3}. \boxed{(1,2)}", None),
        (r"The answer is 5. \boxed{x+1}", None),
        (r"\boxed{5}. The answer is 6.", 5),
        (r"\boxed{100001}. The answer is 6.", None),
        (r"\boxed{\text{no solution}} \boxed{A}", None),
    ],
    "headings": [
        ("\\boxed{3}.\n\nQuestion: are we done? Not yet, add 1.\n\n\\boxed{4}", 4),
        ("\\boxed{3}\nProblem: this overcounts.\n\\boxed{2}", 2),
        ("\\boxed{3}\n\nQuestion: Did we miss any? Yes, one. \\boxed{4}", 4),
        ("\\boxed{3}\nProblem 2 of the list shows \\boxed{4}", 4),
        ("\\boxed{3}\nProblem 2.5 shows \\boxed{4}", 4),
        ("\\boxed{3}\n## Solution\n\\boxed{4}", 4),
        ("\\boxed{3}\n**Problem 5**\nFind x. \\boxed{4}", 3),
        ("\\boxed{3}\n## Problem\nFind x. \\boxed{4}", 3),
        ("\\boxed{3}\nProblem 2. Find x. \\boxed{4}", 3),
        ("\\boxed{3}\n### Instruction:\nx\n\\boxed{4}", 3),
        ("\\boxed{3}\n\n### Input:\nx\n### Response:\n\\boxed{4}", 3),
        ("\\boxed{3}\nHuman: and now? No \\boxed{4}", 3),
        ("\\boxed{3}\n\nExercise 7: Compute x. \\boxed{4}", 3),
        ("\\boxed{3}\nQuestion 2) What? \\boxed{4}", 3),
        ("\\boxed{3}<|user|>Next \\boxed{4}", 3),
        ("\\boxed{3}[INST] next \\boxed{4}", 3),
        ("\\boxed{3}\nAnother question: x? \\boxed{4}", 3),
    ],
    "code": [
        ("\\boxed{3}\n```sage\nprint('\\\\boxed{4}')\n```", 3),
        ('\\boxed{3}\n```cpp\ncout << "\\\\boxed{4}";\n```', 3),
        ("\\boxed{3}\n```\nprint('\\\\boxed{4}')\n```", 3),
        ("\\boxed{3}\n~~~\nimport math\nprint('\\\\boxed{4}')", 3),
        ("\\boxed{3}\n<tool_response>\\boxed{4}</tool_response>", 3),
        ("\\boxed{3}<llm-code>\\boxed{4}</llm-code>", 3),
        ("\\boxed{3}<|python_tag|>print('\\boxed{4}')<|eom_id|>", 3),
        ("\\boxed{3}<tool_call>\\boxed{4}", 3),
        ("<function=run>\\boxed{4}</function>\\boxed{3}", 3),
        ("The answer is 3. The answer is \\boxed{4", None),
        ("<tool_call>{}</tool_call>\n\\boxed{3}", 3),
        ("```latex\n\\boxed{3}\n```", 3),
        ("```\n\\boxed{3}\n```", 3),
        ("~~~\n\\boxed{3}\n~~~", 3),
        ("```markdown\nThe answer is 3.\n```", 3),
        ("~~~ \\boxed{3}", 3),
    ],
}


@pytest.mark.parametrize(("text", "expected"), [case for cases in STATEMENTS.values() for case in cases])
def test_reads_or_refuses_what_a_text_says(text: str, expected: int | None) -> None:
    assert answered(text) == expected


MARKS = [
    *[(f"<{tag}>", f"</{tag}>") for tag in THOUGHT_TAGS],
    *THOUGHT_TOKENS,
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<Think>", "</THINK>"),
    ("<seed:think>", "</seed:think>"),
    ('<think time="3">', "</think>"),
]


@pytest.mark.parametrize(("opens", "closes"), MARKS)
def test_a_thought_in_any_familys_marks_never_beats_what_is_said(opens: str, closes: str) -> None:
    assert answered(f"{opens}try \\boxed{{1}}{closes}\nThe answer is 2.") == 2
    assert answered(f"\\boxed{{2}}\n{opens}or \\boxed{{1}}{closes}") == 2
    assert answered(f"{opens}try \\boxed{{1}}{closes}\nI do not know") is None
    assert answered(f"{opens}try \\boxed{{1}}") == 1  # cut off: the policy of `kit.answers.extraction`
    assert answered(f"{opens}The answer is 1.") is None


def test_a_tag_within_a_thought_does_not_end_it() -> None:
    assert answered(r"<thinking>a<reflection>b</reflection>\boxed{1}</thinking>The answer is 2.") == 2
    assert answered(r"For x<think we have \boxed{1}") == 1


@given(st.integers(0, 99_999), st.sampled_from([r"\,", r"\;", r"\:", r"\!", "~", r"\ ", r"\thinspace "]), st.data())
def test_spacing_commands_never_change_a_value(number: int, space: str, data: st.DataObject) -> None:
    form = data.draw(st.sampled_from([r"\sqrt{SNS^2}", r"\frac{SNS}{S1S}", r"\left(SNS\right)", r"\{SNS\}", "{SNS}"]))
    assert (
        answered(box(form.replace("S", space).replace("N", f"{{{number}}}" if "^" in form else str(number)))) == number
    )


PIECES = [
    "```",
    "~~~",
    "```sympy\n",
    "\n",
    "print(",
    "<tool_call>",
    "</tool_call>",
    "<|python_tag|>",
    "<|eom_id|>",
    "<answer>",
    "</answer>",
    "<thinking>",
    "</thinking>",
    "◁think▷",
    "[THINK]",
    "Question: is it? No",
    "\nProblem 2.",
    "The answer is ",
    ", so the answer is ",
    "42",
    "$",
    "!",
    "; ",
    ", in total",
    " (by symmetry)",
    r"\boxed{",
    "}",
    "\nA: ",
    "\nB: ",
    "####: ",
    r"\gcd(",
    "(3,125)",
    r"\text{!}",
    r"\,",
    "¥",
    "∎",
    r"\sqrt{",
]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_is_total_and_steady_on_the_marks_of_all_kinds(text: str) -> None:
    assert answered(text) is None or 0 <= (answered(text) or 0) <= 99_999
    assert without_code(text).count("\\boxed{") <= text.count("\\boxed{")


@pytest.mark.timeout(20)  # a quadratic scan of a megabyte takes minutes
@pytest.mark.parametrize("piece", PIECES)
def test_a_megabyte_of_one_mark_is_read_in_linear_time(piece: str) -> None:
    answered(piece * ((1 << 20) // len(piece)))
