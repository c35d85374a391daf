"""What may enter a dataset together, told before anything is written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kit import assets
from kit.engines.text import adapter_folder
from kit.errors import InputError
from kit.kaggle.dataset.restoring import ADAPTER_FOLDER, restore
from tests.engines.lora import save_adapter
from tests.kaggle.dataset.datasets import build, make_model

REF = "someone/qwen/transformers/7b/3"


def test_a_build_without_any_model_or_with_an_unclear_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--model-source"):
        build(tmp_path / "out")
    with pytest.raises(InputError, match="owner/model/framework/variation/version"):
        build(tmp_path / "out", model_source="someone/qwen")
    with pytest.raises(InputError, match="checked against its model"):
        build(tmp_path / "out", model_source=REF, trm=tmp_path)


def test_an_adapter_enters_beside_its_model_and_not_with_a_recursive_one(tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path / "adapter")
    built = build(tmp_path / "out", model=assets.TINY_MODEL, adapter=adapter)
    restored = restore(built.folder, tmp_path / "scratch")
    for name in (adapter_folder.CONFIG, adapter_folder.WEIGHTS):
        assert (restored / ADAPTER_FOLDER / name).read_bytes() == (adapter / name).read_bytes()
    with pytest.raises(InputError, match="name either"):
        build(tmp_path / "both", model=assets.TINY_MODEL, trm=tmp_path, adapter=adapter)
    with pytest.raises(InputError, match="name that with --model, too"):
        build(tmp_path / "alone", model_source=REF, adapter=adapter)
    assert not (tmp_path / "both").exists()


def test_an_adapter_of_another_model_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path / "adapter")
    with pytest.raises(InputError, match="belongs to another model"):
        build(tmp_path / "out", model=make_model(tmp_path / "model"), adapter=adapter)
    assert not (tmp_path / "out").exists()


def test_the_shipped_recursive_model_is_checked_without_torch(tmp_path: Path) -> None:
    """Else a dry run imports torch and transformers twice, in the command and in the notebook: 7 of its 24 seconds."""
    code = (
        "import sys; from pathlib import Path; from kit.assets import TINY_MODEL, TINY_TRM;"
        "from kit.kaggle.dataset.bundle import build; from kit.kaggle.dataset.plan import DatasetPlan;"
        f"build(Path({str(tmp_path / 'out')!r}), DatasetPlan(model=TINY_MODEL, trm=TINY_TRM));"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
