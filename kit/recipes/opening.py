"""What a run's settings ask for, opened: the engine, in this process or by a vLLM server, and the sandboxes.

In: folders of a model and a TRM, and the Python of an environment that has vLLM. Out: what is to be entered.
"""

from __future__ import annotations

import dataclasses
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from kit.engines.opening import load_engine
from kit.engines.text.model_folder import check_chat_template
from kit.engines.vllm.server.supervision import OnNews, nobody
from kit.interpreter import Interpreters
from kit.recipes.attempts import AttemptsConfig, EngineConfig, Kind, ToolsConfig
from kit.recipes.choices import check_no_recursion
from kit.recipes.vllm import can_serve, open_served, prepare_server
from kit.sampling import Engine

_AUTO_STARTS = 2  # ten minutes each at the most, by the supervisor's default


def resolved_kind(config: EngineConfig, python: Path | None) -> Kind:
    """What auto stands for, with the environment that was made from wheels."""
    if config.kind != "auto":
        return config.kind
    return "vllm" if can_serve(config.vllm.interpreter(python)) else "transformers"


def as_kind(config: EngineConfig, kind: Kind) -> EngineConfig:
    """The config with what auto stands for; where transformers could take vLLM's place, fewer starts are waited for."""
    choice = config.vllm
    if config.kind == "auto":
        num_starts = min(choice.supervisor.max_failed_starts, _AUTO_STARTS)
        supervisor = dataclasses.replace(choice.supervisor, max_failed_starts=num_starts)
        choice = dataclasses.replace(choice, supervisor=supervisor)
    return dataclasses.replace(config, kind=kind, vllm=choice)


def open_model(
    model: Path,
    trm: Path | None,
    attempts: AttemptsConfig,
    *,
    adapter: Path | None = None,
    python: Path | None,
    scratch: Path,
    only_raw: bool = False,
    num_logprobs: int | None = None,
    on_news: OnNews = nobody,
) -> AbstractAsyncContextManager[Engine]:
    """Load the model, or make ready the server that will, slowly and in any thread.

    trm: the folder of the TRM, for an engine that recurses. adapter: that of a LoRA, for one that does not. python: of
    an environment made from wheels. only_raw: whether raw texts are to be completed and no chats, so that no chat
    template is needed. num_logprobs: likeliest tokens that a server tells of each token; None: as many as the votes
    read. on_news: is told when a server goes and comes back.
    Raises: MissingError, InputError or StorageError naming the file that is to blame; EngineError where memory does not
        suffice.
    """
    config, solver = attempts.engine, attempts.solver
    told = solver.num_logprobs if num_logprobs is None else num_logprobs
    if config.kind == "openai":
        from kit.engines.openai.opening import open_remote  # h11 comes with vLLM, and not every dataset has that

        return open_remote(config.openai, model=model if config.openai.uses_model else None, num_logprobs=told)
    if not only_raw:
        check_chat_template(model)
    check_no_recursion(config.kind, adapter)
    trm = trm if config.recurses else None
    if config.kind not in ("vllm", "vllm-trm"):
        return _load_here(model, trm, attempts, adapter=adapter)
    launch, served = prepare_server(
        config.vllm,
        python=python,
        model=model,
        trm=trm,
        adapter=adapter,
        depth=solver.sampling.depth,
        depths=solver.depths,
        scratch=scratch,
        num_logprobs=told,
    )
    return open_served(launch, served, on_news=on_news)


def _load_here(
    model: Path, trm: Path | None, attempts: AttemptsConfig, *, adapter: Path | None
) -> AbstractAsyncContextManager[Engine]:
    """In this process; torch and transformers are imported in there, so that the notebook's server listens before."""
    config, solver = attempts.engine, attempts.solver
    return load_engine(
        model,
        trm=trm,
        adapter=adapter,
        device=config.device,
        dtype=config.dtype,
        max_batch=config.max_batch,
        num_threads=config.num_threads,
        depths=(*solver.depths, solver.sampling.depth or 0),
        check_hash=False,  # checked when the dataset was built; hashing 14 GB would cost the competition minutes
    )


def open_sandboxes(tools: ToolsConfig, *, hidden: tuple[Path, ...] = ()) -> AbstractAsyncContextManager[Interpreters]:
    """The Pythons that a model may run. hidden: folders that they do not see."""
    from kit.sandbox.config import SandboxConfig
    from kit.sandbox.pool import open_pool

    return open_pool(
        SandboxConfig(
            memory_bytes=tools.memory_bytes, output_bytes=tools.output_bytes, num_spare=tools.num_spare, hidden=hidden
        )
    )
