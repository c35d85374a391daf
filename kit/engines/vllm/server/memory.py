"""What a server's settings mean in memory: weights, cache, and how many attempts fit; arithmetic only.

In: a model's shape and the settings. Out: bytes, and cells of a table. What vLLM takes besides (activations, CUDA
graphs, the CUDA context) is an allowance, not a measurement; vLLM measures it at start and gives the cache the rest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.engines.vllm.server.settings import ServerSettings
from kit.errors import InputError, MissingError, check_fields

GIB = 1 << 30
H100_BYTES = int(79.1 * GIB)  # as CUDA reports it
_OVERHEAD_BYTES = 3 * GIB  # activations of a batch and CUDA graphs; eager saves about a third
_OVERHEAD_EAGER_BYTES = 2 * GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """What of a model fills memory.

    weight_bytes: as stored. num_full_layers: that keep every position; num_sliding_layers: that keep the last
    `sliding_tokens`. num_kv_heads, head_size: of one layer. dtype_bytes: of a cached number, unquantised.
    Raises: InputError for a value outside its range.
    """

    weight_bytes: int
    num_full_layers: int
    num_kv_heads: int
    head_size: int
    num_sliding_layers: int = 0
    sliding_tokens: int = 0
    dtype_bytes: int = 2

    def __post_init__(self) -> None:
        least = {"weight_bytes": 0, "num_full_layers": 1, "num_kv_heads": 1, "head_size": 1, "dtype_bytes": 1}
        check_fields(self, [(name, getattr(self, name) >= low, f">= {low}") for name, low in least.items()])

    def cache_bytes(self, num_tokens: int, *, is_fp8: bool) -> int:
        """Of one attempt with so many tokens, prompt included: keys and values of every layer."""
        layer_token = 2 * self.num_kv_heads * self.head_size * (1 if is_fp8 else self.dtype_bytes)
        sliding = min(num_tokens, self.sliding_tokens) * self.num_sliding_layers
        return layer_token * (num_tokens * self.num_full_layers + sliding)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """Bytes of a device as they will be used. attempt_bytes: the cache of one attempt of max_model_len tokens."""

    device_bytes: int
    weight_bytes: int
    overhead_bytes: int
    cache_bytes: int
    attempt_bytes: int
    max_model_len: int
    max_num_seqs: int

    @property
    def num_whole_attempts(self) -> float:
        """How many attempts fit that all grow to max_model_len."""
        return self.cache_bytes / self.attempt_bytes

    @property
    def fits(self) -> bool:
        """Whether one attempt of max_model_len does; vLLM refuses to start where it does not."""
        return self.num_whole_attempts >= 1

    @property
    def cells(self) -> tuple[str, ...]:
        """For a table with HEADINGS; sizes in GiB."""
        sizes = (self.device_bytes, self.weight_bytes, self.overhead_bytes, self.cache_bytes, self.attempt_bytes)
        return (
            *(f"{size / GIB:.2f}" for size in sizes),
            str(self.max_model_len),
            f"{self.num_whole_attempts:.1f} of {self.max_num_seqs}",
            "fits" if self.fits else "DOES NOT FIT: shorten max_model_len, or take FP8 weights or cache",
        )


HEADINGS = ("card", "weights", "other", "cache", "attempt", "tokens", "at once", "verdict")
"""Of MemoryPlan.cells: the device, what fills it (`other` is an allowance), one attempt's cache at so many tokens, and
how many such fit, of those that decode at once."""


def plan(shape: ModelShape, settings: ServerSettings, *, device_bytes: int) -> MemoryPlan:
    """Share a device's memory out as vLLM would.

    FP8 of a checkpoint stored in 16 bits halves its weights; any other quantisation is in the stored size already.
    """
    gpus = settings.tensor_parallel_size
    is_quantised_on_load = settings.quantization == "fp8" and shape.dtype_bytes == 2
    weights = shape.weight_bytes // (2 if is_quantised_on_load else 1)
    overhead = (_OVERHEAD_EAGER_BYTES if settings.eager else _OVERHEAD_BYTES) * gpus
    budget = int(device_bytes * gpus * settings.memory_share)
    cache = settings.kv_cache_bytes if settings.kv_cache_bytes is not None else max(0, budget - weights - overhead)
    return MemoryPlan(
        device_bytes=device_bytes * gpus,
        weight_bytes=weights,
        overhead_bytes=overhead,
        cache_bytes=cache,
        attempt_bytes=shape.cache_bytes(settings.max_model_len, is_fp8=settings.kv_cache_dtype == "fp8"),
        max_model_len=settings.max_model_len,
        max_num_seqs=settings.max_num_seqs,
    )


def read_shape(folder: Path) -> ModelShape:
    """The shape of a model folder in Hugging Face's layout.

    Raises: MissingError, InputError naming what its config.json lacks.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingError(f"{path} is missing; expected a model folder") from error
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); copy it again") from error
    try:
        return _shape(config, weight_bytes=sum(file.stat().st_size for file in folder.glob("*.safetensors")))
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise InputError(f"{path} does not describe a transformer ({error!r}); copy it again") from error


def _shape(config: dict[str, Any], *, weight_bytes: int) -> ModelShape:
    num_layers, num_heads = config["num_hidden_layers"], config["num_attention_heads"]
    kinds = config.get("layer_types") or ["full_attention"] * num_layers
    num_sliding = sum(kind == "sliding_attention" for kind in kinds)
    dtype = str(config.get("dtype") or config.get("torch_dtype") or "bfloat16")
    return ModelShape(
        weight_bytes=weight_bytes,
        num_full_layers=num_layers - num_sliding,
        num_kv_heads=config.get("num_key_value_heads") or num_heads,
        head_size=config.get("head_dim") or config["hidden_size"] // num_heads,
        num_sliding_layers=num_sliding,
        sliding_tokens=config.get("sliding_window") or 0,
        dtype_bytes=4 if dtype.endswith("float32") else 2,
    )


# The published config.json of each, and the size of its weights.
GPT_OSS_120B = ModelShape(
    weight_bytes=65_280_000_000,  # peers.md 1.4
    num_full_layers=18,
    num_sliding_layers=18,
    sliding_tokens=128,
    num_kv_heads=8,
    head_size=64,
)
QWEN3_30B_A3B = ModelShape(weight_bytes=61_064_000_000, num_full_layers=48, num_kv_heads=4, head_size=128)
QWEN25_MATH_7B = ModelShape(weight_bytes=15_231_000_000, num_full_layers=28, num_kv_heads=4, head_size=128)

SHAPES = {
    "gpt-oss-120b-h100": GPT_OSS_120B,
    "qwen3-30b-h100": QWEN3_30B_A3B,
    "qwen2.5-math-7b-h100": QWEN25_MATH_7B,
}
"""By preset, for those whose model need not be at hand."""
