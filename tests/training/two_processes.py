"""One of two processes that train together; torchrun starts both."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from kit.training.run import train
from tests.training import small_model

if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    train(small_model.settings(folder, "trm", output_dir=folder / "two"), cache=folder / "cache_of_two")  # a cold one
