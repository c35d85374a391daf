"""Runs on a virtual clock: what is drawn, kept, resumed and refused."""

from __future__ import annotations

import dataclasses
import importlib.util
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from kit.data.examples import AnswerForm
from kit.engines.scripted import Fault, Script, ScriptedEngine
from kit.errors import EngineError, InputError, MissingError
from kit.evaluation.grading import Grader
from kit.evaluation.plan import EvalPlan, Shard
from kit.evaluation.reading import JOURNAL_NAME, read_run
from kit.evaluation.records import Completion, EvalRun
from kit.evaluation.results import summary
from kit.evaluation.run import NO_FACTS, Listener, evaluate
from kit.evaluation.table import notes
from kit.sampling import Engine, FinishReason, OnChunk, Prompt, Sample, SamplingParams, TokenStats
from kit.solver.journal import Record, read_records
from tests.evaluation.asked import data, head, plan, scripted, written


def drawn(
    out: Path,
    asked: EvalPlan,
    engine: Engine | None = None,
    on_completion: Callable[[Completion], object] = lambda completion: None,
    session: Record = NO_FACTS,
) -> EvalRun:
    async def draw() -> EvalRun:
        with Grader() as grader:
            return await evaluate(
                asked,
                engine or scripted(),
                grader,
                head=head(asked),
                session=session,
                out=out,
                listener=Listener(on_completion=on_completion),
            )

    return trio.run(draw, clock=trio.testing.MockClock(autojump_threshold=0))


def texts(run: EvalRun) -> dict[tuple[str, int | None, int], str]:
    return {(each.problem, each.depth, each.number): each.sample.text for each in run.completions}


def completion_keys(out: Path) -> list[tuple[str, int | None, int]]:
    records = (record for record in read_records(out / JOURNAL_NAME) if record["kind"] == "completion")
    return [(record["problem"], record["depth"], record["number"]) for record in records]


def test_every_sample_is_drawn_once_graded_and_read_back_in_order(tmp_path: Path) -> None:
    asked = plan()
    run = drawn(tmp_path, asked)
    assert run.is_whole
    assert [(each.problem, each.depth, each.number) for each in run.completions] == [cell.key for cell in asked.cells()]
    assert run.examples == asked.data.examples
    assert run == read_run(tmp_path)
    for completion in run.completions:
        n = int(completion.problem[1])
        is_right = f"{{{2 * n}}}" in completion.sample.text
        assert completion.strict.is_right == completion.lenient.is_right == is_right
    assert 0 < sum(each.strict.is_right for each in run.completions) < len(run.completions)


def test_samples_are_asked_for_in_order_with_so_many_in_flight(tmp_path: Path) -> None:
    most, engine = 0, scripted()
    asked = plan(batch_size=3)

    def note(completion: Completion) -> None:
        nonlocal most
        most = max(most, engine.num_running)

    drawn(tmp_path, asked, engine, note)
    assert [call.params for call in engine.calls] == [asked.params_of(cell) for cell in asked.cells()]
    assert most <= 3
    begun = sorted(call.begun_s for call in engine.calls)
    assert begun[:3] == [begun[0]] * 3


def test_a_seed_follows_from_run_problem_and_number_alone() -> None:
    seeds = {cell.key: plan().params_of(cell).seed for cell in plan().cells()}
    assert all(seeds[key, 3, number] == seeds[key, 5, number] for key, _, number in seeds)
    assert len(set(seeds.values())) == len(seeds) // 2
    for changes in ({"batch_size": 1}, {"shard": Shard(1, 3)}, {"num_samples": 4}, {"data": data(3)}):
        again = {cell.key: plan(**changes).params_of(cell).seed for cell in plan(**changes).cells()}
        assert all(seeds[key] == again[key] for key in seeds.keys() & again.keys())
    assert not set(seeds.values()) & {plan(seed=1).params_of(cell).seed for cell in plan().cells()}


@pytest.mark.parametrize("after", [1, 5, 23])
def test_ctrl_c_keeps_what_there_is_and_the_next_run_draws_the_rest(tmp_path: Path, after: int) -> None:
    seen: list[Completion] = []

    def interrupt(completion: Completion) -> None:
        seen.append(completion)
        if len(seen) == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drawn(tmp_path / "a", plan(), on_completion=interrupt)
    num_kept = len(read_run(tmp_path / "a").completions)
    assert after <= num_kept < after + plan().batch_size  # others may have ended in the same moment
    engine = scripted()
    run = drawn(tmp_path / "a", plan(), engine)
    assert len(engine.calls) == len(run.completions) - num_kept
    assert texts(run) == texts(drawn(tmp_path / "b", plan()))
    assert set(Counter(completion_keys(tmp_path / "a")).values()) == {1}


_KILLED = """
import sys, trio
from pathlib import Path
from kit.data.examples import AnswerForm
from kit.engines.scripted import ScriptedEngine
from kit.evaluation.grading import Grader
from kit.evaluation.results import summary
from kit.evaluation.run import evaluate
from tests.evaluation.asked import data, head, plan, scripted

async def draw():
    asked = plan(data=data(10))
    with Grader() as grader:
        await evaluate(asked, scripted(), grader, head=head(asked), out=Path(sys.argv[1]))

trio.run(draw)
"""


def test_killed_at_any_moment_and_started_again_each_completion_is_there_once(tmp_path: Path, repo: Path) -> None:
    """SIGKILL, as often as it takes; a torn last line is no completion."""
    rng, num_kills = random.Random(7), 0
    for _ in range(40):
        process = subprocess.Popen([sys.executable, "-c", _KILLED, str(tmp_path / "a")], cwd=repo)
        before = _num_lines(tmp_path / "a")
        wanted = before + rng.randint(1, 9)
        while process.poll() is None and _num_lines(tmp_path / "a") < wanted:
            time.sleep(0.002)
        if process.poll() is not None:
            assert process.returncode == 0
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        num_kills += 1
    assert num_kills >= 3
    run = read_run(tmp_path / "a")
    assert run.is_whole
    assert set(Counter(completion_keys(tmp_path / "a")).values()) == {1}
    assert texts(run) == texts(drawn(tmp_path / "b", plan(data=data(10))))


def _num_lines(folder: Path) -> int:
    path = folder / JOURNAL_NAME
    return path.read_bytes().count(b'"kind":"completion"') if path.exists() else 0


def test_a_sample_that_fails_counts_as_wrong_and_the_next_run_draws_it_again(tmp_path: Path) -> None:
    broken = True

    def write(prompt: Prompt, params: SamplingParams) -> Script:
        script = written(prompt, params)
        fails = broken and "$3+3$" in prompt.messages[-1].content
        return dataclasses.replace(script, fault=Fault.ERROR) if fails else script

    run = drawn(tmp_path, plan(), ScriptedEngine(write))
    failed = [each for each in run.completions if each.sample.finish is FinishReason.FAILED]
    assert run.is_whole
    assert len(failed) == 4
    assert all(not each.strict.is_right and not each.lenient.is_right and each.sample.error for each in failed)
    broken, engine = False, ScriptedEngine(write)
    again = drawn(tmp_path, plan(), engine)
    assert len(engine.calls) == 4
    assert again.is_whole
    assert texts(again) == texts(drawn(tmp_path / "b", plan()))


def test_an_engine_that_fails_from_the_start_ends_the_run_with_its_cause(tmp_path: Path) -> None:
    engine = ScriptedEngine(lambda prompt, params: Script(fault=Fault.ERROR))
    with pytest.raises(EngineError, match=r"the first 3 samples failed.*the script of this attempt says"):
        drawn(tmp_path, plan(batch_size=2), engine)
    assert len(engine.calls) <= 5
    with pytest.raises(EngineError, match="the only sample failed"):
        drawn(tmp_path / "b", plan(data=data(1), num_samples=1, depths=(None,)), engine)


def test_a_model_that_says_nothing_is_wrong_and_no_fault(tmp_path: Path) -> None:
    run = drawn(tmp_path, plan(), ScriptedEngine(lambda prompt, params: Script(text="", num_tokens=1)))
    assert run.is_whole
    assert {each.sample.finish for each in run.completions} == {FinishReason.STOP}
    assert not any(each.lenient.answer for each in run.completions)


class _Broken:
    """An engine whose calls raise what `make` gives."""

    def __init__(self, make: Callable[[], BaseException]) -> None:
        self._make = make

    async def sample(
        self, prompt: Prompt, params: SamplingParams, *, timeout_s: float, on_chunk: OnChunk | None = None
    ) -> Sample:
        await trio.sleep(0)
        raise self._make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 10 GB"),
        lambda: MemoryError(),
        lambda: type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate 2 GiB"),
    ],
)
def test_out_of_memory_says_what_to_lower_and_is_no_wrong_answer(
    tmp_path: Path, make: Callable[[], BaseException]
) -> None:
    with pytest.raises(EngineError, match="lower --batch-size, which is 4; the same command goes on where it was"):
        drawn(tmp_path, plan(), _Broken(make))
    assert not read_run(tmp_path).completions
    with pytest.raises(EngineError, match="lower --max-new-tokens"):
        drawn(tmp_path, plan(batch_size=1), _Broken(make))


def test_a_folder_of_another_run_is_refused_with_what_differs_and_stays_as_it_is(tmp_path: Path) -> None:
    drawn(tmp_path, plan())
    before = (tmp_path / JOURNAL_NAME).read_bytes()
    other = plan(seed=1, sampling=SamplingParams(temperature=0.5))
    with pytest.raises(InputError, match=r"holds another run: .*sampling.temperature is 0.5 here and 1.0 there"):
        drawn(tmp_path, other)
    assert (tmp_path / JOURNAL_NAME).read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {JOURNAL_NAME, ".lock"}


@pytest.mark.parametrize("content", [b"not ours\n", b'{"kind": "run", "seed": 1}\n'])
def test_a_file_that_is_no_journal_of_ours_is_neither_read_nor_overwritten(tmp_path: Path, content: bytes) -> None:
    (tmp_path / JOURNAL_NAME).write_bytes(content)
    with pytest.raises(InputError):
        drawn(tmp_path, plan())
    with pytest.raises(InputError, match="no journal of `kit eval`"):
        read_run(tmp_path)
    assert (tmp_path / JOURNAL_NAME).read_bytes() == content


def test_a_head_torn_by_a_kill_begins_anew(tmp_path: Path) -> None:
    (tmp_path / JOURNAL_NAME).write_bytes(b'{"kind":"run","mod')
    assert drawn(tmp_path, plan()).is_whole


def test_a_batch_of_another_size_goes_on_with_a_run(tmp_path: Path) -> None:
    drawn(tmp_path, plan())
    engine = scripted()
    assert drawn(tmp_path, plan(batch_size=1), engine).is_whole
    assert not engine.calls


def test_another_commit_or_machine_goes_on_with_a_run_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They were in the head, so that a new kernel or commit made a run that took a night useless."""
    first = {"kit": {"commit": "abc"}, "machine": {"platform": "Linux-6.1"}}
    second = {"kit": {"commit": "abc"}, "machine": {"platform": "Linux-6.2"}}
    whole = drawn(tmp_path, plan(), session=first)
    drawn(tmp_path, plan(), session=first)
    assert not caplog.messages
    engine = scripted()
    again = drawn(tmp_path, plan(), engine, session=second)
    assert not engine.calls
    assert again.completions == whole.completions
    assert caplog.messages == [
        f"{tmp_path}: goes on under another kit or machine than before: "
        "machine.platform is 'Linux-6.2' here and 'Linux-6.1' there"
    ]
    assert again.sessions == (first, first, second)
    assert "its sessions differ in machine.platform, and texts may with them" in list(notes(again))
    assert summary(again).as_json()["sessions"] == [first, first, second]


def test_the_wall_time_is_that_of_all_sessions(tmp_path: Path) -> None:
    run = drawn(tmp_path, plan())
    assert run.wall_s > 0
    assert drawn(tmp_path, plan()).wall_s == run.wall_s


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_samples": 0}, "num_samples must be >= 1"),
        ({"batch_size": 0}, "batch_size must be >= 1"),
        ({"depths": ()}, "depths must be different from each other, and at least one"),
        ({"depths": (3, 3)}, "depths must be different"),
        ({"depths": (65,)}, r"depths must be in \[0, 64\]"),
        ({"sampling": SamplingParams(temperature=0)}, "2 samples at temperature 0 are 2 times the same text"),
        ({"data": dataclasses.replace(data(), examples=data().examples * 2)}, "problem 'p0' stands there twice"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        plan(**changes)


def test_that_answers_cannot_be_graded_is_told_before_any_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    fractions = [dataclasses.replace(each, gold="1/2", form=AnswerForm.EXPRESSION) for each in data().examples]
    asked = plan(data=dataclasses.replace(data(), examples=tuple(fractions)))
    with pytest.raises(MissingError, match=r"math-verify, which is not installed; pip install 'mathllm-kit\[eval\]'"):
        drawn(tmp_path, asked)
    assert not (tmp_path / JOURNAL_NAME).exists()


def test_an_empty_run_and_a_missing_one_are_one_error_each(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sums: no problem in shard 6/7 to ask"):
        drawn(tmp_path, plan(shard=Shard(6, 7)))
    with pytest.raises(MissingError, match="no such run; expected a folder that `kit eval --out` wrote"):
        read_run(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["", "1", "4/4", "-1/4", "a/b", "1/0", "1/2/3", "١/٤"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected I/N"):
        Shard.parse(text)


@pytest.mark.parametrize("keeps", [False, True])
def test_the_statistics_of_each_token_are_kept_on_demand(tmp_path: Path, keeps: bool) -> None:
    stats = (
        TokenStats(logprob=-0.123456, entropy=1.5, confidence=12.25, halting=None),
        TokenStats(logprob=0.0, entropy=0.0, confidence=None, halting=0.75),
    )
    engine = ScriptedEngine(lambda prompt, params: Script(text="42", num_tokens=2, token_stats=stats))
    run = drawn(tmp_path, plan(keeps_token_stats=keeps), engine)
    kept = (dataclasses.replace(stats[0], logprob=-0.1235), stats[1])
    assert {each.sample.token_stats for each in run.completions} == {kept if keeps else ()}
    assert plan(keeps_token_stats=keeps).facts == plan().facts
