"""What a server's log says: why it did not start or broke, with the fix; or how large its cache is. Pure.

The patterns are lines that vLLM 0.19 to 0.32, torch, CUDA and Linux really write. The tests keep golden logs of those
that the CPU build could be made to write.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Cause(Enum):
    """What broke a server."""

    OUT_OF_MEMORY = "out of memory"  # of the device, or of the machine
    CACHE_TOO_SMALL = "no room for the cache"  # of one attempt of max_model_len
    CONTEXT_TOO_LONG = "context beyond the model's"
    SPECULATION = "speculative decoding"
    PORT_TAKEN = "port taken"
    DISK_FULL = "disk full"
    MODEL = "model damaged or absent"
    ENVIRONMENT = "environment incomplete"
    SETTINGS = "settings refused"
    DEVICE = "device broken"
    ENGINE_DIED = "engine process died"
    UNKNOWN = "unknown"

    @property
    def is_final(self) -> bool:
        """Whether no other settings can help."""
        return self in {Cause.MODEL, Cause.ENVIRONMENT, Cause.DISK_FULL}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """line: the line of the log that tells it; empty for Cause.UNKNOWN.

    needed_bytes: of the cache, where the server says what it needs; fitting_tokens: the context that would fit.
    """

    cause: Cause
    fix: str
    line: str = ""
    needed_bytes: int | None = None
    fitting_tokens: int | None = None

    def __str__(self) -> str:
        told = f": {self.line}" if self.line else ""
        return f"{self.cause.value}{told}; {self.fix}"


@dataclass(frozen=True, slots=True)
class Capacity:
    """The cache that vLLM found room for. concurrency: attempts of max_model_len tokens that fit at once."""

    num_tokens: int
    max_model_len: int
    concurrency: float

    def __str__(self) -> str:
        return f"a cache of {self.num_tokens:,} tokens, {self.concurrency:g} attempts of {self.max_model_len:,} at once"


@dataclass(frozen=True, slots=True)
class _Sign:
    pattern: re.Pattern[str]
    cause: Cause
    fix: str


def _sign(pattern: str, cause: Cause, fix: str) -> _Sign:
    return _Sign(re.compile(pattern, re.IGNORECASE), cause, fix)


# The most telling first: a run out of memory also ends in "Engine core initialization failed".
_SIGNS = (
    _sign(
        r"No space left on device|Disk quota exceeded|\[Errno 28\]",
        Cause.DISK_FULL,
        "free disk where the cache and temporary folders of the server are",
    ),
    _sign(
        r"No usable temporary directory found",  # Python's, where it can write to none of them
        Cause.DISK_FULL,
        "make room in one of the folders that the line names",
    ),
    _sign(
        r"Insufficient space in /dev/shm",
        Cause.DISK_FULL,
        "make /dev/shm larger, or free what lies in it: the server's processes share memory there",
    ),
    _sign(
        r"SafetensorError|HeaderTooLarge|MetadataIncompleteBuffer|InvalidHeader|incomplete metadata|"
        r"Unable to load weights|Cannot find any model weights|not a valid JSON file|"
        r"does not appear to have a file named config\.json|Repo id must|Invalid repository ID|"
        r"Can't load (the configuration|tokenizer)|No such file or directory: '[^']*\.(safetensors|json)'|"
        r"weights were not initialized from checkpoint|There is no module or parameter named|"
        r"The size of tensor a \(\d+\) must match|JSONDecodeError",  # the tokenizer's files are read as JSON
        Cause.MODEL,
        "check the model's folder against its manifest and copy it again",
    ),
    _sign(
        r"Value error, .*(Model architectures .* (not supported|failed to be inspected)|"
        r"does not recognize this architecture|Should have a `model_type` key)",
        Cause.MODEL,
        "check the model's config.json against its manifest, or take an environment whose vLLM knows this model",
    ),
    _sign(
        r"ModuleNotFoundError|ImportError: |PackageNotFoundError|undefined symbol|cannot open shared object file|"
        r"version `GLIBC|Failed to import .*_C\b",
        Cause.ENVIRONMENT,
        "make the server's environment anew from its lock",
    ),
    _sign(
        r"(larger|greater) than the derived max_model_len|max_model_len \(\d+\) is greater",
        Cause.CONTEXT_TOO_LONG,
        "set max_model_len to what the model's config.json allows",
    ),
    _sign(
        r"larger than the available KV cache memory|estimated maximum model length|No available memory for the cache|"
        r"larger than the maximum number of tokens that can be stored in KV cache",
        Cause.CACHE_TOO_SMALL,
        "shorten max_model_len, or give the cache more memory",
    ),
    _sign(
        r"CUDA out of memory|OutOfMemoryError|cudaErrorMemoryAllocation|DefaultCPUAllocator: (can't|not enough)|"
        r"Cannot allocate memory|MemoryError|Free memory on device|std::bad_alloc|exceeds? (the )?available .*memory|"
        r"not enough memory|is less than requested memory|larger than the (total|available) .*memory|"
        r"insufficient (cpu |host )?memory",
        Cause.OUT_OF_MEMORY,
        "lower memory_share, the cache or max_num_seqs, and see that nothing else uses the device",
    ),
    _sign(
        r"address already in use|\[Errno 98\]",
        Cause.PORT_TAKEN,
        "another port is taken for the next start",
    ),
    _sign(
        r"unrecognized arguments|error: argument |invalid choice|validation errors? for \w*Config|^\s*Value error, ",
        Cause.SETTINGS,
        "fix the setting that the line names",
    ),
    _sign(
        r"(Error|assert|exception).*(speculat|eagle|draft model|ngram)|"
        r"(speculat|eagle|draft model).*(Error|fail|not supported)",
        Cause.SPECULATION,
        "switch speculative decoding off",
    ),
    _sign(
        r"CUDA error|no CUDA-capable device|NVIDIA driver|Xid|uncorrectable ECC|Device string must not be empty|"
        r"Failed to infer device type",
        Cause.DEVICE,
        "see that a GPU is there and healthy, and that the environment's build is for it",
    ),
    _sign(
        r"EngineDeadError|Engine core proc \S+ died|Engine core initialization failed|WorkerProc hit an exception",
        Cause.ENGINE_DIED,
        "it is started again; the log before this line tells more",
    ),
)
_MAX_LINE = 300
# One line in 0.32, two in 0.19. Source: vLLM, v1/core/kv_cache_utils.py.
_CAPACITY = re.compile(
    r"KV cache size: (\d[\d,]*) tokens.*?\bMaximum concurrency for (\d[\d,]*) tokens per request: (\d+\.?\d*)x",
    re.DOTALL,
)
# Source: vLLM 0.32, v1/core/kv_cache_utils.py, which writes two places of GiB.
_NEEDED = re.compile(r"\((\d+\.?\d*) GiB KV cache is needed")
_FITTING = re.compile(r"estimated maximum model length is (\d+)")
_ROUNDED_GIB = 0.01
_ROOT = re.compile(r"^\((Worker|EngineCore)\S*[^)]*\) ERROR .*\] *[\w.]*(Error|Exception): \S")
_LATER = re.compile(r"initialization failed|EngineDeadError|hit an exception|See root cause")
_PREFIX = re.compile(r"^(\([^)]*\) )?((ERROR|WARNING|INFO|DEBUG) \S+ \S+ \[[^\]]*\] )?")


def diagnose(log: str) -> Diagnosis:
    """The most telling line of a log; of several with the same sign, the last."""
    lines = log.splitlines()
    for sign in _SIGNS:
        for line in reversed(lines):
            if sign.pattern.search(line) and not line.lstrip().startswith(("File ", "raise ")):
                told = _root(lines) if sign.cause is Cause.ENGINE_DIED else ""
                needed, fitting = _NEEDED.search(line), _FITTING.search(line)
                return Diagnosis(
                    sign.cause,
                    sign.fix,
                    told or _shown(line),
                    needed_bytes=math.ceil((float(needed[1]) + _ROUNDED_GIB) * 2**30) if needed else None,
                    fitting_tokens=int(fitting[1]) if fitting else None,
                )
    return Diagnosis(Cause.UNKNOWN, "read the log")


def read_capacity(log: str) -> Capacity | None:
    """What the last start in a log tells of its cache; None where it tells nothing."""
    found = _CAPACITY.findall(log)
    if not found:
        return None
    num_tokens, max_model_len, concurrency = found[-1]
    return Capacity(int(num_tokens.replace(",", "")), int(max_model_len.replace(",", "")), float(concurrency))


def _root(lines: Sequence[str]) -> str:
    """The first error of one of the engine's processes, or nothing; the server's own errors come later."""
    return next((_shown(line) for line in lines if _ROOT.search(line) and not _LATER.search(line)), "")


def _shown(line: str) -> str:
    return _PREFIX.sub("", line.strip())[:_MAX_LINE]
