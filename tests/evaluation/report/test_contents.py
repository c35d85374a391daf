from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import InputError, MissingError, StorageError
from kit.evaluation.report.contents import AnswerRead, NamedRun, as_json, contents_of, merged
from kit.evaluation.report.dry_run import contents_of_journal, read_journal
from kit.evaluation.report.escaping import shown
from kit.evaluation.report.page import dry_run_page, evaluation_page, write_page, write_report
from kit.problem import Problem
from kit.sampling import FinishReason, Sample
from kit.solver.journal import Journal
from kit.solver.records import sample_record, solution_record
from kit.solver.solution import Solution
from kit.solver.stopping import StopReason
from kit.voting.tally import Vote
from tests.evaluation.runs import answered, completion, example, run

PROBLEMS = (Problem("a", "What is $3+4$?"), Problem("b", "What is $5+4$?"))


def sample(text: str, seed: int = 0) -> Sample:
    return Sample(text=text, num_tokens=9, finish=FinishReason.STOP, seconds=1.0, seed=seed)


def journal(folder: Path, *, answer: int = 7, with_solution: bool = True) -> Path:
    """Problem a: 7, 7 and 9; its solution. Of problem b nothing."""
    path = folder / "journal.jsonl"
    with Journal.open(path, run={"model": "tiny"}) as opened:
        for number, vote in enumerate((7, 7, 9)):
            said = sample(f"So \\boxed{{{vote}}}.", number)
            opened.append(sample_record(PROBLEMS[0], number, said, Vote(vote), begun_s=1.0, ended_s=2.0))
        if with_solution:
            solved = Solution(
                problem_id="a", answer=answer, reason=StopReason.DECIDED, votes=((7, 2), (9, 1)), num_samples=3,
                num_tokens=27, seconds=1.5,
            )  # fmt: skip
            opened.append(solution_record(PROBLEMS[0], solved))
    return path


def test_attempts_stand_under_their_problem_and_condition() -> None:
    made = [completion(example(number), 0, "7", depth=depth) for number in (0, 1) for depth in (3, 5)]
    swept = run([example(0), example(1)], made, depths=(3, 5))
    contents = contents_of([NamedRun("trm", swept), NamedRun("base", answered([["9"]]))])
    assert contents.conditions == ("trm, T = 3", "trm, T = 5", "base")
    assert contents.gradings == ("strict", "lenient")
    assert [[each.condition for each in item.attempts] for item in contents.items] == [[0, 1, 2], [0, 1]]


@given(st.text(alphabet=st.characters(categories=None), max_size=40))
def test_any_text_goes_through_the_json_of_the_page_and_comes_back(text: str) -> None:
    of = example(0)
    written = as_json(contents_of([NamedRun("x", run([of], [completion(of, 0, "7", text=text)]))]))
    assert written.isascii()
    assert not set("<>&") & set(written)
    back = json.loads(written)["items"][0]["attempts"][0]["text"]
    assert back.encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")


@given(st.text(alphabet="a<é😀\ud800", max_size=12), st.data())
def test_a_span_counts_utf_16_units_as_javascript_does(text: str, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, len(text)))
    of = example(0)
    made = completion(of, 0, "7", text=text)
    strict = type(made.strict)(answer="7", is_right=True, read_from=made.strict.read_from, span=(begin, end))
    moved = type(made)(
        problem=made.problem, number=0, depth=None, sample=made.sample, strict=strict, lenient=strict
    )  # fmt: skip
    written = json.loads(as_json(contents_of([NamedRun("x", run([of], [moved]))])))
    span = written["items"][0]["attempts"][0]["read"][0]["span"]
    assert span == [len(text[:place].encode("utf-16-le", "surrogatepass")) // 2 for place in (begin, end)]


def test_signs_that_turn_or_hide_text_are_named_in_what_python_writes_too() -> None:
    assert shown("<b>\u202e\x00 \ud800é") == "&lt;b&gt;⟨U+202E⟩⟨U+0000⟩ ⟨U+D800⟩é"


def test_a_page_names_what_is_hostile_in_a_models_name_and_stays_whole() -> None:
    page = evaluation_page([NamedRun("<x>", answered([["7"]], model={"name": "</title><script>\ud800 $script"}))])
    assert "&lt;/title&gt;&lt;script&gt;⟨U+D800⟩ $script" in page
    assert page.count("<script") == 3
    assert "default-src 'none'" in page


def test_the_page_keeps_the_notice_of_temml_and_names_no_address_to_load_from() -> None:
    page = evaluation_page([NamedRun("x", answered([["7"]]))])
    assert "Copyright (c) 2020 Ron Kok" in page
    assert "Permission is hereby granted" in page
    for loading in ("<link", "<img", "<iframe", "src=", "@import", "@font-face"):
        assert loading not in page.partition("<script")[0], loading


def test_the_same_runs_give_the_same_page() -> None:
    runs = [NamedRun("x", answered([["7", "9"], ["9", None]]))]
    assert evaluation_page(runs) == evaluation_page(runs)


def test_an_empty_run_is_refused_and_one_that_is_not_whole_is_shown_as_such() -> None:
    with pytest.raises(InputError, match="x: holds no completion yet"):
        evaluation_page([NamedRun("x", run([example(0)], []))])
    torn = run([example(0), example(1)], [completion(example(0), 0, "7")])
    assert "torn is not whole: 1 of 2 completions." in evaluation_page([NamedRun("torn", torn)])


def test_one_evaluation_has_page_markdown_and_results_and_several_have_a_page_and_markdown(tmp_path: Path) -> None:
    one = NamedRun("one", answered([["7"]]))
    assert [path.name for path in write_report([one], tmp_path / "one")] == ["report.html", "report.md", "results.json"]
    both = write_report([one, NamedRun("other", answered([["9"]]))], tmp_path / "both")
    assert [path.name for path in both] == ["report.html", "report.md"]
    assert all(path.is_file() for path in both)


def test_a_page_that_cannot_be_written_leaves_nothing_half_done(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(StorageError, match="cannot write"):
        write_page([NamedRun("x", answered([["7"]]))], tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_journal_gives_every_sample_with_its_vote_and_where_it_stands(tmp_path: Path) -> None:
    contents = contents_of_journal(read_journal("dry", journal(tmp_path), PROBLEMS), {"a": 7})
    first, second = contents.items
    assert (contents.conditions, contents.gradings) == (("dry",), ("vote",))
    assert [each.read[0].answer for each in first.attempts] == ["7", "7", "9"]
    assert [each.read[0].is_right for each in first.attempts] == [True, True, False]
    text = first.attempts[0].sample.text
    begin, end = first.attempts[0].read[0].span or (0, 0)
    assert "7" in text[begin:end]
    assert first.remarks == ("dry: submitted 7 after 1.5 s (decided)",)
    assert (first.gold, second.gold, second.remarks, second.attempts) == ("7", "", ("dry: not answered yet",), ())


def test_what_was_submitted_counts_even_where_the_votes_say_otherwise(tmp_path: Path) -> None:
    contents = contents_of_journal(read_journal("dry", journal(tmp_path, answer=9), PROBLEMS), {"a": 7})
    assert contents.items[0].submitted == {0: AnswerRead(answer="9", is_right=False)}


def test_without_gold_nothing_is_right_or_wrong(tmp_path: Path) -> None:
    contents = contents_of_journal(read_journal("dry", journal(tmp_path), PROBLEMS), {})
    assert {each.read[0].is_right for each in contents.items[0].attempts} == {None}
    assert contents.items[0].submitted[0].is_right is None


def test_two_dry_runs_stand_side_by_side_under_each_problem(tmp_path: Path) -> None:
    one = contents_of_journal(read_journal("one", journal(tmp_path), PROBLEMS), {})
    (tmp_path / "two").mkdir()
    two = contents_of_journal(read_journal("two", journal(tmp_path / "two", answer=9), PROBLEMS), {"a": 7})
    both = merged([one, two])
    assert both.conditions == ("one", "two")
    assert [each.condition for each in both.items[0].attempts] == [0, 0, 0, 1, 1, 1]
    assert {place: read.answer for place, read in both.items[0].submitted.items()} == {0: "7", 1: "9"}
    assert len(both.items[0].remarks) == 2


def test_a_dry_run_that_is_not_whole_is_shown_as_such(tmp_path: Path) -> None:
    page = dry_run_page([read_journal("dry", journal(tmp_path), PROBLEMS)], {"a": 7})
    assert "<td>1 (not whole)</td><td>1 of 1</td><td>3</td>" in page


def test_a_journal_that_is_absent_empty_damaged_or_of_other_problems_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such journal"):
        read_journal("dry", tmp_path / "absent.jsonl", PROBLEMS)
    path = journal(tmp_path)
    with pytest.raises(InputError, match="is not among those of the run"):
        read_journal("dry", path, PROBLEMS[1:])
    path.write_text('{"kind":"run"}\n')
    with pytest.raises(InputError, match="holds no sample yet"):
        read_journal("dry", path, PROBLEMS)
    path.write_text('{"kind":"sample","problem":"a:1","number":0,"answer":"x"}\n')
    with pytest.raises(InputError, match="a damaged record"):
        read_journal("dry", path, PROBLEMS)
