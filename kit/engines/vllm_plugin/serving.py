"""How a vLLM server is told to serve a TRM with its backbone; needs no vLLM.

In: what would serve the backbone, and the TRM's folder. Out: what serves the two. For kit.engines.vllm_server.engine.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from kit.engines.openai.depth import ServedDepth
from kit.engines.vllm_plugin.joined import write_joined
from kit.engines.vllm_plugin.names import DEPTH, PROCESSOR
from kit.engines.vllm_server.engine import VllmConfig
from kit.engines.vllm_server.settings import ServerSettings
from kit.engines.vllm_server.supervision import Launch
from kit.trm.checkpoint import load_config
from kit.trm.config import TRMConfig, check_depth

JOINED_FOLDER = "joined-model"


def with_recursion(
    launch: Launch, config: VllmConfig, *, trm_folder: Path, depth: int | None = None
) -> tuple[Launch, VllmConfig]:
    """The same server over the joined folder, which is written into its scratch.

    launch: its model is the backbone. depth: T of calls that name none; None: the TRM's own.
    Raises: MissingError, InputError as `write_joined`, or for a depth that makes no sense.
    """
    trm = load_config(trm_folder)
    default = check_depth(trm.depth if depth is None else depth)
    joined = write_joined(trm_folder, launch.model, launch.scratch / JOINED_FOLDER)
    served = ServedDepth(default=default, argument=None if trm.form == "states" else DEPTH)
    return (
        dataclasses.replace(launch, model=joined),
        dataclasses.replace(
            config,
            settings=recursive_settings(config.settings, trm, depth=default),
            client=dataclasses.replace(config.client, depth=served),
        ),
    )


def recursive_settings(settings: ServerSettings, trm: TRMConfig, *, depth: int) -> ServerSettings:
    """Settings with what the plugin needs; see kit.engines.vllm_plugin for the reasons."""
    told = ["--hf-overrides", json.dumps({DEPTH: depth})]
    if trm.form != "states":
        told += ["--logits-processors", PROCESSOR]
    if not settings.eager:
        # a graph over the whole step would hold the depth at which it was captured
        told += ["--compilation-config", json.dumps({"cudagraph_mode": "PIECEWISE"})]
    return dataclasses.replace(
        settings,
        extra_args=(*settings.extra_args, *told),
        extra_environment=(*settings.extra_environment, ("VLLM_USE_V2_MODEL_RUNNER", "0")),
    )
