"""A model as the user names it in; out, once it is found and checked without loading it, an engine."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kit.assets import TINY_MODEL
from kit.engines.openai.choice import OpenAIChoice
from kit.errors import InputError, did_you_mean
from kit.sampling import CONFIDENCE_TOP_K

if TYPE_CHECKING:
    from kit.evaluation.head import EvalModel
    from kit.evaluation.plan import EvalPlan
    from kit.recipes.attempts import EngineConfig
    from kit.sampling import Engine

log = logging.getLogger(__name__)

ENGINES = ("transformers", "trm", "vllm", "vllm-trm")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """What the user names.

    model: a folder or a hub's id; None: the TRM's backbone, what the server has, or else the shipped toy. engine: one
    of ENGINES or a server's address; None: as the rest asks for. server: what else is to be known of that server.
    settings: of the engine, such as `engine.dtype=float32`.
    """

    model: str | None = None
    trm: Path | None = None
    adapter: Path | None = None
    engine: str | None = None
    server: OpenAIChoice = field(default_factory=OpenAIChoice)
    settings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """A model and how it is to be run.

    config: of the engine, with `engine` as its kind unless that is an address. only_raw: whether it completes raw texts
    and no chats. num_logprobs: likeliest tokens that a server is asked for with each token, which cost time.
    """

    model: EvalModel
    config: EngineConfig
    depths: tuple[int, ...]
    only_raw: bool
    num_logprobs: int
    server: OpenAIChoice

    @property
    def is_remote(self) -> bool:
        """Whether somebody else's server runs the model."""
        return is_address(self.model.engine)


def is_address(engine: str) -> bool:
    """Whether an engine is named by the address of its server."""
    return engine.startswith(("http://", "https://"))


def found_model(choice: ModelChoice, plan: EvalPlan) -> FoundModel:
    """The model that is named, for what the plan asks of it.

    Where a server is named and no model, the server is asked what it calls its own; nothing else is known of it.
    Raises: InputError for a choice that does not go together, an unknown engine, or a model without chat template that
        is to be asked in chats; MissingError for folders or a vLLM that are not there; as `open_remote` for a server.
    """
    from kit.engines.text.model_folder import check_chat_template, check_model_folder, check_tokenizer_files
    from kit.evaluation.head import EvalModel

    depths = [depth for depth in plan.depths if depth is not None]
    engine = choice.engine or ("trm" if choice.trm else "transformers")
    _check_together(engine, choice, depths)
    server = dataclasses.replace(choice.server, url=engine) if is_address(engine) else choice.server
    if is_address(engine) and choice.model is None:
        name, folder = _served_name(server, plan), None
    else:
        name, folder = _model_of(choice)
        check_model_folder(folder)
        check_tokenizer_files(folder)
        if plan.style.is_chat:
            check_chat_template(folder)
        _check_on_top(choice, folder)
    config = _engine_config(engine, choice.settings, depths)
    model = EvalModel(
        name=name,
        folder=folder,
        trm=choice.trm,
        adapter=choice.adapter,
        engine=engine,
        device=config.device,
        dtype=config.dtype,
        num_threads=config.num_threads,
    )
    return FoundModel(
        model=model,
        config=config,
        depths=tuple(depths),
        only_raw=not plan.style.is_chat,
        num_logprobs=CONFIDENCE_TOP_K if plan.keeps_token_stats else 0,
        server=server,
    )


def _check_together(engine: str, choice: ModelChoice, depths: Sequence[int]) -> None:
    if engine not in ENGINES and not is_address(engine):
        hint = did_you_mean(engine, ENGINES) or f"expected {', '.join(ENGINES)}, or http://HOST:PORT"
        raise InputError(f"--engine {engine}: no such engine; {hint}")
    recurses = engine in ("trm", "vllm-trm")
    if recurses and choice.trm is None:
        raise InputError(f"--engine {engine} needs --trm DIR, the recursive model")
    if choice.trm is not None and not recurses:
        raise InputError(f"--trm needs an engine that recurses: --engine trm or vllm-trm, not {engine}")
    if depths and not recurses:
        raise InputError("--depth is for recursive models; give --trm DIR, or leave it out")
    if choice.adapter is not None and engine not in ("transformers", "vllm"):
        raise InputError(f"--adapter needs --engine transformers or vllm, not {engine}")


def _check_on_top(choice: ModelChoice, folder: Path) -> None:
    """Raises: MissingError or InputError for an adapter or a TRM that is not there, or an adapter of another model."""
    if choice.adapter is not None:
        from kit.engines.text.adapter_folder import check_adapter

        check_adapter(choice.adapter, folder)
    if choice.trm is not None:
        from kit.trm.checkpoint import WEIGHTS, check_file, load_config

        load_config(choice.trm)
        check_file(choice.trm, WEIGHTS)


def _model_of(choice: ModelChoice) -> tuple[str, Path]:
    """The model's name for the report, and its folder: the one named, else the TRM's backbone, else the toy."""
    from kit.engines.hub import find_model, is_hub_id

    if choice.model is not None:
        folder = find_model(choice.model)
        is_local = Path(choice.model).expanduser().exists() or not is_hub_id(choice.model)
        return (folder.resolve().name if is_local else choice.model), folder
    if choice.trm is not None:
        from kit.trm.checkpoint import find_backbone

        folder = find_backbone(choice.trm)
        return folder.resolve().name, folder
    if choice.adapter is not None:
        raise InputError("--adapter needs --model, the model that it was trained on")
    return "kit-tiny", TINY_MODEL


def _served_name(server: OpenAIChoice, plan: EvalPlan) -> str:
    """What the server calls its model, which is all that is known of it."""
    import trio

    from kit.engines.openai.opening import served_name

    if not plan.style.is_chat:
        raise InputError(
            f"--prompt {plan.style.value} completes raw texts, which needs the model's tokenizer: --model DIR"
        )
    name = trio.run(served_name, server)
    log.warning(
        "%s: no --model given, so guessed: the server has the model %r and its chat template; weights, tokenizer and "
        "precision are unknown, and the report names none",
        server.base,
        name,
    )
    return name


def _engine_config(engine: str, assignments: Sequence[str], depths: Sequence[int]) -> EngineConfig:
    from kit.config import merged, replaced
    from kit.recipes.choices import engine_changes
    from kit.recipes.recipe_file import chosen
    from kit.recipes.settings import Settings

    choices = chosen(None, assignments)
    if other := [name for name in choices.changes if name != "engine"]:
        raise InputError(f"--set {other[0]}: kit eval takes settings of the engine only, such as engine.dtype=float32")
    with choices.located():
        kind = "transformers" if is_address(engine) else engine
        changes = engine_changes(kind, choices.changes, has_wheels=False)
        settings = replaced(Settings(), merged(changes, {"solver": {"depths": list(depths)}}))
    if settings.engine.kind != kind:
        raise InputError(f"--set engine.kind={settings.engine.kind}: name the engine by --engine")
    return settings.engine


def fitting_batch_size(found: FoundModel, plan: EvalPlan) -> int:
    """How many samples to draw at once where nobody said: on a CPU as many as its memory holds, else the plan's."""
    from kit.cuda import visible_gpus
    from kit.engines.text.model_folder import read_facts
    from kit.evaluation.memory import num_at_once
    from kit.machine_memory import memory_available_bytes

    config, folder = found.config, found.model.folder
    is_on_cpu = config.device == "cpu" or (config.device == "auto" and not visible_gpus())
    if folder is None or config.kind not in ("transformers", "trm") or not is_on_cpu:
        return plan.batch_size
    facts, available_bytes = read_facts(folder), memory_available_bytes()
    fitting = num_at_once(facts, max_new_tokens=plan.sampling.max_new_tokens, available_bytes=available_bytes)
    return fitting or plan.batch_size


@asynccontextmanager
async def open_found(found: FoundModel, *, batch_size: int) -> AsyncIterator[Engine]:
    """The engine, from its first token until it is left.

    Raises: MissingError or InputError for a model that cannot be opened; EngineError for a server that does not answer,
        or where memory runs out.
    """
    import trio

    model = found.model
    if found.is_remote:
        from kit.engines.openai.opening import open_remote

        async with open_remote(found.server, model=model.folder, num_logprobs=found.num_logprobs) as engine:
            yield engine
        return
    with ExitStack() as stack:
        if found.config.kind in ("vllm", "vllm-trm"):
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kit-eval-")))
            load = partial(_load_served, found, scratch)
        else:
            load = partial(_load_here, found, batch_size)
        async with await trio.to_thread.run_sync(load, abandon_on_cancel=True) as opened:
            yield opened


def _load_served(found: FoundModel, scratch: Path) -> AbstractAsyncContextManager[Engine]:
    from kit.recipes.attempts import AttemptsConfig
    from kit.recipes.opening import open_model
    from kit.solver.config import SolverConfig

    model = found.model
    assert model.folder is not None
    if model.trm is not None:
        from kit.trm.checkpoint import check_backbone, load_config

        check_backbone(load_config(model.trm), model.folder)
    attempts = AttemptsConfig(solver=SolverConfig(depths=found.depths), engine=found.config)
    return open_model(
        model.folder.resolve(),
        model.trm,
        attempts,
        adapter=model.adapter,
        python=None,
        scratch=scratch,
        only_raw=found.only_raw,
        num_logprobs=found.num_logprobs,
    )


def _load_here(found: FoundModel, batch_size: int) -> AbstractAsyncContextManager[Engine]:
    from kit.engines.opening import load_engine

    model, config = found.model, found.config
    assert model.folder is not None
    return load_engine(
        model.folder,
        trm=model.trm,
        adapter=model.adapter,
        device=config.device,
        dtype=config.dtype,
        max_batch=batch_size,
        num_threads=config.num_threads,
        depths=found.depths,
    )
