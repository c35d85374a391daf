"""Opening a model folder in this process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from kit.assets import TINY_MODEL
from kit.engines.opening import load_engine, open_engine
from kit.engines.transformers.engine import TransformersEngine
from kit.engines.trm.engine import TRMEngine
from kit.errors import EngineError, InputError, MissingError
from kit.problem import Problem
from kit.prompting import PLAIN, build_prompt
from kit.recipes.attempts import AttemptsConfig
from kit.recipes.opening import open_model
from kit.sampling import Engine, Sample, SamplingParams
from kit.solver.config import SolverConfig
from kit.trm.checkpoint import save_untrained

PROMPT = build_prompt(Problem("p", "What is $1+1$?"), variant=PLAIN, modulus=None)


def drawn(**options: Any) -> tuple[Engine, Sample]:
    async def draw() -> tuple[Engine, Sample]:
        async with open_engine(device="cpu", num_threads=1, **options) as engine:
            return engine, await engine.sample(PROMPT, SamplingParams(max_new_tokens=8), timeout_s=60)

    return trio.run(draw)


def test_the_shipped_model_is_opened_if_none_is_named_and_closed_at_the_end() -> None:
    engine, sample = drawn()
    assert type(engine) is TransformersEngine
    assert sample.text
    with pytest.raises(EngineError, match="closed"):
        trio.run(lambda: engine.sample(PROMPT, SamplingParams(), timeout_s=5))


def test_a_trm_is_opened_over_its_backbone_and_answers_as_that_does_untrained(tmp_path: Path) -> None:
    save_untrained(tmp_path / "trm", backbone_folder=TINY_MODEL)
    engine, sample = drawn(trm=str(tmp_path / "trm"))
    assert type(engine) is TRMEngine
    assert sample.depth
    assert sample.text == drawn(kind="transformers")[1].text


def test_a_model_without_chat_template_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(TINY_MODEL, bare, ignore=shutil.ignore_patterns("chat_template.jinja", "tokenizer_config.json"))
    with pytest.raises(InputError, match=f"{bare}: the tokenizer has no chat template; put a chat_template.jinja"):
        drawn(model=bare)
    with pytest.raises(InputError, match="no chat template"):
        open_model(bare, None, AttemptsConfig(solver=SolverConfig()), python=None, scratch=tmp_path)


def test_a_trm_can_be_opened_deeper_than_usual(tmp_path: Path) -> None:
    save_untrained(tmp_path / "trm", backbone_folder=TINY_MODEL)
    with pytest.raises(EngineError, match="beyond this engine's max_depth, 10"):
        trio.run(_at_depth_12, tmp_path / "trm", ())
    assert trio.run(_at_depth_12, tmp_path / "trm", (3, 12)).depth == 12


async def _at_depth_12(trm: Path, depths: tuple[int, ...]) -> Sample:
    async with open_engine(trm=trm, device="cpu", depths=depths) as engine:
        return await engine.sample(PROMPT, SamplingParams(max_new_tokens=2, depth=12), timeout_s=60)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"kind": "transformer"},
            "kind must be one of transformers, trm, .*; did you mean 'transformers'",
        ),
        ({"kind": "vllm"}, "a vLLM server is opened by"),
        ({"kind": "trm"}, "kind='trm' needs trm=FOLDER"),
        ({"kind": "transformers", "trm": "somewhere"}, "only that kind takes one"),
    ],
)
def test_a_kind_that_makes_no_sense_is_refused_before_anything_is_loaded(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        drawn(**options)


def test_a_folder_that_is_missing_is_told_before_torch_is_imported(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no model folder at .*nowhere"):
        load_engine(tmp_path / "nowhere")
    code = f"""
import sys, kit.engines.opening as opening
import shutil
from pathlib import Path
try: opening.load_engine(Path({str(tmp_path / "nowhere")!r}))
except FileNotFoundError: print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_machine_without_torch_is_told_what_to_install() -> None:
    code = f"""
import sys
sys.modules["torch"] = None
import shutil
from pathlib import Path
from kit.engines.opening import load_engine
try: load_engine(Path({str(TINY_MODEL)!r}))
except FileNotFoundError as error: print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "no engine: torch is not installed; pip install 'mathllm-kit[torch]'\n"
