"""The page in a real, headless Chromium: it loads nothing, it runs nothing of a completion, and its filters work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kit.data.examples import MathExample
from kit.evaluation.records import Completion
from kit.evaluation.report.contents import NamedRun
from kit.evaluation.report.page import evaluation_page
from kit.sampling import FinishReason
from tests.evaluation.report.conftest import OpenPage
from tests.evaluation.runs import answered, completion, example, run

pytestmark = pytest.mark.slow


def page_of(completions: Sequence[Completion], examples: Sequence[MathExample], *, num_samples: int = 1) -> str:
    return evaluation_page([NamedRun("made up", run(examples, completions, num_samples=num_samples))])


def names(page: Any) -> list[str]:
    return [each.strip() for each in page.locator(".problem .name").all_inner_texts()]


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def open_first(page: Any) -> Any:
    page.locator(".problem > summary").first.click()
    opened = page.locator(".opened").first
    opened.wait_for()  # it is made when the browser tells that the problem is open, which is later than the click
    return opened


def mixed() -> str:
    """p0 right, p1 wrong, p2 contested, p3 truncated and unanswered, p4 right only by the lenient grade."""
    examples = [example(number, level=str(number % 2 + 1)) for number in range(5)]
    answers: list[list[str | None]] = [
        ["7", "7", "7"],
        ["9", "9", "9"],
        ["7", "9", "7"],
        ["7", "7", None],
        ["7", "7", "7"],
    ]
    made = [
        completion(
            of,
            number,
            None if of is examples[4] else answer,
            lenient="7" if of is examples[4] else None,
            finish=FinishReason.STOP if answer else FinishReason.LENGTH,
        )
        for of, each in zip(examples, answers, strict=True)
        for number, answer in enumerate(each)
    ]
    return page_of(made, examples, num_samples=3)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_loads_without_a_word_and_never_scrolls_sideways(open_page: OpenPage, width: int, scheme: str) -> None:
    page = open_page(mixed(), width=width, scheme=scheme)
    open_first(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ink, paper = (page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor"))
    assert (sum(map(int, ink[4:-1].split(","))) > sum(map(int, paper[4:-1].split(",")))) == (scheme == "dark")


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("wrong", ["p1", "p4"]),
        ("contested", ["p2"]),
        ("truncated", ["p3"]),
        ("unanswered", ["p3", "p4"]),
        ("gradings differ", ["p4"]),
    ],
)
def test_a_filter_leaves_the_problems_it_names_and_gives_all_back(
    open_page: OpenPage, name: str, left: list[str]
) -> None:
    page = open_page(mixed())
    assert names(page) == ["p0", "p1", "p2", "p3", "p4"]
    press(page, name)
    assert names(page) == left
    assert page.locator("#count").inner_text() == f"{len(left)} of 5 problems"
    press(page, name)
    assert len(names(page)) == 5


def test_filters_hold_together_and_the_lenient_grade_changes_what_is_wrong(open_page: OpenPage) -> None:
    page = open_page(mixed())
    press(page, "wrong")
    press(page, "unanswered")
    assert names(page) == ["p4"]
    page.get_by_label("Grading").select_option("1")
    assert names(page) == []
    press(page, "unanswered")
    assert names(page) == ["p1"]


def test_the_search_finds_words_of_problems_and_completions(open_page: OpenPage) -> None:
    examples = [example(0), example(1, text="How many Zebras are there?")]
    page = open_page(
        page_of([completion(examples[0], 0, "7", text="A Lion says 7."), completion(examples[1], 0, "7")], examples)
    )
    for words, left in (("zebra", ["p1"]), ("LION SAYS", ["p0"]), ("nowhere", []), ("", ["p0", "p1"])):
        page.get_by_label("Search").fill(words)
        page.locator("#count", has_text=f"{len(left)} of").wait_for()
        for name in left[:1]:
            page.locator(".problem .name", has_text=name).wait_for()
        assert names(page) == left


def test_a_level_is_chosen_from_a_list(open_page: OpenPage) -> None:
    page = open_page(mixed())
    page.get_by_label("level").select_option("2")
    assert names(page) == ["p1", "p3"]


def test_attempts_stand_side_by_side_with_formulas_rendered_and_the_answer_marked(open_page: OpenPage) -> None:
    text = r"First $\frac{1}{2} + x^2$, it cost $18 and $20. So the answer is 7, done."
    of = example(0)
    first = completion(of, 0, "7", text=text)
    place = text.index("7, done")
    marked = Completion(
        problem=first.problem, number=0, depth=None, sample=first.sample,
        strict=type(first.strict)(answer="7", is_right=True, read_from=first.strict.read_from, span=(place, place + 1)),
        lenient=first.lenient,
    )  # fmt: skip
    opened = open_first(open_page(page_of([marked, completion(of, 1, "9")], [of], num_samples=2)))
    cards = opened.locator(".attempt")
    assert cards.count() == 2
    boxes = [cards.nth(number).bounding_box() for number in range(2)]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    assert cards.nth(0).locator("math mfrac").count() == 1
    assert cards.nth(0).locator("mark").all_inner_texts() == ["7"]
    assert "it cost $18 and $20." in cards.nth(0).locator(".said").inner_text()
    assert cards.nth(1).locator("mark math").count() == 1  # the box within the formula
    assert opened.locator(".votes .bar").all_inner_texts() == ["1", "1"]
    cards.nth(0).get_by_role("button", name="LaTeX source").click()
    assert cards.nth(0).locator(".said").inner_text() == text


@pytest.mark.parametrize(
    ("text", "num_formulas", "left"),
    [
        (r"Let $\{1,2\}$ be", 1, "Let {1,2} be"),
        (r"$x$ and $\alpha$, $5 and $6", 2, None),
        (r"\(a\) \[b\] $$c$$ \begin{align}d&=e\end{align} \boxed{\{f\}}", 5, None),
        (r"costs \$5 and \$6", 0, r"costs \$5 and \$6"),
        ("one $dollar\nand $another", 0, "one $dollar\nand $another"),
        (r"\[ never closed, \boxed{nor this", 0, r"\[ never closed, \boxed{nor this"),
        (r"$\nosuchmacro$ and $\frac{1}$", 0, r"$\nosuchmacro$ and $\frac{1}$"),
    ],
)
def test_formulas_are_found_where_a_reader_would_see_them(
    open_page: OpenPage, text: str, num_formulas: int, left: str | None
) -> None:
    of = example(0)
    said = open_first(open_page(page_of([completion(of, 0, "7", text=text)], [of]))).locator(".attempt .said")
    assert said.locator("math").count() == num_formulas
    assert left is None or "".join(said.inner_text().split()) == "".join(left.split())


def test_a_mark_stands_right_behind_signs_that_take_two_units_in_javascript(open_page: OpenPage) -> None:
    text = "😀🧮 so 7!"
    of = example(0)
    made = completion(of, 0, "7", text=text)
    place = text.index("7")
    strict = type(made.strict)(answer="7", is_right=True, read_from=made.strict.read_from, span=(place, place + 1))
    moved = Completion(problem=made.problem, number=0, depth=None, sample=made.sample, strict=strict, lenient=strict)
    assert open_first(open_page(page_of([moved], [of]))).locator("mark").all_inner_texts() == ["7"]


HOSTILE = {
    "an end of the script": "</script><script>alert(1)</script><!--<script>",
    "an image": "<img src=x onerror=alert(1)> <svg onload=alert(1)> <iframe srcdoc='<script>alert(1)</script>'>",
    "a link in LaTeX": r"$\href{javascript:alert(1)}{x}$ \[\url{javascript:alert(1)}\] $\includegraphics{https://x.org/x.png}$",
    "HTML in LaTeX": r"$\text{<img src=x onerror=alert(1)>}$ \(\htmlStyle{position:fixed}{x}\) $\class{x}{y}\id{a}{b}$",
    "styles that Temml sets as attributes": r"$\sideset{_1^2}{_3^4}\prod \bm{x} \textbf{c} \prescript{a}{b}{c}$",
    "macros without end": r"$\def\a{\a\a}\a$ $\newcommand{\b}{\b\b}\b$ $\gdef\x{1}$ $\x$",
    "a deep nest": "$" + "{" * 1400 + "x" + "}" * 1400 + "$ $" + r"\sqrt{" * 400 + "x" + "}" * 400 + "$",
    "a huge rule": r"$\rule{9999em}{9999em}$ $\kern-9999em x$ $\hspace{-999em}y$ $\raisebox{-999em}{z}$",
    "signs that cannot be seen": "a\x00b\x07c\u202egnp.exe\u202c\u2066d\ufeff",
    "half a pair": "\ud800 and \udc00 end",
    "every opening": r"\[ \( $$ \begin{align} \boxed{ $ " * 300,
    "money": "It is $5 and $6 for $7. " * 500,
    "a prototype": '{"__proto__": {"x": 1}} constructor toString',
}


@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_nothing_of_a_hostile_text_runs_or_loads_wherever_it_stands(open_page: OpenPage, kind: str) -> None:
    text = HOSTILE[kind]
    of = MathExample(
        problem=type(example(0).problem)(text[:200], text), gold=text[:200], form=example(0).form, solution=text,
        level=text[:50], subject=text[:50],
    )  # fmt: skip
    made = [completion(of, 0, text[:100], text=text), completion(of, 1, None, text=text)]
    written = run([of], made, num_samples=2, model={"name": text[:200], "note": text[:200]}, data={"name": text[:200]})
    page = open_page(evaluation_page([NamedRun(text[:100], written), NamedRun("other", answered([["7"]]))]))
    opened = open_first(page)
    opened.locator("details > summary").click()
    for card in opened.locator(".attempt").all():
        card.get_by_role("button", name="LaTeX source").click()
        card.get_by_role("button", name="LaTeX source").click()
    forbidden = "main :is(script, img, iframe, a, object, embed, link, [onerror], [onload], [href], [src], #a)"
    assert page.locator(forbidden).count() == 0
    assert page.locator(".attempt").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth") <= 1200
    for card in opened.locator(".attempt .said").all():
        inside = card.bounding_box()
        assert inside["width"] < 900
        assert inside["height"] <= 26 * 16 + 1
    assert page.evaluate("({}).x") is None


def test_signs_that_turn_or_hide_text_are_named_instead(open_page: OpenPage) -> None:
    of = example(0)
    text = "a\x00b \u202egnp.exe\u202c \ud800!"
    said = open_first(open_page(page_of([completion(of, 0, "7", text=text)], [of]))).locator(".attempt .said")
    assert said.inner_text() == "a⟨U+0000⟩b ⟨U+202E⟩gnp.exe⟨U+202C⟩ ⟨U+D800⟩!"


def test_a_script_that_got_into_the_page_all_the_same_would_not_run(browser: Any, tmp_path: Path) -> None:
    """The policy alone: markup that the escaping should have stopped is put into the page."""
    smuggled = "<script>document.title = 'run'</script><img src='x' onerror=\"document.title = 'run'\">"
    smuggled += "<p style='color:red' id=p>"
    path = tmp_path / "page.html"
    path.write_text(page_of([completion(example(0), 0, "7")], [example(0)]).replace("<h1>", smuggled + "<h1>"))
    page = browser.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto(path.as_uri())
    assert page.title() == "Evaluation of tiny-1B"
    assert page.evaluate("getComputedStyle(document.getElementById('p')).color") != "rgb(255, 0, 0)"
    assert len([text for text in refused if "Content Security Policy" in text]) >= 4
    assert names(page) == ["p0"]  # and the page itself works
    page.close()


def test_a_megabyte_is_cut_in_the_middle_shows_its_answer_and_is_there_whole_on_demand(open_page: OpenPage) -> None:
    of = example(0)
    text = "x" * 400_000 + " the answer is 7. " + "y" * 600_000
    made = completion(of, 0, "7", text=text)
    place = text.index("7")
    strict = type(made.strict)(answer="7", is_right=True, read_from=made.strict.read_from, span=(place, place + 1))
    moved = Completion(problem=made.problem, number=0, depth=None, sample=made.sample, strict=strict, lenient=strict)
    card = open_first(open_page(page_of([moved], [of]))).locator(".attempt")
    assert card.locator("mark").all_inner_texts() == ["7"]
    assert len(card.locator(".said").inner_text()) < 22_000
    assert card.locator(".left-out").count() == 2
    card.get_by_role("button", name="All 1,000,018 letters").click()
    assert len(card.locator(".said").inner_text()) == len(text)
    assert card.locator("mark").all_inner_texts() == ["7"]


def test_thousands_of_problems_are_shown_fifty_at_a_time(open_page: OpenPage) -> None:
    page = open_page(evaluation_page([NamedRun("large", answered([["7"]] * 1_319))]))
    assert page.locator(".problem").count() == 50
    assert page.evaluate("document.querySelectorAll('*').length") < 1_000
    press(page, "Show more")
    assert page.locator(".problem").count() == 100
    assert page.locator("#count").inner_text() == "1,319 of 1,319 problems"


def test_several_runs_are_conditions_that_can_differ(open_page: OpenPage) -> None:
    page = open_page(
        evaluation_page([NamedRun("one", answered([["7"], ["9"]])), NamedRun("other", answered([["7"], ["7"]]))])
    )
    press(page, "conditions differ")
    assert names(page) == ["p1"]
    press(page, "wrong")
    assert names(page) == ["p1"]
    page.get_by_label("Condition").select_option("1")
    assert names(page) == []
