"""How a vLLM server is told to serve a TRM with its backbone; needs no vLLM.

In: what would serve the backbone, and the TRM's folder. Out: what serves the two. For kit.engines.vllm.server.engine.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection
from pathlib import Path

from kit.engines.vllm.client.depth import ServedDepth
from kit.engines.vllm.plugin.joined import write_joined
from kit.engines.vllm.plugin.names import DEPTH, PROCESSOR
from kit.engines.vllm.server.engine import VllmConfig
from kit.engines.vllm.server.settings import ServerSettings
from kit.engines.vllm.server.supervision import Launch
from kit.errors import InputError
from kit.trm.checkpoint import check_backbone, load_config
from kit.trm.config import TRMConfig, check_depth

JOINED_FOLDER = "joined-model"


_OURS = ("--hf-overrides", "--logits-processors", "--compilation-config")


def with_recursion(
    launch: Launch,
    config: VllmConfig,
    *,
    trm_folder: Path,
    depth: int | None = None,
    depths: Collection[int] = (),
    check_hash: bool = True,
) -> tuple[Launch, VllmConfig]:
    """The same server over the joined folder, which is written into its scratch.

    launch: its model is the backbone. depth: T of calls that name none; None: the TRM's own. depths: that calls may
    name. check_hash: whether to hash the backbone's weights.
    Raises: MissingError, InputError as `write_joined`; InputError for a depth that cannot be served, another backbone
        than the TRM's, or settings that do not go with a TRM.
    """
    trm = load_config(trm_folder)
    default = check_depth(trm.depth if depth is None else depth)
    others = sorted({check_depth(each) for each in depths} - {default})
    if trm.form == "states" and others:
        raise InputError(
            f"{trm_folder}: form='states' is served at one depth, {default}, and calls would ask for "
            f"{', '.join(map(str, others))}; set solver.depths=[] and solver.sampling.depth, or use form='anchor'"
        )
    if check_hash:
        check_backbone(trm, launch.model)
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
    """Settings with what the plugin needs; see kit.engines.vllm.plugin for the reasons.

    Raises: InputError for settings that cannot be had with a TRM.
    """
    _check_settings(settings)
    told = ["--hf-overrides", json.dumps({DEPTH: depth})]
    if trm.form != "states":
        told += ["--logits-processors", PROCESSOR]
    if not settings.eager:
        # a graph over the whole step would hold the depth at which it was captured
        told += ["--compilation-config", json.dumps({"cudagraph_mode": "PIECEWISE"})]
    if settings.omp_threads is None and "--attention-backend" not in settings.extra_args:
        told += ["--attention-backend", "FLASH_ATTN"]  # FlashInfer does not tell where a request's tokens begin
    return dataclasses.replace(
        settings,
        extra_args=(*settings.extra_args, *told),
        extra_environment=(*settings.extra_environment, ("VLLM_USE_V2_MODEL_RUNNER", "0")),
    )


def _check_settings(settings: ServerSettings) -> None:
    flags = [flag for flag in _OURS if any(each.partition("=")[0] == flag for each in settings.extra_args)]
    refusals = (
        (settings.tensor_parallel_size != 1, f"tensor_parallel_size={settings.tensor_parallel_size}", "leave it at 1"),
        (settings.speculation is not None, "speculation", "vLLM has no depths for drafts; leave it out"),
        (bool(flags), f"extra_args with {', '.join(flags)}", "the kit writes these, and vLLM keeps the last of each"),
    )
    for is_refused, what, fix in refusals:
        if is_refused:
            raise InputError(f"{what} cannot be had with a TRM in vLLM; {fix}")
