"""The supervisor over a double of vLLM that dies, hangs and runs out of memory: what it does, and what becomes of the
attempts in flight."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio

from kit.assets import TINY_MODEL
from kit.budget import Budget, BudgetConfig
from kit.engines.vllm.client.engine import ClientConfig, OpenAIEngine, open_openai
from kit.engines.vllm.server.diagnosis import Cause
from kit.engines.vllm.server.engine import VllmConfig, open_vllm
from kit.engines.vllm.server.ladder import next_rung
from kit.engines.vllm.server.process import ServerLog
from kit.engines.vllm.server.settings import CPU, ServerSettings, Speculation
from kit.engines.vllm.server.supervision import Break, Launch, ServerNews, SupervisorConfig
from kit.engines.vllm.server.supervisor import Supervisor, open_server
from kit.errors import EngineError
from kit.problem import Problem
from kit.sampling import FinishReason, OnChunk, Prompt, Sample, SamplingParams
from kit.solver.config import SamplingChoice, SolverConfig
from kit.solver.solution import Solution
from kit.solver.solver import Solver
from tests.engines import tiny
from tests.engines.contract import quick
from tests.engines.vllm import openai_server
from tests.waiting import PATIENCE_S, longer_and_longer

PROMPT = tiny.chat("what is 1+1?")
QUICK = SupervisorConfig(
    start_timeout_s=PATIENCE_S, hang_s=60, probe_timeout_s=60, steady_s=0, grace_s=2, pause_s=0.05, tick_s=0.05
)
WATCHFUL = dataclasses.replace(QUICK, hang_s=2.0, probe_timeout_s=5)  # where something hangs


def launch(folder: Path, *options: str) -> Launch:
    def write_command(settings: ServerSettings, port: int) -> Sequence[str]:
        context = 4096 if settings.max_model_len == "auto" else settings.max_model_len
        told = ("--port", str(port), "--num-seqs", str(settings.max_num_seqs), "--context", str(context))
        return (sys.executable, "-I", openai_server.__file__, "--tells-ids", *told, *options)

    return Launch(python=Path(sys.executable), model=folder, scratch=folder / "scratch", write_command=write_command)


@dataclasses.dataclass(frozen=True)
class Bench:
    """A supervised double and an engine over it. faults: where to put the files that make it fail."""

    server: Supervisor
    engine: OpenAIEngine
    faults: Path

    async def stats(self) -> Any:
        while True:
            address = await self.server.ready()
            try:
                return await trio.to_thread.run_sync(self._read_stats, address.url)
            except (OSError, HTTPException):  # it is dead, and nobody has noticed yet
                await trio.sleep(0.02)

    @staticmethod
    def _read_stats(url: str) -> Any:
        with urllib.request.urlopen(f"{url}/stats", timeout=PATIENCE_S) as reply:
            return json.load(reply)


@asynccontextmanager
async def bench(
    folder: Path,
    *options: str,
    settings: ServerSettings | None = None,
    config: SupervisorConfig = QUICK,
    client: ClientConfig | None = None,
) -> AsyncIterator[Bench]:
    faults = folder / "faults"
    faults.mkdir(exist_ok=True)
    settings = settings or ServerSettings(max_model_len=4096, max_num_seqs=16)
    what = launch(folder, "--faults", str(faults), *options)
    async with (
        open_server(what, settings, config) as server,
        open_openai(server, tokenizer=tiny.tokenizer(), config=client) as engine,
    ):
        yield Bench(server, engine, faults)


def run(act: Callable[[Bench], Awaitable[Any]], folder: Path, *options: str, **more: Any) -> Any:
    async def main() -> Any:
        with trio.fail_after(PATIENCE_S):
            async with bench(folder, *options, **more) as made:
                return await act(made)

    return trio.run(main)


async def greedy(made: Bench, num_tokens: int, *, timeout_s: float = PATIENCE_S) -> Sample:
    params = SamplingParams(temperature=0, max_new_tokens=num_tokens)
    return await made.engine.sample(PROMPT, params, timeout_s=timeout_s)


async def while_sampling(
    made: Bench, num_tokens: int, act: Callable[[Any], Awaitable[None]], *, num_attempts: int = 1
) -> list[Sample]:
    """Sample greedily, do `act(stats)` in the middle, and give the samples."""
    samples: list[Sample] = []

    async def one() -> None:
        samples.append(await greedy(made, num_tokens))

    async with trio.open_nursery() as nursery:
        for _ in range(num_attempts):
            nursery.start_soon(one)
        while (stats := await made.stats())["num_tokens"] < num_tokens * num_attempts // 4:
            await trio.sleep(0.02)
        await act(stats)
    return samples


@pytest.mark.parametrize("num_tokens", [0, 20], ids=["before its first token", "in mid-text"])
def test_an_engine_that_is_stuck_is_found_by_the_first_attempt_whose_time_it_takes(
    tmp_path: Path, num_tokens: int
) -> None:
    """Bug of an earlier version: attempts shorter than hang_s each began the watch anew, for 9 minutes."""
    config = dataclasses.replace(QUICK, hang_s=1000, probe_timeout_s=3)

    async def act(made: Bench) -> tuple[Sample, Sample, list[Break]]:
        pid = (await made.stats())["pid"]

        async def stop() -> None:
            while (await made.stats())["num_tokens"] < num_tokens:
                await trio.sleep(0.02)
            os.kill(pid, signal.SIGSTOP)

        if not num_tokens:
            await stop()
        async with trio.open_nursery() as nursery:
            if num_tokens:
                nursery.start_soon(stop)
            lost = await greedy(made, 10**6 if num_tokens else 9, timeout_s=7 if num_tokens else 0.5)
        found = await greedy(made, 9)
        return lost, found, [incident.kind for incident in made.server.incidents]

    settings = ServerSettings(max_model_len=10**6, max_num_seqs=16)
    lost, found, kinds = run(act, tmp_path, config=config, settings=settings)
    assert lost.finish is FinishReason.DEADLINE
    assert (found.num_tokens, found.finish, kinds) == (9, FinishReason.LENGTH, [Break.MUTE])


def test_news_tell_when_a_server_is_gone_and_when_there_is_one_again(tmp_path: Path) -> None:
    told: list[ServerNews] = []

    async def main() -> None:
        with trio.fail_after(PATIENCE_S):
            async with open_server(launch(tmp_path), ServerSettings(), QUICK, on_news=told.append) as server:
                first = await server.ready()
                assert not told
                async with open_openai(server, tokenizer=tiny.tokenizer()) as engine:
                    made = Bench(server, engine, tmp_path)
                    await kill(await made.stats())
                    server.report_broken(first)
                    await server.ready()

    trio.run(main)
    assert [(news.is_back, news.why) for news in told] == [(False, "the server ended by itself"), (True, "")]


async def kill(stats: Any) -> None:
    os.kill(stats["pid"], signal.SIGKILL)


def test_a_server_killed_mid_answer_comes_back_and_its_attempts_end_as_if_nothing_had_been(tmp_path: Path) -> None:
    async def act(made: Bench) -> tuple[str, list[Sample], Supervisor]:
        whole = await greedy(made, 200)
        return whole.text, await while_sampling(made, 200, kill, num_attempts=4), made.server

    whole, samples, server = run(act, tmp_path)
    assert [(sample.text, sample.num_tokens, sample.finish) for sample in samples] == [
        (whole, 200, FinishReason.LENGTH)
    ] * 4
    assert all(len(sample.token_stats) == 200 for sample in samples)
    assert [incident.kind for incident in server.incidents] == [Break.EXITED]


def test_the_server_that_comes_back_is_given_the_tokens_so_far(tmp_path: Path) -> None:
    async def act(made: Bench) -> tuple[int, int, int]:
        await greedy(made, 1)
        prompt = len((await made.stats())["prompts"][-1])
        await while_sampling(made, 200, kill)
        stats = await made.stats()
        return prompt, len(stats["prompts"][-1]), stats["num_tokens"]

    num_prompt, num_given, num_new = run(act, tmp_path)
    assert num_given > num_prompt
    assert num_given - num_prompt + num_new == 200


def test_an_engine_that_dies_within_a_stream_is_told_from_a_text_that_ends(tmp_path: Path) -> None:
    async def die(_stats: Any) -> None:
        (tmp_path / "faults" / "die").touch()

    async def act(made: Bench) -> tuple[list[Sample], Supervisor]:
        return await while_sampling(made, 200, die), made.server

    samples, server = run(act, tmp_path)
    assert [(sample.num_tokens, sample.finish) for sample in samples] == [(200, FinishReason.LENGTH)]
    assert [incident.diagnosis.cause for incident in server.incidents] == [Cause.ENGINE_DIED]


def test_a_server_that_is_stopped_still_is_found_hung_and_replaced(tmp_path: Path) -> None:
    async def freeze(stats: Any) -> None:
        os.kill(stats["pid"], signal.SIGSTOP)

    async def act(made: Bench) -> tuple[list[Sample], Supervisor]:
        return await while_sampling(made, 200, freeze, num_attempts=2), made.server

    samples, server = run(act, tmp_path, config=WATCHFUL)
    assert [sample.finish for sample in samples] == [FinishReason.LENGTH] * 2
    assert [incident.kind for incident in server.incidents] == [Break.HUNG]


def test_a_server_that_nobody_asks_anything_is_not_hung(tmp_path: Path) -> None:
    async def act(made: Bench) -> tuple[list[Any], Sample]:
        await made.server.ready()
        await trio.sleep(3 * 0.3)
        return list(made.server.incidents), await greedy(made, 3)

    incidents, sample = run(act, tmp_path, config=dataclasses.replace(QUICK, hang_s=0.3))
    assert (incidents, sample.num_tokens) == ([], 3)


def test_a_server_that_refuses_all_work_is_probed_and_replaced(tmp_path: Path) -> None:
    """It listens, and its health page is well: only a completion tells."""

    async def act(made: Bench) -> tuple[Sample, Supervisor]:
        await made.server.ready()
        fault = made.faults / "refuse"
        fault.touch()
        async with trio.open_nursery() as nursery:
            samples: list[Sample] = []

            async def one() -> None:
                samples.append(await greedy(made, 20))

            nursery.start_soon(one)
            while not made.server.incidents:
                await trio.sleep(0.02)
            fault.unlink()
        return samples[0], made.server

    sample, server = run(act, tmp_path)
    assert (sample.num_tokens, sample.finish) == (20, FinishReason.LENGTH)
    assert server.incidents[0].kind is Break.MUTE


def test_a_deadline_holds_while_the_server_is_down_and_keeps_the_text_so_far(tmp_path: Path) -> None:
    async def act(made: Bench) -> Sample:
        samples: list[Sample] = []

        async def one(timeout_s: float) -> None:
            samples.append(await greedy(made, 10**6, timeout_s=timeout_s))

        await made.server.ready()
        for timeout_s in longer_and_longer(1.0):
            samples.clear()
            before = (await made.stats())["num_tokens"]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one, timeout_s)
                while not samples and (stats := await made.stats())["num_tokens"] < before + 20:
                    await trio.sleep(0.02)
                if not samples:
                    await kill(stats)
            if samples[0].num_tokens:
                return samples[0]
        pytest.fail("no token came in any time")

    settings = ServerSettings(max_model_len=10**6, max_num_seqs=16)
    sample = run(act, tmp_path, "--start-s", "3", settings=settings)
    assert sample.finish is FinishReason.DEADLINE
    assert 1 <= sample.num_tokens < 10**6


def test_out_of_memory_at_the_start_leads_down_the_ladder_until_it_fits(tmp_path: Path) -> None:
    async def act(made: Bench) -> tuple[Sample, Supervisor]:
        return await greedy(made, 5), made.server

    settings = ServerSettings(
        max_model_len=4096, max_num_seqs=16, speculation=Speculation(method="ngram", num_tokens=2)
    )
    sample, server = run(act, tmp_path, "--fails-above", "4", settings=settings)
    assert sample.num_tokens == 5
    assert {incident.diagnosis.cause for incident in server.incidents} == {Cause.OUT_OF_MEMORY}
    assert (server.settings.max_num_seqs, server.settings.speculation) == (4, None)
    assert server.settings.memory_share < settings.memory_share


def test_a_damaged_model_is_given_up_at_once_with_cause_fix_and_log(tmp_path: Path) -> None:
    async def act(made: Bench) -> str:
        with pytest.raises(EngineError) as caught:
            await greedy(made, 5)
        with pytest.raises(EngineError, match="given up"):
            await greedy(made, 5)
        assert len(made.server.incidents) == 1
        return str(caught.value)

    told = run(act, tmp_path, "--damaged")
    assert "model damaged or absent" in told
    assert "copy it again" in told
    assert openai_server.DAMAGED in told
    assert "server.log" in told


def test_a_damaged_draft_model_costs_speculation_and_not_the_server(tmp_path: Path) -> None:
    def write_command(settings: ServerSettings, port: int) -> Sequence[str]:
        told = () if settings.speculation is None else ("--damaged",)
        return (*launch(tmp_path).command(settings, port), *told)

    async def main() -> tuple[Sample, Supervisor]:
        what = dataclasses.replace(launch(tmp_path), write_command=write_command)
        settings = ServerSettings(speculation=Speculation(method="eagle3", num_tokens=2, model="draft"))
        with trio.fail_after(PATIENCE_S):
            async with (
                open_server(what, settings, QUICK) as server,
                open_openai(server, tokenizer=tiny.tokenizer()) as engine,
            ):
                return await engine.sample(PROMPT, quick(1, max_new_tokens=5), timeout_s=PATIENCE_S), server

    sample, server = trio.run(main)
    assert sample.num_tokens == 5
    assert [incident.diagnosis.cause for incident in server.incidents] == [Cause.MODEL]
    assert server.settings == ServerSettings()


def test_what_has_served_once_is_not_given_up_for_a_line_in_its_log(tmp_path: Path) -> None:
    """It is damaged, as its log says, at its second start alone."""
    num_starts = 0

    def write_command(settings: ServerSettings, port: int) -> Sequence[str]:
        nonlocal num_starts
        num_starts += 1
        return (*launch(tmp_path).command(settings, port), *(("--damaged",) if num_starts == 2 else ()))

    async def main() -> list[Break]:
        what = dataclasses.replace(launch(tmp_path), write_command=write_command)
        with trio.fail_after(PATIENCE_S):
            async with (
                open_server(what, ServerSettings(), QUICK) as server,
                open_openai(server, tokenizer=tiny.tokenizer()) as engine,
            ):
                await server.ready()
                await kill(await Bench(server, engine, tmp_path).stats())
                while server.is_ready:
                    await trio.sleep(0.02)
                assert (await engine.sample(PROMPT, quick(1, max_new_tokens=5), timeout_s=PATIENCE_S)).num_tokens == 5
                return [incident.kind for incident in server.incidents]

    assert trio.run(main) == [Break.EXITED, Break.NOT_STARTED]


def test_a_server_that_never_starts_is_given_up_after_so_many_tries(tmp_path: Path) -> None:
    async def act(made: Bench) -> int:
        with pytest.raises(EngineError, match=r"3 failed starts"):
            await greedy(made, 5)
        return len(made.server.incidents)

    config = dataclasses.replace(QUICK, max_failed_starts=3)
    assert run(act, tmp_path, "--fails-above", "0", config=config) == 3


def test_a_second_start_that_fails_in_the_very_words_of_the_first_is_the_last(tmp_path: Path) -> None:
    """The same start was made six times, for four minutes, after the ladder had ended."""
    lowest = ServerSettings(max_model_len="auto", max_num_seqs=1, memory_share=0.5, eager=True)

    async def act(made: Bench) -> list[ServerSettings]:
        with pytest.raises(EngineError, match=r"2 failed starts"):
            await greedy(made, 5)
        return [incident.settings for incident in made.server.incidents]

    config = dataclasses.replace(QUICK, max_failed_starts=6)
    assert run(act, tmp_path, "--fails-above", "0", config=config, settings=lowest) == [lowest] * 2


def test_a_start_that_takes_too_long_is_ended_and_tried_with_other_settings(tmp_path: Path) -> None:
    async def act(made: Bench) -> list[Break]:
        with pytest.raises(EngineError, match="did not make a token in time"):
            await greedy(made, 5)
        return [incident.kind for incident in made.server.incidents]

    config = dataclasses.replace(QUICK, start_timeout_s=0.5, max_failed_starts=2)
    assert run(act, tmp_path, "--start-s", "60", config=config) == [Break.NOT_IN_TIME] * 2


def test_a_second_break_soon_after_the_first_lowers_the_settings(tmp_path: Path) -> None:
    async def act(made: Bench) -> list[ServerSettings]:
        for _ in range(2):
            await kill(await made.stats())
            while made.server.is_ready:
                await trio.sleep(0.02)
        await made.server.ready()
        return [*(incident.settings for incident in made.server.incidents), made.server.settings]

    first, second, third = run(act, tmp_path, config=dataclasses.replace(QUICK, steady_s=60))
    assert first == second
    rung = next_rung(second, Cause.UNKNOWN)
    assert rung is not None
    assert third == rung.settings


def test_a_smaller_context_ends_an_attempt_that_has_outgrown_it(tmp_path: Path) -> None:
    """The ladder may halve the context under an attempt; its text so far is a sample."""

    async def act(made: Bench) -> list[Sample]:
        await made.server.ready()

        async def shrink(stats: Any) -> None:
            made.server.settings = dataclasses.replace(made.server.settings, max_model_len=40)
            await kill(stats)

        return await while_sampling(made, 400, shrink)

    (sample,) = run(act, tmp_path)
    assert sample.finish is FinishReason.LENGTH
    assert 100 <= sample.num_tokens < 400


def test_nothing_is_left_of_a_server_that_ignores_sigterm_nor_of_its_workers(tmp_path: Path) -> None:
    async def act(made: Bench) -> list[psutil.Process]:
        stats = await made.stats()
        server = psutil.Process(stats["pid"])
        assert len(server.children()) == 3
        return [server, *server.children(), server.parent()]

    config = dataclasses.replace(QUICK, grace_s=0.3)
    processes = run(act, tmp_path, "--num-workers", "3", "--ignores-sigterm", config=config)
    assert not [process for process in processes if process.is_running()]


def test_workers_do_not_outlive_a_server_that_is_killed(tmp_path: Path) -> None:
    """They are in process groups of their own, so that only a reaper that adopts them finds them."""

    async def act(made: Bench) -> list[psutil.Process]:
        stats = await made.stats()
        workers = psutil.Process(stats["pid"]).children()
        await kill(stats)
        while made.server.is_ready:
            await trio.sleep(0.02)
        await made.server.ready()
        return [process for process in workers if process.is_running()]

    assert run(act, tmp_path, "--num-workers", "2") == []


OWNER = """
import sys, trio
from pathlib import Path
from kit.engines.vllm.client.http import HttpClient
from kit.engines.vllm.server.settings import ServerSettings
from kit.engines.vllm.server.supervision import Launch, SupervisorConfig
from kit.engines.vllm.server.supervisor import open_server

def write_command(settings, port):
    return (sys.executable, "-I", sys.argv[2], "--port", str(port), "--num-workers", "2", "--ignores-sigterm")

async def main():
    folder = Path(sys.argv[1])
    launch = Launch(python=folder, model=folder, scratch=folder, write_command=write_command)
    async with open_server(launch, ServerSettings(), SupervisorConfig(grace_s=0.5)) as server:
        url = (await server.ready()).url
        print((await HttpClient().get_json(f"{url}/stats", timeout_s=10))["pid"], flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def test_nothing_is_left_when_we_are_killed_ourselves(tmp_path: Path, repo: Path) -> None:
    async def main() -> None:
        with trio.fail_after(PATIENCE_S):
            owner = await trio.lowlevel.open_process(
                [sys.executable, "-c", OWNER, str(tmp_path), openai_server.__file__], stdout=-1, cwd=repo
            )
            assert owner.stdout is not None
            server = psutil.Process(int(await owner.stdout.receive_some()))
            family = [server, *server.children(), server.parent()]
            assert len(family) == 4
            owner.kill()
            await owner.wait()
            await owner.stdout.aclose()
            while any(process.is_running() for process in family):
                await trio.sleep(0.05)

    trio.run(main)


def test_a_full_disk_costs_the_log_and_not_the_server(tmp_path: Path) -> None:
    async def act(made: Bench) -> Sample:
        return await greedy(made, 5)

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "server.log").symlink_to("/dev/full")
    assert run(act, tmp_path).num_tokens == 5


def test_a_log_shows_the_end_of_the_last_start(tmp_path: Path) -> None:
    log = ServerLog(tmp_path / "deep" / "server.log", num_lines=3)
    log.begin("first")
    log.add(b"old\n")
    log.begin("second")
    for piece in (b"a\nb\nc", b"c\nd", b"\ne"):
        log.add(piece)
    assert log.tail == "b\ncc\nd\ne"
    log.close()
    assert (tmp_path / "deep" / "server.log").read_text() == "=== first\nold\n=== second\na\nb\ncc\nd\ne"


def test_the_servers_environment_has_nothing_of_our_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    monkeypatch.setenv("KAGGLE_KEY", "secret")

    async def act(made: Bench) -> dict[str, str]:
        return psutil.Process((await made.stats())["pid"]).environ()

    variables = run(act, tmp_path)
    assert not {"PYTHONPATH", "KAGGLE_KEY", "VIRTUAL_ENV"} & variables.keys()
    assert variables["HF_HUB_OFFLINE"] == "1"


def test_an_attempt_that_is_left_is_ended_on_the_server(tmp_path: Path) -> None:
    async def act(made: Bench) -> Any:
        await made.server.ready()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(greedy, made, 10**6)
            while not (await made.stats())["num_streams"]:
                await trio.sleep(0.02)
            nursery.cancel_scope.cancel()
        while (stats := await made.stats())["num_streams"]:
            await trio.sleep(0.02)
        return stats

    stats = run(act, tmp_path, settings=ServerSettings(max_model_len=10**6 + 100, max_num_seqs=16))
    assert (stats["num_left"], stats["most_streams"]) == (1, 1)
    assert stats["num_tokens"] < 10**6


async def readings(made: Bench, num_new: int) -> None:
    """Wait until the client has read the server's metrics so many times more."""
    wanted = (await made.stats())["num_readings"] + num_new
    while (await made.stats())["num_readings"] < wanted:
        await trio.sleep(0.02)


def test_attempts_wait_at_the_door_while_the_cache_is_nearly_full(tmp_path: Path) -> None:
    """One of the two stays: where nobody is inside, one may enter before the server has let go of the rest."""

    async def endless(made: Bench, scope: trio.CancelScope) -> None:
        with scope:
            await greedy(made, 10**6)

    async def act(made: Bench) -> Any:
        await made.server.ready()
        async with trio.open_nursery() as nursery:
            leaving, staying = trio.CancelScope(), trio.CancelScope()
            for scope in (leaving, staying):
                nursery.start_soon(endless, made, scope)
            while (await made.stats())["num_streams"] < 2:
                await trio.sleep(0.02)
            await readings(made, 2)
            async with trio.open_nursery() as waiting:
                for _ in range(6):
                    waiting.start_soon(greedy, made, 30)
                await readings(made, 2)
                assert (await made.stats())["num_requests"] == 1 + 2
                leaving.cancel()
            staying.cancel()
        return await made.stats()

    client = ClientConfig(cache_high=0.45, poll_s=0.05)
    settings = ServerSettings(max_model_len=10**6 + 100, max_num_seqs=16)
    stats = run(act, tmp_path, "--cache-streams", "4", client=client, settings=settings)
    assert stats["num_requests"] == 1 + 8  # the probe of the start, and the attempts
    assert stats["most_streams"] == 2


def test_a_wave_that_comes_with_the_engine_or_after_a_break_waits_at_the_door_too(tmp_path: Path) -> None:
    """It was let in whole: before the first reading, and after one that failed, the gate stood open."""

    async def act(made: Bench) -> list[int]:
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(greedy, made, 120)
            while (first := await made.stats())["num_tokens"] < 100:
                await trio.sleep(0.02)
            await kill(first)
        return [first["most_streams"], (await made.stats())["most_streams"]]

    client = ClientConfig(cache_high=0.45, poll_s=0.05)
    most = run(act, tmp_path, "--cache-streams", "8", client=client)
    assert max(most) <= 4  # of the eight streams that the cache holds, these are more than 0.45


@dataclasses.dataclass(frozen=True)
class Answering:
    """Says an answer at the end of each text that ended by itself: the double's model cannot spell one."""

    engine: OpenAIEngine
    failures: list[str]

    async def sample(
        self, prompt: Prompt, params: SamplingParams, *, timeout_s: float, on_chunk: OnChunk | None = None
    ) -> Sample:
        try:
            sample = await self.engine.sample(prompt, params, timeout_s=timeout_s, on_chunk=on_chunk)
        except EngineError as error:
            self.failures.append(str(error))
            raise
        if sample.finish is not FinishReason.LENGTH:
            self.failures.append(sample.error or sample.finish)
            return sample
        return dataclasses.replace(sample, text="The answer is \\boxed{7}.", finish=FinishReason.STOP)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_a_competition_goes_on_over_a_server_that_breaks_under_every_problem(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Every problem is answered in its time, and no sample is drawn in vain."""
    problems = [Problem(id=str(place), text=f"what is {place}+1?") for place in range(3)]

    failures: list[str] = []

    async def act(made: Bench) -> tuple[list[Solution], int]:
        sampling = SamplingChoice(max_new_tokens=150)
        config = SolverConfig(width=4, sampling=sampling, in_order=True)
        begun = trio.current_time()
        budget = Budget(BudgetConfig(limit_s=120, reserve_s=0, num_problems=3), lambda: trio.current_time() - begun)
        solver = Solver(Answering(made.engine, failures), budget, None, config)
        solutions = []
        for problem in problems:
            async with trio.open_nursery() as nursery:

                async def break_it() -> None:
                    stats = await made.stats()
                    while (now := await made.stats())["num_tokens"] < stats["num_tokens"] + 100:
                        if now["pid"] != stats["pid"]:
                            return  # the last break was noticed late, and this problem had it
                        await trio.sleep(0.02)
                    os.kill(now["pid"], number)

                nursery.start_soon(break_it)
                solutions.append(await solver.solve(problem))
        return solutions, len(made.server.incidents)

    solutions, num_incidents = run(act, tmp_path, config=WATCHFUL)
    assert [solution.answer for solution in solutions] == [7, 7, 7]
    assert [solution.guess for solution in solutions] == ["", "", ""]
    assert num_incidents >= 2
    assert failures == []


def test_the_whole_engine_opens_once_its_server_answers(tmp_path: Path) -> None:
    async def main() -> tuple[Sample, bool]:
        what = dataclasses.replace(launch(tmp_path, "--start-s", "0.3"), model=TINY_MODEL)
        config = VllmConfig(settings=CPU, supervisor=QUICK)
        with trio.fail_after(PATIENCE_S):
            async with open_vllm(what, config) as (engine, server):
                is_ready = server.is_ready
                return await engine.sample(PROMPT, quick(1, max_new_tokens=5), timeout_s=10), is_ready

    sample, is_ready = trio.run(main)
    assert (sample.num_tokens, is_ready) == (5, True)


def test_an_engine_whose_server_does_not_start_tells_why(tmp_path: Path) -> None:
    async def main() -> None:
        what = dataclasses.replace(launch(tmp_path, "--damaged"), model=TINY_MODEL)
        with trio.fail_after(PATIENCE_S):
            async with open_vllm(what, VllmConfig(settings=CPU, supervisor=QUICK)):
                pytest.fail("it cannot open")

    with pytest.raises(EngineError, match="copy it again"):
        trio.run(main)


def test_a_command_that_cannot_be_run_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        what = Launch(
            python=tmp_path,
            model=tmp_path,
            scratch=tmp_path,
            write_command=lambda _settings, _port: ("/no/such/python",),
        )
        config = dataclasses.replace(QUICK, max_failed_starts=1)
        async with open_server(what, CPU, config) as server:
            await server.ready()

    with pytest.raises(EngineError, match=r"cannot run /no/such/python"):
        trio.run(main)
