"""How one vLLM server is run: its settings in, its command line and environment out; pure.

The flags are those of vLLM 0.19 to 0.33. Off by default: speculative decoding (on MXFP4 models it gave wrong or empty
texts: https://github.com/vllm-project/vllm/issues 26328, 30401 and 27626), the model's own sampling defaults (Qwen2.5's
would add a repetition penalty; hence `--generation-config vllm`), and a log line for each request.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kit.config import replaced
from kit.errors import check_fields
from kit.models.recognition import FAMILIES
from kit.sampling import CONFIDENCE_TOP_K

MODEL_NAME = "model"
"""What the served model is called in requests."""
HOST = "127.0.0.1"
MOST_LOGPROBS = CONFIDENCE_TOP_K
"""Of one token, that anything in the kit reads; it is vLLM's own limit, too."""

# What a child needs of ours: where programs and drivers are. PYTHONPATH stays out, since by it Kaggle's packages would
# come before those of vLLM's environment.
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "LD_LIBRARY_PATH")
_KEPT_PREFIXES = ("CUDA_", "NVIDIA_", "NCCL_", "TIKTOKEN_")
_INTERNAL_PORT_OFFSET = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Speculation:
    """Speculative decoding. method: in vLLM's word (`ngram`, `eagle3`, ...). model: the draft's folder, or empty."""

    method: str
    num_tokens: int
    model: str = ""

    def __post_init__(self) -> None:
        check_fields(self, (("method", bool(self.method), "not empty"), ("num_tokens", self.num_tokens >= 1, ">= 1")))

    def as_json(self) -> str:
        """As `--speculative-config` takes it."""
        config = {"method": self.method, "num_speculative_tokens": self.num_tokens}
        if self.model:
            config["model"] = self.model
        return json.dumps(config, sort_keys=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What a vLLM server is told.

    max_model_len: tokens of prompt and text together; auto: the model's own context, or as much of it as fits into
        memory, which vLLM finds out itself. max_num_seqs: attempts that decode at once.
    max_num_batched_tokens: of one step; None leaves it to vLLM.
    memory_share: of the GPU's memory, weights included, in (0, 1). kv_cache_bytes: a fixed cache instead, which the
        CPU build needs: its default asks for 92 % of a NUMA node.
    dtype, quantization: as vLLM names them; quantization None takes what the checkpoint says.
    kv_cache_dtype: fp8 halves the cache.
    prefix_caching: turns of one attempt, and attempts at one problem, share their beginning.
    eager: no CUDA graphs: slower, and saves memory and a minute of the start.
    stream_interval: tokens a streamed piece; more of them cost the server less (benchmarks/vllm_client.py).
    num_logprobs: likeliest tokens told of each token, the one setting of it; None: as many as the votes' weighing reads
        (kit.voting.weights). Each costs the API server, which one thread serves, more than the token itself.
    own_tokenizer: whether the server loads one; the kit sends ids and reads ids, and without one the API server takes
        half the time for a token. tensor_parallel_size: GPUs that share the model;
        kit.recipes.vllm takes as many as divide its heads.
    omp_threads: of the CPU build; without a limit 0.32 made 15 tokens a second instead of 550. None on a GPU.
    extra_args: flags that have no field here. extra_environment: variables likewise.
    Raises: InputError for a value outside its range.
    """

    max_model_len: int | Literal["auto"] = "auto"
    max_num_seqs: int = 64
    max_num_batched_tokens: int | None = None
    memory_share: float = 0.92
    kv_cache_bytes: int | None = None
    dtype: str = "auto"
    quantization: str | None = None
    kv_cache_dtype: Literal["auto", "fp8"] = "auto"
    prefix_caching: bool = True
    eager: bool = False
    speculation: Speculation | None = None
    stream_interval: int = 1
    num_logprobs: int | None = None
    own_tokenizer: bool = False
    tensor_parallel_size: int = 1
    omp_threads: int | None = None
    extra_args: tuple[str, ...] = ()
    extra_environment: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        batched, cache = self.max_num_batched_tokens, self.kv_cache_bytes
        check_fields(
            self,
            (
                ("max_model_len", self.max_model_len == "auto" or self.max_model_len >= 1, ">= 1, or auto"),
                ("max_num_seqs", self.max_num_seqs >= 1, ">= 1"),
                ("max_num_batched_tokens", batched is None or batched >= 1, ">= 1, or None"),
                ("memory_share", math.isfinite(self.memory_share) and 0 < self.memory_share < 1, "in (0, 1)"),
                ("kv_cache_bytes", cache is None or cache >= 1 << 20, ">= 1 MiB, or None"),
                ("stream_interval", self.stream_interval >= 1, ">= 1"),
                ("num_logprobs", self.num_logprobs is None or self.num_logprobs >= 0, ">= 0, or None"),
                ("tensor_parallel_size", self.tensor_parallel_size >= 1, ">= 1"),
                ("omp_threads", self.omp_threads is None or self.omp_threads >= 1, ">= 1, or None"),
            ),
        )


def command(settings: ServerSettings, *, python: Path, model: Path, port: int) -> tuple[str, ...]:
    """The server's command line.

    The module rather than `vllm serve`: the CPU build lacks the package data which that command reads.
    `-I`: neither Python's variables nor the user's packages nor the current folder are looked at.
    """
    arguments = [
        *(str(python), "-I", "-u", "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(model), "--served-model-name", MODEL_NAME),
        *("--host", HOST, "--port", str(port)),
        *("--generation-config", "vllm", "--disable-uvicorn-access-log"),
        *("--dtype", settings.dtype),
        *("--max-model-len", str(settings.max_model_len)),
        *("--max-num-seqs", str(settings.max_num_seqs)),
        *("--max-logprobs", str(MOST_LOGPROBS if settings.num_logprobs is None else settings.num_logprobs)),
        *("--tensor-parallel-size", str(settings.tensor_parallel_size)),
        "--enable-prefix-caching" if settings.prefix_caching else "--no-enable-prefix-caching",
    ]
    if settings.kv_cache_bytes is not None:
        arguments += ["--kv-cache-memory-bytes", str(settings.kv_cache_bytes)]
    else:
        arguments += ["--gpu-memory-utilization", f"{settings.memory_share:g}"]
    if settings.max_num_batched_tokens is not None:
        arguments += ["--max-num-batched-tokens", str(settings.max_num_batched_tokens)]
    if settings.quantization is not None:
        arguments += ["--quantization", settings.quantization]
    if settings.kv_cache_dtype != "auto":
        arguments += ["--kv-cache-dtype", settings.kv_cache_dtype]
    if settings.eager:
        arguments += ["--enforce-eager"]
    if settings.speculation is not None:
        arguments += ["--speculative-config", settings.speculation.as_json()]
    if not settings.own_tokenizer:
        arguments += ["--skip-tokenizer-init"]
    if settings.stream_interval > 1:
        arguments += ["--stream-interval", str(settings.stream_interval)]
    return (*arguments, *settings.extra_args)


def environment(settings: ServerSettings, ours: Mapping[str, str], *, port: int, cache_folder: Path) -> dict[str, str]:
    """The server's variables: the few of `ours` that it needs, and no network.

    port: of the server; vLLM's own sockets are told to begin a hundred above, or they could take one of Kaggle's.
    """
    kept = {name: value for name, value in ours.items() if name in _KEPT_VARIABLES or name.startswith(_KEPT_PREFIXES)}
    told = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_CACHE_ROOT": str(cache_folder),
        "VLLM_HOST_IP": HOST,
        "VLLM_PORT": str(port + _INTERNAL_PORT_OFFSET),
    }
    if settings.omp_threads is not None:
        told["OMP_NUM_THREADS"] = str(settings.omp_threads)
    return {**kept, **told, **dict(settings.extra_environment)}


CPU = ServerSettings(
    max_num_seqs=16,
    kv_cache_bytes=64 << 20,
    dtype="float32",
    eager=True,
    omp_threads=1,
    # A prompt that is read in chunks kills the CPU build if its attempt has a seed ("CPU Generator does not use
    # offset"): a long prompt, several at once, or a replayed attempt.
    extra_args=("--no-enable-chunked-prefill",),
    extra_environment=(("TORCHDYNAMO_DISABLE", "1"),),  # else the sampler is compiled: 21 s at the first request
)
"""On a CPU; the cache is enough for the shipped toy, and for any other model kit.recipes.vllm makes it larger."""

PRESETS: Mapping[str, ServerSettings] = {
    "cpu": CPU,
    **{each.preset.name: replaced(ServerSettings(), each.preset.settings) for each in FAMILIES if each.preset},
}
"""By the names of `engine.vllm.preset`; those of model families stand in kit.models."""
