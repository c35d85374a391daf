"""The engine that a recipe asks for, over a restored dataset: in this process, or by a vLLM server.

In: where the dataset was restored, and the Python of the environment made from its wheels. Out: an engine to enter.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from kit.engines.opening import load_engine
from kit.engines.vllm.server.supervision import OnNews, nobody
from kit.kaggle.dataset.restoring import MODEL_FOLDER, TRM_FOLDER
from kit.kaggle.notebook.recipe import EngineConfig, Kind, Recipe
from kit.kaggle.notebook.vllm import can_serve, open_served, prepare_server
from kit.sampling import Engine

_AUTO_STARTS = 2  # ten minutes each at the most, by the supervisor's default

log = logging.getLogger(__name__)


def weight_files(restored: Path, config: EngineConfig) -> tuple[Path, ...]:
    """The files of weights in the order in which the engine reads them."""
    folders = (MODEL_FOLDER, TRM_FOLDER) if config.recurses else (MODEL_FOLDER,)
    return tuple(path for folder in folders for path in sorted((restored / folder).glob("*.safetensors")))


def resolved_kind(config: EngineConfig, python: Path | None) -> Kind:
    """What auto stands for, with the environment that was made from the dataset's wheels."""
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


def open_restored(
    restored: Path, python: Path | None, recipe: Recipe, *, scratch: Path, on_news: OnNews = nobody
) -> AbstractAsyncContextManager[Engine]:
    """Load the model of a restored dataset, or make ready the server that will, slowly and in any thread.

    python: whose packages are imported before those of the image; what the process has imported already stays.
    on_news: told when a server goes and comes back.
    Raises: MissingError, InputError or StorageError naming the file that is to blame.
    """
    if python is not None:
        packages = str(next((python.parent.parent / "lib").glob("python*/site-packages")))
        if packages not in sys.path:
            sys.path.insert(1, packages)  # after the folder of the kit itself
    model, trm = restored / MODEL_FOLDER, restored / TRM_FOLDER
    return open_model(model, trm, recipe, python=python, scratch=scratch, on_news=on_news)


def open_model(
    model: Path,
    trm: Path | None,
    recipe: Recipe,
    *,
    python: Path | None,
    scratch: Path,
    on_news: OnNews = nobody,
) -> AbstractAsyncContextManager[Engine]:
    """The same, over a model's folder and that of the TRM for an engine that recurses, wherever they lie.

    Raises: as `open_restored`.
    """
    config, solver = recipe.engine, recipe.solver
    trm = trm if config.recurses else None
    if config.kind not in ("vllm", "vllm-trm"):
        # torch and transformers are imported in there, so that the notebook's server listens before that
        return load_engine(
            model,
            trm=trm,
            device=config.device,
            dtype=config.dtype,
            max_batch=config.max_batch,
            num_threads=config.num_threads,
            depths=(*solver.depths, solver.sampling.depth or 0),
            check_hash=False,  # checked when the dataset was built; hashing 14 GB would cost the competition minutes
        )
    launch, served = prepare_server(
        config.vllm,
        python=python,
        model=model,
        trm=trm,
        depth=solver.sampling.depth,
        depths=solver.depths,
        scratch=scratch,
    )
    return open_served(launch, served, on_news=on_news)
