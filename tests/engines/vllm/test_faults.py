"""The real vLLM where it cannot start, starts with less, has no room to write, or loses its worker.

Models, disks and memory are spoilt for it alone: the server runs in a mount namespace of its own, with small file
systems over those that it writes to, and with a page over the one by which Linux tells it what memory is free.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from kit.engines.text.model_folder import check_model_folder
from kit.engines.vllm.client.engine import ClientConfig, open_openai
from kit.engines.vllm.server.diagnosis import Cause
from kit.engines.vllm.server.engine import VllmConfig, open_vllm
from kit.engines.vllm.server.settings import ServerSettings
from kit.engines.vllm.server.supervision import Break, Incident
from kit.engines.vllm.server.supervisor import open_server
from kit.errors import EngineError, InputError
from kit.sampling import FinishReason, Sample, SamplingParams
from tests.engines import tiny
from tests.engines.vllm.portal import Portal, open_portal
from tests.engines.vllm.real import (
    LONG_CONTEXT,
    PATIENCE_S,
    SUPERVISION,
    WITH_WORKER,
    WITHOUT_WORKER,
    Real,
    check_struck,
    launch_of,
    open_real,
    processes,
    save_endless_model,
    struck,
)

pytestmark = pytest.mark.slow

log = logging.getLogger(__name__)

MEMORY = Path("/sys/devices/system/node/node0/meminfo")
CACHE_TOKENS = 8192
TOKEN_BYTES = 2048


def in_own_mounts(*commands: str) -> tuple[str, ...]:
    """What runs a command after these, in a mount namespace of its own; skips the test where that is forbidden."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("THE REAL vLLM ON A FULL DISK AND WITHOUT MEMORY IS NOT TESTED: `unshare -rm` does not work here")
    # no `cd` can be left to the reaper, whose folder lies below what is mounted over it
    return (unshare, "-rm", "sh", "-ec", "; ".join([*commands, 'exec "$@"']), "sh")


def full_disk(folder: Path) -> str:
    """Mounts a file system over a folder in which there is no room for a byte."""
    name = shlex.quote(str(folder))
    return f"mount -t tmpfs -o size=4k tmpfs {name}; head -c 4096 /dev/zero > {name}/fill"


def damage_header(model: Path) -> None:
    """A type of number that there is not: the sizes are right, so the kit's own check lets it pass."""
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"F32"', b'"Q32"', 1))


def refuse_config(model: Path) -> None:
    path = model / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"architectures": ["NoSuchForCausalLM"]}))


def cut_tokenizer(model: Path) -> None:
    path = model / "tokenizer.json"
    path.write_bytes(path.read_bytes()[:1000])


@dataclasses.dataclass(frozen=True)
class Fault:
    """A start that cannot succeed. told: of its cause and its fix."""

    cause: Cause
    told: str
    spoil: Callable[[Path], None] = lambda _model: None
    commands: tuple[str, ...] = ()
    settings: ServerSettings = WITHOUT_WORKER


FAULTS = {
    "damaged weights": Fault(Cause.MODEL, "unknown variant `Q32`.*copy it again", damage_header),
    "refused config.json": Fault(Cause.MODEL, r"NoSuchForCausalLM.*check the model's config\.json", refuse_config),
    # of a server that has one of its own; without it the kit's, which is loaded while the server starts, tells of it
    "damaged tokenizer": Fault(
        Cause.MODEL,
        "JSONDecodeError.*copy it again",
        cut_tokenizer,
        settings=dataclasses.replace(WITHOUT_WORKER, own_tokenizer=True),
    ),
    "no shared memory": Fault(
        Cause.DISK_FULL,
        "Insufficient space in /dev/shm.*make /dev/shm larger",
        commands=("mount -t tmpfs -o size=1m tmpfs /dev/shm",),
        settings=WITH_WORKER,
    ),
    "no disk at all": Fault(
        Cause.DISK_FULL,
        "No usable temporary directory.*make room",
        # /tmp holds the model as well, but the server does not come as far as to look for it
        commands=(full_disk(Path("/tmp")), full_disk(Path("/var/tmp")), "cd /tmp"),
    ),
}


@dataclasses.dataclass(frozen=True)
class Outcome:
    error: str
    incidents: list[Incident]


@pytest.fixture(scope="module")
def outcomes(vllm_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """All the faults at once: a start that fails takes most of the time of one that does not."""
    found: dict[str, Outcome] = {}

    async def start(name: str, fault: Fault, folder: Path) -> None:
        launch = launch_of(vllm_python, folder, in_own_mounts(*fault.commands) if fault.commands else ())
        async with open_server(launch, fault.settings, SUPERVISION) as server:
            with pytest.raises(EngineError) as caught:
                await server.ready()
            found[name] = Outcome(str(caught.value), server.incidents)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for name, fault in FAULTS.items():
                folder = tmp_path_factory.mktemp("vllm")
                save_endless_model(folder / "model", max_position_embeddings=LONG_CONTEXT)
                fault.spoil(folder / "model")
                nursery.start_soon(start, name, fault, folder)

    trio.run(main)
    return found


@pytest.mark.long
@pytest.mark.parametrize("name", FAULTS)
def test_what_no_settings_fix_is_given_up_at_the_first_start(outcomes: dict[str, Outcome], name: str) -> None:
    (incident,) = outcomes[name].incidents
    assert (incident.kind, incident.diagnosis.cause) == (Break.NOT_STARTED, FAULTS[name].cause)
    with pytest.raises(EngineError, match=FAULTS[name].told):
        raise EngineError(outcomes[name].error)
    assert "server.log" in outcomes[name].error


def test_weights_that_are_cut_off_are_told_before_anything_is_started(tmp_path: Path) -> None:
    save_endless_model(tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])

    async def main() -> None:
        async with open_vllm(
            launch_of(Path(sys.executable), tmp_path), VllmConfig(settings=WITHOUT_WORKER, supervisor=SUPERVISION)
        ):
            pytest.fail("it cannot open")

    with pytest.raises(InputError, match=r"model\.safetensors is damaged: expected \d+ bytes, it has \d+; copy"):
        trio.run(main)
    assert not (tmp_path / "scratch").exists()


def test_the_damage_that_the_server_has_to_find_is_one_that_we_do_not(tmp_path: Path) -> None:
    save_endless_model(tmp_path / "model")
    damage_header(tmp_path / "model")
    check_model_folder(tmp_path / "model")


@pytest.fixture(scope="module")
def portal() -> Iterator[Portal]:
    with open_portal() as portal:
        yield portal


@pytest.fixture(scope="class")
def small(vllm_python: Path, portal: Portal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """A server of whose cache only a quarter fits into the memory that there is."""
    if not MEMORY.is_file():
        pytest.skip(f"the server does not look for its memory in {MEMORY} here")
    folder = tmp_path_factory.mktemp("vllm")
    save_endless_model(folder / "model", num_hidden_layers=4, num_key_value_heads=2)
    free = {"MemTotal": 8 << 20, "MemFree": 20 << 10, "Active(file)": 0, "Inactive(file)": 0, "SReclaimable": 0}
    page = folder / "meminfo"
    page.write_text("".join(f"Node 0 {name}: {kilobytes} kB\n" for name, kilobytes in free.items()))
    wrapped = in_own_mounts(f"mount --bind {shlex.quote(str(page))} {MEMORY}")
    settings = dataclasses.replace(WITHOUT_WORKER, max_model_len=4096, kv_cache_bytes=64 << 20, max_num_seqs=32)
    with portal.holding(open_real(vllm_python, folder, settings, wrapped=wrapped)) as made:
        yield made
    assert not processes()


@pytest.mark.long
class TestAServerThatHasToTakeLess:
    def test_goes_down_the_ladder_until_it_fits_and_serves(self, portal: Portal, small: Real) -> None:
        assert [incident.kind for incident in small.server.incidents] == [Break.NOT_STARTED] * 2
        assert {incident.diagnosis.cause for incident in small.server.incidents} == {Cause.OUT_OF_MEMORY}
        assert (small.server.settings.kv_cache_bytes, small.server.settings.max_num_seqs) == (16 << 20, 8)
        assert portal.call(small.reading).num_tokens == CACHE_TOKENS == (16 << 20) // TOKEN_BYTES
        sample = portal.call(small.sample, SamplingParams(temperature=0, max_new_tokens=50))
        assert (sample.finish, sample.num_tokens) == (FinishReason.LENGTH, 50)

    def test_preempts_attempts_that_no_gate_holds_back(self, portal: Portal, small: Real) -> None:
        """Sixteen long prompts, of which eight may run at once and the cache holds five to their end."""

        async def num_preempted(config: ClientConfig) -> int:
            before = (await small.reading()).num_preempted
            samples: list[Sample] = []
            async with (
                open_openai(small.server, tokenizer=tiny.tokenizer(), config=config) as engine,
                trio.open_nursery() as nursery,
            ):

                async def one(place: int) -> None:
                    params = SamplingParams(seed=place, temperature=1.0, max_new_tokens=500)
                    prompt = tiny.chat(chr(ord("a") + place) * 900)  # none is the beginning of another
                    samples.append(await engine.sample(prompt, params, timeout_s=PATIENCE_S))

                for place in range(16):
                    nursery.start_soon(one, place)
            assert [sample.num_tokens for sample in samples] == [500] * 16
            return (await small.reading()).num_preempted - before

        num_open = portal.call(num_preempted, ClientConfig(poll_s=None))
        num_held = portal.call(num_preempted, ClientConfig(poll_s=0.05, cache_high=0.5))
        log.info("preempted: %d without the gate, %d with it", num_open, num_held)
        assert num_open > 0
        assert num_held == 0
        assert len(small.server.incidents) == 2


@pytest.fixture(scope="class")
def crowded(vllm_python: Path, portal: Portal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """A server with a worker, where neither log nor caches nor the current folder take a byte."""
    folder = tmp_path_factory.mktemp("vllm")
    save_endless_model(folder / "model", max_position_embeddings=LONG_CONTEXT)
    scratch = folder / "scratch"
    scratch.mkdir()
    (scratch / "server.log").symlink_to("/dev/full")
    wrapped = in_own_mounts(full_disk(scratch), f"cd {shlex.quote(str(scratch))}")
    with portal.holding(open_real(vllm_python, folder, WITH_WORKER, wrapped=wrapped)) as made:
        yield made
    assert not processes()


@pytest.mark.long
class TestAServerOnAFullDisk:
    def test_serves(self, portal: Portal, crowded: Real) -> None:
        sample = portal.call(crowded.sample, SamplingParams(temperature=0, max_new_tokens=50))
        assert (sample.finish, sample.num_tokens) == (FinishReason.LENGTH, 50)
        assert Path(crowded.process("EngineCore").cwd()) == crowded.scratch
        assert crowded.server.incidents == []

    def test_is_replaced_when_its_worker_is_killed(self, portal: Portal, crowded: Real) -> None:
        check_struck(portal.call(struck, crowded, "Worker", signal.SIGKILL))
