"""vLLM by choice: which settings, which Python, which folder; and the server's engine as the run's.

In: the competitor's choice, a model's folder and the environment made from wheels, if there is one. Out: an engine over
a supervised server, which is started when the engine is entered. Kaggle's own packages reach neither the server nor its
environment (kit.engines.vllm.server.settings.environment).
"""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kit.config import nested, replaced
from kit.cuda import UNTOLD_GPU, Gpu, driver_cuda, visible_gpus
from kit.engines.text.adapter_folder import check_adapter
from kit.engines.text.model_folder import read_facts
from kit.engines.vllm.server.lora import lora_arguments
from kit.engines.vllm.server.parallel import check_tensor_parallel, tensor_parallel_size
from kit.engines.vllm.server.settings import PRESETS, ServerSettings
from kit.engines.vllm.server.supervision import Launch, OnNews, SupervisorConfig, nobody
from kit.errors import InputError, MissingError, SettingError, check_fields
from kit.machine_memory import memory_available_bytes
from kit.models.facts import ModelFacts
from kit.models.family import ModelFamily
from kit.models.recognition import recognise
from kit.sampling import Engine

if TYPE_CHECKING:
    from kit.engines.vllm.server.engine import VllmConfig

# The engine is imported where it is used: h11, which its client needs, comes with vLLM, and not every dataset has that.

SERVER_FOLDER = "vllm-server"
CPU_PRESET = "cpu"
_PLUGIN = "kit_trm"
_PROBE_TIMEOUT_S = 60.0
_FP8_ABOVE_SHARE = 0.5  # of the GPUs' memory: more weights in 16 bits would leave the cache little room
_UNTOLD_MEMORY_BYTES = 80 << 30  # of a GPU of which nothing is told: an H100's
_FP8_CAPABILITY = (8, 9)  # Ada: older GPUs have no FP8 arithmetic, and no attention over a cache of it
_LARGEST_CPU_CACHE = 2 << 30
_CPU_CACHE_SHARE = 0.25  # of the memory that the weights leave

# Run by the server's Python: what it has of vLLM, without importing it, which takes seconds.
_PROBE = (
    "import importlib.metadata as m, importlib.util as u; "
    "print(u.find_spec('vllm') is not None, *(e.name for e in m.entry_points(group='vllm.general_plugins')))"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmChoice:
    """How vLLM is run.

    preset: the settings to begin with, one of PRESETS; auto takes that of the model's family (kit.models) on a GPU, and
        cpu without one. settings: changes to it, each `NAME=VALUE` with a name of ServerSettings.
    template: values for the chat template's own settings, each `NAME=VALUE`, such as `reasoning_effort=high`; the
        family has its own.
    python: an interpreter that has vLLM; empty: of the environment made from the dataset's wheels, or else ours.
    supervisor: how the server is watched.
    Raises: InputError for a setting that is unknown or has a value outside its range.
    """

    preset: str = "auto"
    settings: tuple[str, ...] = ()
    template: tuple[str, ...] = ()
    python: str = ""
    supervisor: SupervisorConfig = field(default_factory=SupervisorConfig)

    def __post_init__(self) -> None:
        is_known = self.preset in {"auto", *PRESETS}
        check_fields(self, [("preset", is_known, f"one of auto, {', '.join(PRESETS)}")])
        self.changed(PRESETS.get(self.preset, ServerSettings()))
        told = nested(self.template)
        is_plain = all(name.isidentifier() and isinstance(told[name], str | bool | int) for name in told)
        check_fields(self, [("template", is_plain, "a list of NAME=VALUE, each a text, a number, true or false")])

    def changed(self, settings: ServerSettings) -> ServerSettings:
        """Those settings with the changes."""
        try:
            return replaced(settings, nested(self.settings), within="engine.vllm.settings: ")
        except InputError as error:
            raise SettingError(str(error), name="settings") from None

    def interpreter(self, made: Path | None) -> Path | None:
        """Whose vLLM is run: the one that is named, else that of the environment `made` from wheels, if any."""
        return Path(self.python) if self.python else made

    def config(
        self, model: Path, *, gpus: Sequence[Gpu], is_spread: bool = True, num_logprobs: int | None = None
    ) -> VllmConfig:
        """All that is to be said of a server for this model folder.

        gpus: that there are. is_spread: whether it takes as many of them as divide its heads, or one; the settings may
        say otherwise. num_logprobs: that the votes read; where the settings name a number it is that. The context is
        the model's own, or what of it fits into memory: vLLM finds that out.
        Raises: MissingError or InputError for a folder whose config.json cannot be read; InputError for a GPU's preset
            without a GPU, or for a number of GPUs that are not there or do not divide the heads.
        """
        facts = read_facts(model)
        family = recognise(facts)
        preset = self._preset_for(family, has_gpu=bool(gpus))
        log.info("vLLM: preset %s for a %s", preset or "none", family.name if family else facts.model_type)
        settings = PRESETS.get(preset, ServerSettings())
        if preset == CPU_PRESET:
            settings = with_cache(settings, facts, free_bytes=memory_available_bytes())
        else:
            settings = on_gpus(settings, facts, gpus if is_spread else gpus[:1], makes_fp8=self.preset == "auto")
        settings = dataclasses.replace(settings, num_logprobs=num_logprobs)
        if any(model.glob("*.tiktoken")):
            # gpt-oss's encoding; else vLLM fetches it, minutes after its start (vllm-project/vllm issue 22525)
            told = ("TIKTOKEN_ENCODINGS_BASE", str(model))
            settings = dataclasses.replace(settings, extra_environment=(*settings.extra_environment, told))
        from kit.engines.vllm.server.engine import VllmConfig

        settings = self.changed(settings)
        if gpus:
            check_tensor_parallel(settings.tensor_parallel_size, facts, model=model, num_gpus=len(gpus))
        template = {**(family.template_values if family else {}), **nested(self.template)}
        return VllmConfig(settings=settings, supervisor=self.supervisor, template=tuple(template.items()))

    def _preset_for(self, family: ModelFamily | None, *, has_gpu: bool) -> str:
        """The preset's name; empty for vLLM's own defaults."""
        if self.preset == "auto":
            chosen = family.preset.name if family and family.preset else ""
            return chosen if has_gpu else CPU_PRESET
        if self.preset != CPU_PRESET and not has_gpu:
            raise InputError(
                f"engine.vllm.preset={self.preset} is for a GPU, and there is none; take {CPU_PRESET} or leave it auto"
            )
        return self.preset


def with_cache(settings: ServerSettings, facts: ModelFacts, *, free_bytes: int) -> ServerSettings:
    """CPU settings with a cache for all attempts at the model's context, as far as memory goes, and never a smaller
    one.

    The CPU build wants a size; without one it asks for 92 % of a NUMA node. free_bytes: of the machine.
    """
    weights_bytes = 4 * (facts.num_parameters or 0)
    room = min(_LARGEST_CPU_CACHE, int(_CPU_CACHE_SHARE * max(0, free_bytes - weights_bytes)))
    wanted = room
    if facts.cache_bytes_a_token is not None and facts.context_tokens is not None:
        wanted = settings.max_num_seqs * facts.context_tokens * facts.cache_bytes_a_token
    return dataclasses.replace(settings, kv_cache_bytes=max(settings.kv_cache_bytes or 0, min(room, wanted)))


def on_gpus(settings: ServerSettings, facts: ModelFacts, gpus: Sequence[Gpu], *, makes_fp8: bool) -> ServerSettings:
    """Settings for as many of these GPUs as divide the model's heads, in numbers that they can compute with.

    makes_fp8: whether weights of 16 bits may be served as FP8 where they would fill half the memory or more.
    """
    size = tensor_parallel_size(facts, num_gpus=len(gpus))
    if size < len(gpus):
        log.warning("vLLM: %d of %d GPUs are used, the most that divide the model's heads", size, len(gpus))
    settings = dataclasses.replace(settings, tensor_parallel_size=size)
    if any(UNTOLD_GPU.capability < gpu.capability < _FP8_CAPABILITY for gpu in gpus):
        return dataclasses.replace(settings, kv_cache_dtype="auto")
    memory_bytes = sum(gpu.memory_bytes or _UNTOLD_MEMORY_BYTES for gpu in gpus[:size])
    is_large = 2 * (facts.num_parameters or 0) > _FP8_ABOVE_SHARE * memory_bytes
    if makes_fp8 and is_large and not facts.quantisation:
        return dataclasses.replace(settings, quantization="fp8")
    return settings


@asynccontextmanager
async def open_served(launch: Launch, config: VllmConfig, *, on_news: OnNews = nobody) -> AsyncIterator[Engine]:
    """The engine over a server, until it is left.

    Raises: as `open_vllm`.
    """
    from kit.engines.vllm.server.engine import open_vllm

    log.info("vLLM: %s with %s", launch.python, config.settings)
    async with open_vllm(launch, config, on_news=on_news) as (engine, server):
        try:
            yield engine
        finally:
            for incident in server.incidents:
                log.warning("vLLM: %s", incident)


def prepare_server(
    choice: VllmChoice,
    *,
    python: Path | None,
    model: Path,
    trm: Path | None,
    adapter: Path | None = None,
    depth: int | None,
    depths: Collection[int],
    scratch: Path,
    num_logprobs: int | None = None,
) -> tuple[Launch, VllmConfig]:
    """What is to be started, and how; slow enough for a thread.

    python: of the environment made from the dataset's wheels, if there is one. trm: the folder of the TRM to serve
    with the model; None: the model alone. adapter: the folder of a LoRA to serve instead. depth: T of calls that name
    none; None: the TRM's own. depths: that calls may name. num_logprobs: as VllmChoice.config.
    Raises: MissingError for a Python without vLLM or, for a TRM, without the kit; MissingError or InputError for model
        folders that do not fit.
    """
    chosen = choice.interpreter(python) or Path(sys.executable)
    check_python(chosen, needs_plugin=trm is not None)
    launch = Launch(python=chosen, model=model, adapter=adapter, scratch=scratch / SERVER_FOLDER)
    if adapter is not None:
        check_adapter(adapter, model)
        lora_arguments(adapter)  # refuse here what the server would refuse after its start
    # the plugin serves a TRM on one GPU
    config = choice.config(
        model, gpus=visible_gpus(driver=driver_cuda), is_spread=trm is None, num_logprobs=num_logprobs
    )
    if trm is None:
        return launch, config
    from kit.engines.vllm.plugin.serving import with_recursion

    # the pair was checked when the dataset was built; hashing 14 GB would cost the competition minutes
    return with_recursion(launch, config, trm_folder=trm, depth=depth, depths=depths, check_hash=False)


def can_serve(python: Path | None) -> bool:
    """Whether vLLM would be the engine of choice: an environment has it, and there is a GPU's driver."""
    return python is not None and driver_cuda() is not None and _packages(python).has_vllm


def check_python(python: Path, *, needs_plugin: bool) -> None:
    """Raise MissingError, with the fix, for an interpreter that cannot run the server."""
    if not python.is_file():
        raise MissingError(f"engine.vllm.python: no interpreter at {python}; name one whose packages hold vLLM")
    packages = _packages(python)
    if not packages.has_vllm:
        raise MissingError(
            f"{python} has no vLLM; for Kaggle, build the dataset with the wheels of a target that has it "
            "(`kit wheels fetch --target kaggle-cp312`); for a dry run, `make environment-vllm` and `--engine vllm`, "
            "or name an interpreter as engine.vllm.python"
        )
    if needs_plugin and not packages.has_plugin:
        raise MissingError(
            f"{python} has vLLM but not the kit, whose plugin serves a TRM; install the kit's wheel there, "
            "or take engine.kind='vllm' or 'trm'"
        )


class _Packages(NamedTuple):
    has_vllm: bool
    has_plugin: bool


def _packages(python: Path) -> _Packages:
    command = [str(python), "-I", "-c", _PROBE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PROBE_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(f"{python} cannot be run as an interpreter ({error}); name another") from error
    has_vllm, *plugins = done.stdout.split() or [""]
    return _Packages(has_vllm == "True", _PLUGIN in plugins)
