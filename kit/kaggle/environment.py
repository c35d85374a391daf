"""Where things are on Kaggle, found and not assumed.

Both mount layouts are met: the old `/kaggle/input/<slug>` and the new
`/kaggle/input/{datasets/<owner>,competitions}/<slug>` (changed January–March 2026; field notes
kaggle.md 4). A dataset is found by its manifest, the competition by its files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kit.errors import InputError, MissingError
from kit.kaggle.manifest import MANIFEST_NAME

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
    """The folder of the kit's dataset, wherever it is mounted.

    Raises: MissingError if none is attached; InputError if more than one is.
    """
    found = sorted(path.parent for path in input_root.rglob(MANIFEST_NAME))
    if not found:
        raise MissingError(f"{input_root}: no dataset with a {MANIFEST_NAME}; attach the one the kit built")
    if len(found) > 1:
        names = ", ".join(str(path) for path in found)
        raise InputError(f"{input_root}: more than one dataset of the kit is attached ({names}); detach all but one")
    return found[0]


def find_test_csv(input_root: Path) -> Path:
    """The competition's `test.csv`.

    Raises: MissingError if the competition is not attached.
    """
    for path in sorted(input_root.rglob("test.csv")):
        if "ai-mathematical-olympiad" in path.parent.name:
            return path
    raise MissingError(f"{input_root}: no competition test.csv; add the competition to the notebook's inputs")


def find_kaggle_evaluation(input_root: Path) -> Path | None:
    """The folder to put on sys.path for the competition's own `kaggle_evaluation`; None if not mounted."""
    for path in sorted(input_root.rglob("aimo_3_inference_server.py")):
        if path.parent.name == "kaggle_evaluation":
            return path.parent.parent
    return None
