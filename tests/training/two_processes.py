"""One of two processes that train together; torchrun starts both. Arguments: a folder, changed settings as JSON, and
after how many groups the second process alone is asked to stop."""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path

import torch

from kit.training.run import Watchers, train
from tests.training import small_model

if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, changes, stop_after = Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
    asked = itertools.count()
    watchers = Watchers(should_stop=lambda: os.environ["RANK"] == "1" and next(asked) >= stop_after)
    settings = small_model.settings(folder, "trm", output_dir=folder / "two", **changes)
    trained = train(settings, cache=folder / "cache_of_two", watchers=watchers)  # a cold one
    assert trained.writes == (os.environ["RANK"] == "0")
