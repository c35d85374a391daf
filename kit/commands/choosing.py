"""The options that choose a model, an engine and settings, for every command that runs one."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit import assets
from kit.errors import InputError

if TYPE_CHECKING:
    from kit.engines.openai.choice import OpenAIChoice


def add_model(command: argparse.ArgumentParser) -> None:
    """The options that name the model."""
    command.add_argument(
        "--model", default=str(assets.TINY_MODEL), metavar="DIR|HUB_ID",
        help="a Hugging Face causal LM with safetensors: its folder, or its id on the hub, such as Qwen/Qwen3-0.6B "
        "(default: the shipped tiny model)",
    )  # fmt: skip
    add_model_additions(command)


def add_model_additions(command: argparse.ArgumentParser) -> None:
    """The options that name what stands on the model."""
    command.add_argument(
        "--trm", type=Path, metavar="DIR",
        help="a recursive model (TRM) for this very model, as kit.trm saves it (default: the shipped model's own)",
    )  # fmt: skip
    command.add_argument(
        "--adapter", type=Path, metavar="DIR", help="a LoRA adapter for this very model, as peft saves it"
    )


class _Once(argparse.Action):
    """An option of one value, which refuses a second one, where argparse would drop the first without a word."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        if getattr(namespace, self.dest) is not None:
            raise argparse.ArgumentError(self, "given twice; a submission has one model")
        setattr(namespace, self.dest, values)


def add_model_source(command: argparse.ArgumentParser) -> None:
    """The options for a model that is attached as a Kaggle Model."""
    command.add_argument(
        "--model-source", action=_Once, metavar="REF",
        help="leave the model out; it is this Kaggle Model, owner/model/framework/variation/version, attached to "
        "the notebook. With --model, too, the dataset knows its files, and holds those that it lacks",
    )  # fmt: skip
    command.add_argument(
        "--model-file", type=Path, action="append", default=[], metavar="FILE",
        help="a file that enters the model's folder, beside its own or in the place of one; may be given again",
    )  # fmt: skip


def add_engine(command: argparse.ArgumentParser) -> None:
    """The option that names the engine."""
    command.add_argument(
        "--engine", choices=("transformers", "trm", "vllm", "vllm-trm", "openai"),
        help="trm: the recursive model on top, with the ladder of depths T = 3, 5, 10; vllm, vllm-trm: the same by a "
        "vLLM server, from `make environment-vllm` unless --set engine.vllm.python says another; openai: a server that "
        "somebody else runs, at --url (default: trm for the shipped model or with --trm, else transformers)",
    )  # fmt: skip
    add_server(command)


def add_server(command: argparse.ArgumentParser) -> None:
    """The options that name somebody else's server, for `--engine openai`; read by `server_of`."""
    command.add_argument(
        "--url",
        metavar="URL",
        help="of an OpenAI-compatible server, such as http://127.0.0.1:8000, for --engine openai",
    )
    command.add_argument("--api-key-env", default="", metavar="NAME", help="the variable that holds the server's key")
    command.add_argument(
        "--model-name", default="", metavar="NAME", help="of the model there (default: the first that the server lists)"
    )


def server_of(args: argparse.Namespace, *, uses_model: bool) -> OpenAIChoice:
    """The server that is named. uses_model: whether --model is what it serves.

    Raises: InputError for options that do not go together, or a key that is not there.
    """
    from kit.engines.openai.choice import OpenAIChoice

    if args.url and args.engine != "openai":
        raise InputError(f"--url is for --engine openai, not {args.engine or 'the default'}; add --engine openai")
    if not args.url and (args.api_key_env or args.model_name) and "://" not in (args.engine or ""):
        raise InputError("--api-key-env and --model-name are for --engine openai --url URL")
    choice = OpenAIChoice(
        url=args.url or "", api_key_env=args.api_key_env, model_name=args.model_name, uses_model=uses_model
    )
    choice.key()
    return choice


def with_server(args: argparse.Namespace, changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The changes with the server that is named by options; what `changes` say of it wins."""
    from kit.config import flattened, merged

    server = server_of(args, uses_model=args.model != str(assets.TINY_MODEL))
    return merged({"engine": {"openai": flattened(server)}}, changes) if server.url else changes


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
