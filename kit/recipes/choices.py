"""What a model and an engine that are named on a command line mean in settings.

In: what was asked for by flags and by name. Out: settings, nested as in `Settings`, and the recursive model to use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kit import checkout
from kit.assets import TINY_MODEL, TINY_TRM
from kit.config import merged
from kit.errors import InputError, MissingError
from kit.recipes.vllm import check_python

VLLM_PYTHON = ".venv-vllm/bin/python"  # of `make environment-vllm`
UNTRAINED_FOLDER = "trm-untrained"

SQUEEZED: Mapping[str, Any] = {
    "budget": {"limit_s": 240.0, "reserve_s": 20.0, "floor_s": 2.0},
    "engine": {"device": "cpu", "dtype": "float32", "num_threads": 1},
}
"""How a dry run of the shipped model differs from a submission: five hours squeezed to four minutes, and no GPU. One
thread: its matrices are too small to share."""

RECURSIVE: Mapping[str, Any] = {"solver": {"depths": [3, 5, 10]}}
"""For the recursive engines: the ladder of depths that a contested vote climbs."""


def engine_changes(engine: str, changes: Mapping[str, Any], *, has_wheels: bool) -> Mapping[str, Any]:
    """`changes` with this engine; vLLM's Python is the checkout's own unless the wheels bring one, or it was named.

    Raises: MissingError where there is none, before anything is built.
    """
    kind = engine_kind(engine, changes)
    layers: list[Mapping[str, Any]] = [{"engine": {"kind": kind}}]
    if recurses(kind):
        layers.append(RECURSIVE)
    if kind.startswith("vllm") and not has_wheels:
        python = checkout.SOURCE / VLLM_PYTHON
        if not python.is_file() and not _named(changes, "vllm", "python"):
            raise MissingError(f"no vLLM in {python.parent.parent}; `make environment-vllm` installs its CPU build")
        layers.append({"engine": {"vllm": {"python": str(python)}}})
    told = merged(*layers, changes)
    if not (named := _named(told, "vllm", "python")):
        return told
    python = Path(named).absolute()  # the notebook runs in a folder of its own
    check_python(python, needs_plugin=kind == "vllm-trm")
    return merged(told, {"engine": {"vllm": {"python": str(python)}}})


def engine_for(engine: str | None, *, model: Path, trm: Path | None, adapter: Path | None = None) -> str:
    """The engine that is named; else the recursive one where there is a TRM, a named one or the shipped model's.

    The shipped model's TRM is for the model as it is, so with an adapter nothing recurses unless it is asked for.
    """
    if engine is not None:
        return engine
    return "trm" if trm_for(model, trm=trm, adapter=adapter) is not None else "transformers"


def trm_for(model: Path | None, *, trm: Path | None, adapter: Path | None) -> Path | None:
    """The TRM that is named, else the shipped model's own; none for another model, or under an adapter."""
    is_own = model is not None and is_shipped(model) and adapter is None
    return trm or (TINY_TRM if is_own else None)


def engine_kind(engine: str, changes: Mapping[str, Any]) -> str:
    """The engine that is run: a setting `engine.kind` says more than `engine`."""
    return _named(changes, "kind") or engine


def recurses(kind: str) -> bool:
    """Whether an engine of this kind needs a recursive model."""
    return kind.endswith("trm")


def check_no_recursion(kind: str, adapter: Path | None) -> None:
    """Raise InputError for a LoRA under a recursive model, which belongs to its backbone as it is."""
    if adapter is not None and recurses(kind):
        raise InputError(
            f"engine {kind} recurses over the model as it is, without the adapter in {adapter}; "
            "take engine transformers or vllm, or leave the adapter out"
        )


def is_shipped(model: Path) -> bool:
    """Whether this is the model that ships with the kit."""
    return model.resolve() == TINY_MODEL.resolve()


def chosen_trm(trm: Path | None, *, kind: str, model: Path, out: Path, tell: Callable[[str], object]) -> Path | None:
    """The recursive model for an engine: the one given, the shipped model's own, or one in `out` that changes nothing.

    So a recursive engine can be tried before one is trained. tell: is told of an untrained one before it is made.
    """
    if trm is not None or not recurses(kind):
        return trm
    if is_shipped(model):
        return TINY_TRM
    from kit.trm.checkpoint import save_untrained

    folder = out / UNTRAINED_FOLDER
    tell(f"no --trm given: making an untrained one in {folder}, which answers exactly as {model} does")
    save_untrained(folder, backbone_folder=model)
    return folder


def _named(changes: Mapping[str, Any], *names: str) -> str:
    """The text that is set for the engine under these names; empty where there is none."""
    place: Any = changes.get("engine")
    for name in names:
        place = place.get(name) if isinstance(place, Mapping) else None
    return place if isinstance(place, str) else ""
