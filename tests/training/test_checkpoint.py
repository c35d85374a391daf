"""A run's state on disk."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kit.errors import InputError, StorageError
from kit.training import checkpoint

WRITE_ONTO_A_FULL_DISK = """
import resource, signal, sys, torch
from pathlib import Path
from kit.errors import StorageError
from kit.training import checkpoint
path = Path(sys.argv[1])
checkpoint.save(path, {"weights": torch.ones(1000)})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    checkpoint.save(path, {"weights": torch.zeros(1_000_000)})
except StorageError as error:
    print(error)
"""


def test_what_was_saved_comes_back_to_the_bit(tmp_path: Path) -> None:
    state = {
        "weights": torch.randn(5),
        "half": torch.randn(3).bfloat16(),
        "name": "x",
        "numbers": [1, 2.5],
        "none": None,
    }
    checkpoint.save(tmp_path / "a.pt", state)
    found = checkpoint.load(tmp_path / "a.pt")
    assert found.keys() == state.keys()
    assert torch.equal(found["weights"], state["weights"])  # type: ignore[arg-type]
    assert torch.equal(found["half"], state["half"])  # type: ignore[arg-type]
    assert (found["name"], found["numbers"], found["none"]) == ("x", [1, 2.5], None)


def test_a_save_leaves_one_file_and_replaces_the_one_before(tmp_path: Path) -> None:
    for number in (1, 2):
        checkpoint.save(tmp_path / "a.pt", {"number": number})
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]
    assert checkpoint.load(tmp_path / "a.pt") == {"number": 2}


def test_a_full_disk_leaves_the_last_checkpoint_usable_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    ran = subprocess.run(
        [sys.executable, "-c", WRITE_ONTO_A_FULL_DISK, path], capture_output=True, text=True, check=True
    )
    assert "cannot write" in ran.stdout
    assert "free some disk" in ran.stdout
    assert torch.equal(checkpoint.load(path)["weights"], torch.ones(1000))
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write"):
        checkpoint.save(tmp_path / "none" / "a.pt", {})


@pytest.mark.parametrize("keep", [0, 100, 900])
def test_a_cut_off_or_foreign_file_is_refused_with_its_name(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a.pt"
    checkpoint.save(path, {"weights": torch.ones(1000)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"a\.pt is no whole checkpoint"):
        checkpoint.load(path)


def test_generators_go_on_where_they_were() -> None:
    state = checkpoint.random_state()
    expected = (random.random(), torch.rand(3))
    checkpoint.restore_random_state(state)
    assert random.random() == expected[0]
    assert torch.equal(torch.rand(3), expected[1])


def test_the_random_state_survives_the_disk(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a.pt", {"random": checkpoint.random_state()})
    expected = (random.gauss(), torch.rand(3))
    checkpoint.restore_random_state(checkpoint.load(tmp_path / "a.pt")["random"])
    assert random.gauss() == expected[0]
    assert torch.equal(torch.rand(3), expected[1])
