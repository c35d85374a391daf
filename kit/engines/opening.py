"""A model folder in, an engine out: the one way to open a model in this process, for the notebook as for a script.

It loads slowly, in any thread (`load_engine`), or as an async context manager that does so beside the event loop
(`open_engine`). torch and transformers are imported in here and not above. vLLM's server is opened elsewhere
(kit.engines.vllm.server.engine).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import trio

from kit.assets import TINY_MODEL
from kit.engines.text.adapter_folder import check_adapter
from kit.engines.text.model_folder import check_chat_template, check_model_folder
from kit.errors import InputError, MissingError, did_you_mean

if TYPE_CHECKING:
    from kit.engines.transformers.engine import TransformersEngine

log = logging.getLogger(__name__)

Device = Literal["cpu", "cuda", "auto"]
Kind = Literal["transformers", "trm"]


@asynccontextmanager
async def open_engine(
    model: Path | str = TINY_MODEL,
    *,
    kind: Kind | None = None,
    trm: Path | str | None = None,
    adapter: Path | str | None = None,
    device: Device = "auto",
    dtype: str = "auto",
    max_batch: int = 16,
    num_threads: int | None = None,
    depths: Collection[int] = (),
) -> AsyncIterator[TransformersEngine]:
    """The engine over a model folder, loaded in a thread and closed at the end.

    model: in Hugging Face's layout; the shipped toy model if none is named. kind: `trm` where a TRM is named, else
    `transformers`. The rest: as `load_engine`.
    Raises: as `load_engine`; InputError for a kind that is unknown, or does not go with `trm`, and for a model without
        chat template.
    """
    _check_kind(kind, trm)
    check_chat_template(Path(model))
    load = partial(
        load_engine,
        Path(model),
        trm=None if trm is None else Path(trm),
        adapter=None if adapter is None else Path(adapter),
        device=device,
        dtype=dtype,
        max_batch=max_batch,
        num_threads=num_threads,
        depths=depths,
    )
    async with await trio.to_thread.run_sync(load, abandon_on_cancel=True) as engine:
        yield engine


def load_engine(
    model: Path,
    *,
    trm: Path | None = None,
    adapter: Path | None = None,
    device: Device = "auto",
    dtype: str = "auto",
    max_batch: int = 16,
    num_threads: int | None = None,
    depths: Collection[int] = (),
    check_hash: bool = True,
) -> TransformersEngine:
    """The engine over a model folder, with the TRM of a second folder on top if one is named; slow, in any thread.

    adapter: the folder of a LoRA adapter to merge into the model. device, dtype, max_batch: as TransformersEngine takes
    them. num_threads: of torch on the CPU; None leaves torch's own choice. depths: T that calls may ask of a TRM,
    beside the usual. check_hash: whether a TRM's backbone is hashed to see that it is the right one, which reads all of
    it once more.
    Raises: MissingError or InputError naming the file, or the package, that is to blame; EngineError where memory does
        not suffice.
    """
    check_model_folder(model)  # told before torch is imported, which takes seconds
    if trm is not None and adapter is not None:
        raise InputError("a TRM belongs to its backbone as it is; name either a TRM or an adapter")
    if adapter is not None:
        check_adapter(adapter, model)
    try:
        import torch
        import transformers

        from kit.engines.transformers.engine import TransformersEngine
        from kit.engines.transformers.loading import explained_memory
        from kit.engines.trm.engine import MAX_DEPTH, TRMEngine
    except ModuleNotFoundError as error:
        raise MissingError(f"no engine: {error.name} is not installed; pip install 'mathllm-kit[torch]'") from error
    log.info("torch from %s, transformers from %s", torch.__file__, transformers.__file__)
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    with explained_memory():
        if adapter is not None:
            return _load_adapted(model, adapter, device=device, dtype=dtype, max_batch=max_batch)
        if trm is None:
            return TransformersEngine.load(model, device=device, dtype=dtype, max_batch=max_batch)
        return TRMEngine.load(
            trm,
            backbone=model,
            device=device,
            dtype=dtype,
            max_batch=max_batch,
            max_depth=max([MAX_DEPTH, *depths]),
            check_hash=check_hash,
        )


def _load_adapted(model: Path, adapter: Path, *, device: Device, dtype: str, max_batch: int) -> TransformersEngine:
    from kit.engines.text.tokenizer import load_tokenizer
    from kit.engines.transformers.adapter import merge_adapter
    from kit.engines.transformers.engine import TransformersEngine
    from kit.engines.transformers.loading import load_model

    merged = merge_adapter(load_model(model, device=device, dtype=dtype), adapter)
    log.info("the LoRA adapter in %s is merged into the model", adapter)
    return TransformersEngine(merged, load_tokenizer(model), max_batch=max_batch)


def _check_kind(kind: str | None, trm: Path | str | None) -> None:
    kinds = get_args(Kind)
    if kind is not None and kind not in kinds:
        hint = did_you_mean(kind, kinds) or "a vLLM server is opened by kit.engines.vllm.server"
        raise InputError(f"kind must be one of {', '.join(kinds)}, got {kind!r}; {hint}")
    if kind is not None and (kind == "trm") != (trm is not None):
        raise InputError("kind='trm' needs trm=FOLDER, and only that kind takes one")
