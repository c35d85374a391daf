from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from kit.data import hub
from kit.errors import MissingError


def test_a_set_is_asked_for_by_id_configuration_and_split() -> None:
    asked: list[Any] = []

    def load_dataset(*args: Any, **named: Any) -> list[dict[str, str]]:
        asked.append((args, named))
        return [{"question": "q"}]

    assert hub.rows("openai/gsm8k", config="main", split="train", load_dataset=load_dataset) == [{"question": "q"}]
    assert asked == [(("openai/gsm8k", "main"), {"split": "train"})]


@pytest.mark.parametrize("error", [ConnectionError("no route\nat all"), ValueError("Unknown split"), OSError()])
def test_whatever_the_hub_refuses_is_one_error_that_names_the_set(error: Exception) -> None:
    def load_dataset(*_args: Any, **_named: Any) -> Any:
        raise error

    with pytest.raises(MissingError, match=r"openai/gsm8k \(main\), split 'test': the hub gave nothing") as raised:
        hub.rows("openai/gsm8k", config="main", split="test", load_dataset=load_dataset)
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_offline_a_set_that_is_not_in_the_cache_is_missing(tmp_path: Any) -> None:
    pytest.importorskip("datasets")
    environ = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    code = "from kit.data.sets import load\nfrom kit.errors import MissingError\ntry:\n    load('gsm8k')\n"
    code += "except MissingError as error:\n    print(error)"
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert "openai/gsm8k (main), split 'test': the hub gave nothing" in done.stdout
    assert "give a file" in done.stdout
