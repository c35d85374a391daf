"""The engine over a restored dataset: its weights in order, and the opening of it.

In: where the dataset was restored, and the Python of the environment made from its wheels. Out: an engine to enter.
"""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from kit.engines.vllm.server.supervision import OnNews, nobody
from kit.kaggle.dataset.restoring import ADAPTER_FOLDER, MODEL_FOLDER, TRM_FOLDER
from kit.recipes.attempts import AttemptsConfig, EngineConfig
from kit.recipes.opening import open_model
from kit.sampling import Engine


def weight_files(restored: Path, config: EngineConfig) -> tuple[Path, ...]:
    """The files of weights in the order in which the engine reads them."""
    folders = (MODEL_FOLDER, TRM_FOLDER if config.recurses else ADAPTER_FOLDER)
    return tuple(path for folder in folders for path in sorted((restored / folder).glob("*.safetensors")))


def open_restored(
    restored: Path, python: Path | None, attempts: AttemptsConfig, *, scratch: Path, on_news: OnNews = nobody
) -> AbstractAsyncContextManager[Engine]:
    """Load the model of a restored dataset, or make ready the server that will, slowly and in any thread.

    python: whose packages are imported before those of the image; what the process has imported already stays.
    on_news: told when a server goes and comes back.
    Raises: MissingError, InputError or StorageError naming the file that is to blame; EngineError where memory does not
        suffice.
    """
    if python is not None:
        packages = str(next((python.parent.parent / "lib").glob("python*/site-packages")))
        if packages not in sys.path:
            sys.path.insert(1, packages)  # after the folder of the kit itself
    model, trm, adapter = (restored / name for name in (MODEL_FOLDER, TRM_FOLDER, ADAPTER_FOLDER))
    return open_model(
        model,
        trm,
        attempts,
        adapter=adapter if adapter.is_dir() else None,
        python=python,
        scratch=scratch,
        on_news=on_news,
    )
