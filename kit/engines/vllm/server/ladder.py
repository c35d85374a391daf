"""From settings that broke to safer ones: speculative decoding off, eager, less memory, a smaller context. Pure.

What the server itself says it needs comes before all. Else the cause decides which rung comes first. A rung that
changes nothing is skipped. The lowest settings may be retried.
Source of the order, what broke on others: https://github.com/vllm-project/vllm/issues 26328, 30401 and 32802 (EAGLE-3
on MXFP4), 34259 and 33572 (kernels); Triton's MoE ran out of memory by 46 MB at a share of 0.98
(https://github.com/AndreasBis/AIMO3-Solution).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kit.engines.vllm.server.diagnosis import Cause, Diagnosis
from kit.engines.vllm.server.settings import ServerSettings

MIN_CONTEXT = 2048
_MEMORY_STEP = 0.06
_MIN_MEMORY_SHARE = 0.5
_MIN_CACHE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Rung:
    """Safer settings, and what they give up, in a few words."""

    settings: ServerSettings
    given_up: str


def without_speculation(settings: ServerSettings) -> Rung | None:
    """No speculative decoding."""
    if settings.speculation is None:
        return None
    return Rung(dataclasses.replace(settings, speculation=None), "speculative decoding off")


def eager(settings: ServerSettings) -> Rung | None:
    """No CUDA graphs and no compiling."""
    if settings.eager:
        return None
    return Rung(dataclasses.replace(settings, eager=True), "no CUDA graphs")


def less_memory(settings: ServerSettings) -> Rung | None:
    """A smaller share of the device or a smaller cache, and fewer attempts at once."""
    num_seqs = max(1, settings.max_num_seqs // 2)
    if settings.kv_cache_bytes is not None:
        num_bytes = settings.kv_cache_bytes // 2
        if num_bytes < _MIN_CACHE_BYTES:
            return None
        lower = dataclasses.replace(settings, kv_cache_bytes=num_bytes, max_num_seqs=num_seqs)
        return Rung(lower, f"a cache of {num_bytes >> 20} MiB, {num_seqs} attempts at once")
    share = round(settings.memory_share - _MEMORY_STEP, 4)
    if share < _MIN_MEMORY_SHARE:
        return None
    lower = dataclasses.replace(settings, memory_share=share, max_num_seqs=num_seqs)
    return Rung(lower, f"{share:.0%} of the memory, {num_seqs} attempts at once")


def smaller_context(settings: ServerSettings) -> Rung | None:
    """Half the context, so that a smaller cache holds a whole attempt."""
    if settings.max_model_len == "auto":  # vLLM has made it as small as it must be
        return None
    length = settings.max_model_len // 2
    if length < MIN_CONTEXT:
        return None
    return Rung(dataclasses.replace(settings, max_model_len=length), f"a context of {length} tokens")


Step = Callable[[ServerSettings], Rung | None]

_DEFAULT: tuple[Step, ...] = (without_speculation, eager, less_memory, smaller_context)
_ORDER: Mapping[Cause, tuple[Step, ...]] = {
    Cause.OUT_OF_MEMORY: (without_speculation, less_memory, eager, smaller_context),
    # less memory would make it worse
    Cause.CACHE_TOO_SMALL: (without_speculation, smaller_context, eager),
    Cause.CONTEXT_TOO_LONG: (smaller_context,),
}


def as_told(settings: ServerSettings, diagnosis: Diagnosis) -> Rung | None:
    """What the server itself says would do: a cache as large as it needs, or else the context that fits; or None."""
    cache, needed, fitting = settings.kv_cache_bytes, diagnosis.needed_bytes, diagnosis.fitting_tokens
    if cache is not None and needed is not None and needed > cache:
        lower = dataclasses.replace(settings, kv_cache_bytes=needed)
        return Rung(lower, f"a cache of {needed >> 20} MiB, as it asked for")
    length = settings.max_model_len
    if cache is None and fitting is not None and length != "auto" and MIN_CONTEXT <= fitting < length:
        return Rung(dataclasses.replace(settings, max_model_len=fitting), f"a context of {fitting} tokens, which fits")
    return None


def next_rung(settings: ServerSettings, cause: Cause) -> Rung | None:
    """The next safer settings after a break of this cause; None without any."""
    for step in _ORDER.get(cause, _DEFAULT):
        rung = step(settings)
        if rung is not None:
            return rung
    return None
