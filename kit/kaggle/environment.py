"""Where things are on Kaggle, found and not assumed.

Both mount layouts are met: the old `/kaggle/input/<slug>` and the new
`/kaggle/input/{datasets/<owner>,competitions}/<slug>` (changed January–March 2026; field notes
kaggle.md 4). A dataset is found by its manifest, the competition by its files.
"""

from __future__ import annotations

import glob
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kit.errors import MissingError
from kit.kaggle.manifest import MANIFEST_NAME

log = logging.getLogger(__name__)

KAGGLE_ROOT = Path("/kaggle")
RERUN_VARIABLE = "KAGGLE_IS_COMPETITION_RERUN"  # set to anything, even "", during the scored run
ROOT_VARIABLE = "KIT_KAGGLE_ROOT"  # a dry run's stand-in for /kaggle
SETTINGS_VARIABLE = "KIT_SETTINGS"  # JSON that overrides the notebook's settings, for dry runs


@dataclass(frozen=True, slots=True)
class KaggleEnvironment:
    """The folders of a notebook session, and whether this run is the scored one."""

    root: Path
    is_rerun: bool

    @classmethod
    def detect(cls, environ: Mapping[str, str]) -> KaggleEnvironment:
        """Read it from the process's environment variables; the folders themselves are not touched."""
        return cls(Path(environ.get(ROOT_VARIABLE, KAGGLE_ROOT)), RERUN_VARIABLE in environ)

    @property
    def input(self) -> Path:
        """Read-only mounts of datasets, models and the competition."""
        return self.root / "input"

    @property
    def working(self) -> Path:
        """The notebook's output folder; what is here is kept."""
        return self.root / "working"

    @property
    def scratch(self) -> Path:
        """Large temporary space, not kept."""
        return self.root / "tmp"


def find_dataset(input_root: Path) -> Path:
    """The folder of the kit's dataset, wherever it is mounted; links are followed.

    Of several the first by path is taken, as the notebook's first cell does, and logged: any of them
    answers better than none.
    Raises: MissingError if none is attached.
    """
    found = _find(input_root, MANIFEST_NAME)
    if not found:
        raise MissingError(f"{input_root}: no dataset with a {MANIFEST_NAME}; attach the one the kit built")
    if len(found) > 1:
        log.error("more than one dataset of the kit is attached; taking the first of %s", [str(each) for each in found])
    return found[0].parent


def find_test_csv(input_root: Path) -> Path:
    """The competition's `test.csv`.

    Raises: MissingError if the competition is not attached.
    """
    for path in _find(input_root, "test.csv"):
        if "ai-mathematical-olympiad" in path.parent.name:
            return path
    raise MissingError(f"{input_root}: no competition test.csv; add the competition to the notebook's inputs")


def find_kaggle_evaluation(input_root: Path) -> Path | None:
    """The folder to put on sys.path for the competition's own `kaggle_evaluation`; None if not mounted."""
    for path in _find(input_root, "aimo_3_inference_server.py"):
        if path.parent.name == "kaggle_evaluation":
            return path.parent.parent
    return None


def _find(root: Path, name: str) -> list[Path]:
    """All files of this name below `root`, sorted; `glob` follows links to folders, Path.rglob does not."""
    pattern = f"{glob.escape(str(root))}/**/{name}"
    return sorted(Path(found) for found in glob.glob(pattern, recursive=True))  # noqa: PTH207
