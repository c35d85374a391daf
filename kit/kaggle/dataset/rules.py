"""What Kaggle takes as a dataset, and what it makes of it: how many files, how large, under which names.

Source: docs/kaggle.md#datasets.
"""

from __future__ import annotations

METADATA_NAME = "dataset-metadata.json"
MAX_FILES = 50
MAX_BYTES = 200 * 10**9
STRIPPED = "+~="  # Kaggle takes these out of file names
UNPACKED = (".tar.gz", ".zip", ".tar", ".gz")  # Kaggle unpacks these into a folder of the name without the ending


def name_on_kaggle(name: str) -> str:
    """What Kaggle makes of a file's name."""
    return "".join(character for character in name if character.isascii() and character not in STRIPPED)
