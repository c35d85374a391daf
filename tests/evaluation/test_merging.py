from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from kit.engines.scripted import Fault, Script, ScriptedEngine
from kit.errors import InputError, MissingError
from kit.evaluation.merging import merge
from kit.evaluation.plan import Shard
from kit.evaluation.reading import JOURNAL_NAME, read_run
from kit.sampling import FinishReason, Prompt, SamplingParams
from tests.evaluation.asked import data, head, plan, scripted, written
from tests.evaluation.test_run import drawn, texts


def shards(folder: Path, count: int, num_problems: int = 7) -> list[Path]:
    folders = [folder / f"shard-{index}" for index in range(count)]
    for index, each in enumerate(folders):
        drawn(each, plan(data=data(num_problems), shard=Shard(index, count)))
    return folders


@pytest.mark.parametrize("count", [1, 3])
def test_shards_merged_are_the_run_that_was_not_split(tmp_path: Path, count: int) -> None:
    whole = drawn(tmp_path / "whole", plan(data=data(7)))
    merged = merge(tmp_path / "merged", shards(tmp_path, count)[::-1])
    assert merged.missing == ()
    assert texts(merged.run) == texts(whole)
    assert merged.run.is_whole
    assert (merged.run.head, merged.run.examples) == (whole.head, whole.examples)
    assert [(each.problem, each.strict, each.lenient) for each in merged.run.completions] == [
        (each.problem, each.strict, each.lenient) for each in whole.completions
    ]
    assert merged.run.wall_s == pytest.approx(sum(read_run(each).wall_s for each in shards(tmp_path, count)))


def test_a_merged_run_goes_on_as_one_with_what_no_shard_holds(tmp_path: Path) -> None:
    first, _, last = shards(tmp_path, 3)
    merged = merge(tmp_path / "merged", [first, last])
    assert merged.missing == ("2 problems are in no shard given (0/3, 2/3): numbers 1, 4 of the data",)
    engine = scripted()
    run = drawn(tmp_path / "merged", plan(data=data(7)), engine)
    assert len(engine.calls) == 2 * 4
    assert texts(run) == texts(drawn(tmp_path / "whole", plan(data=data(7))))


def test_what_two_shards_hold_must_agree(tmp_path: Path) -> None:
    first, second = shards(tmp_path, 2)
    assert merge(tmp_path / "merged", [first, first, second]).run.is_whole
    path = second / JOURNAL_NAME
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["shard"] = "0/2"
    for line in lines:
        if line["kind"] == "completion":
            line["sample"]["text"] += "!"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / JOURNAL_NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(
        InputError, match=r"hold different texts of one sample \(problem p1:.*, depth [35], number [01]\)"
    ):
        merge(tmp_path / "again", [second, tmp_path / "other"])
    assert not (tmp_path / "again").exists()


def test_a_good_sample_of_one_shard_wins_over_a_failed_one_of_another(tmp_path: Path) -> None:
    def write(prompt: Prompt, params: SamplingParams) -> Script:
        fails = "$2+2$" in prompt.messages[-1].content
        return dataclasses.replace(written(prompt, params), fault=Fault.ERROR if fails else Fault.NONE)

    asked = plan(data=data(4), shard=Shard(0, 2))
    drawn(tmp_path / "broken", asked, ScriptedEngine(write))
    drawn(tmp_path / "good", asked)
    for order in ("broken", "good"), ("good", "broken"):
        run = merge(tmp_path / "-".join(order), [tmp_path / name for name in order]).run
        assert FinishReason.FAILED not in {each.sample.finish for each in run.completions}


def test_shards_of_different_runs_are_refused(tmp_path: Path) -> None:
    drawn(tmp_path / "a", plan(shard=Shard(0, 2)))
    drawn(tmp_path / "b", plan(shard=Shard(1, 2), seed=3))
    with pytest.raises(InputError, match="shards of different runs: seed is 0 here and 3 there"):
        merge(tmp_path / "merged", [tmp_path / "a", tmp_path / "b"])
    with pytest.raises(MissingError, match="no such run"):
        merge(tmp_path / "merged", [tmp_path / "a", tmp_path / "c"])


def test_a_shard_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    first, second = shards(tmp_path, 2)
    merged = merge(tmp_path / "merged", [first, second, tmp_path / "shard-1" / ".." / "shard-0"]).run
    assert merged.wall_s == pytest.approx(read_run(first).wall_s + read_run(second).wall_s)


def test_a_folder_with_a_run_is_not_merged_into(tmp_path: Path) -> None:
    folders = shards(tmp_path, 2)
    with pytest.raises(InputError, match="is there already"):
        merge(folders[0], folders)


def test_the_head_of_a_shard_differs_by_the_shard_alone() -> None:
    whole, part = head(plan()), head(plan(shard=Shard(0, 2)))
    assert {name for name in whole if whole[name] != part[name]} == {"shard"}
