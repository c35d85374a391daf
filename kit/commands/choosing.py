"""The options that choose a model, an engine and settings, for every command that runs one."""

from __future__ import annotations

import argparse
from pathlib import Path

from kit import assets


def add_model(command: argparse.ArgumentParser) -> None:
    """The options that name the model."""
    command.add_argument(
        "--model", type=Path, default=assets.TINY_MODEL, metavar="DIR",
        help="a Hugging Face causal LM folder with safetensors (default: the shipped tiny model)",
    )  # fmt: skip
    command.add_argument(
        "--trm", type=Path, metavar="DIR",
        help="a recursive model (TRM) for this very model, as kit.trm saves it (default: the shipped model's own)",
    )  # fmt: skip


def add_engine(command: argparse.ArgumentParser) -> None:
    """The option that names the engine."""
    command.add_argument(
        "--engine", choices=("transformers", "trm", "vllm", "vllm-trm"),
        help="trm: the recursive model on top, with the ladder of depths T = 3, 5, 10; vllm, vllm-trm: the same by a "
        "vLLM server, from `make environment-vllm` unless --set engine.vllm.python says another (default: trm for the "
        "shipped model or with --trm, else transformers)",
    )  # fmt: skip


def add_settings(command: argparse.ArgumentParser) -> None:
    """The options that change settings; read by `kit.recipes.recipe_file.chosen`."""
    command.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE",
        help="change a setting of `kit settings`; may be given again",
    )  # fmt: skip
    command.add_argument(
        "--config", type=Path, metavar="FILE",
        help="a recipe: settings in one TOML file, as `kit settings --write FILE` makes it; --set wins over it",
    )  # fmt: skip
