"""Where things are on Kaggle, found and not assumed.

Both mount layouts are met: the old `/kaggle/input/<slug>` and the new
`/kaggle/input/{datasets/<owner>,competitions}/<slug>` (changed January–March 2026;
docs/kaggle.md#mounts). A dataset is found by its manifest, the competition by its files, all in one walk.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kit.errors import MissingError
from kit.kaggle.dataset.folders import walk
from kit.kaggle.dataset.manifest import MANIFEST_NAME

log = logging.getLogger(__name__)

KAGGLE_ROOT = Path("/kaggle")
COMPETITION = "ai-mathematical-olympiad-progress-prize-3"
SUBMISSION_NAME = "submission.parquet"  # what the gateway writes and Kaggle scores
RERUN_VARIABLE = "KAGGLE_IS_COMPETITION_RERUN"  # set to anything, even "", during the scored run
ROOT_VARIABLE = "KIT_KAGGLE_ROOT"  # a dry run's stand-in for /kaggle
SETTINGS_VARIABLE = "KIT_SETTINGS"  # JSON that overrides the notebook's settings, for dry runs

_ANY_AIMO = "ai-mathematical-olympiad"  # in the slug of every AIMO
_TEST = "test.csv"
_PACKAGE, _SERVER = "kaggle_evaluation", "aimo_3_inference_server.py"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounts:
    """What is attached below `root`. datasets: of the kit. tests: each `test.csv` of the competition.

    packages: what to put on sys.path for a `kaggle_evaluation`. All sorted by path.
    """

    root: Path
    datasets: tuple[Path, ...]
    tests: tuple[Path, ...]
    packages: tuple[Path, ...]

    @classmethod
    def find(cls, root: Path) -> Mounts:
        """Look through everything below `root`, following links, once."""
        folders = sorted(walk(root))
        return cls(
            root=root,
            datasets=tuple(path for path, files in folders if MANIFEST_NAME in files),
            tests=tuple(path / _TEST for path, files in folders if _TEST in files and _ANY_AIMO in path.name),
            packages=tuple(path.parent for path, files in folders if path.name == _PACKAGE and _SERVER in files),
        )

    def dataset(self) -> Path:
        """The folder of the kit's dataset.

        Of several the first by path is taken, as the notebook's first cell does, and logged: any of them
        answers better than none.
        Raises: MissingError if none is attached.
        """
        if not self.datasets:
            raise MissingError(f"{self.root}: no dataset with a {MANIFEST_NAME}; attach the one the kit built")
        if len(self.datasets) > 1:
            names = [str(each) for each in self.datasets]
            log.error("more than one dataset of the kit is attached; taking the first of %s", names)
        return self.datasets[0]

    def test_csv(self) -> Path:
        """The competition's `test.csv`.

        Raises: MissingError if the competition is not attached.
        """
        if not self.tests:
            raise MissingError(f"{self.root}: no competition test.csv; add the competition to the notebook's inputs")
        return self.tests[0]

    def kaggle_evaluation(self) -> Path | None:
        """The folder to put on sys.path for the competition's own `kaggle_evaluation`; None if not mounted."""
        return self.packages[0] if self.packages else None


def find_test_csv(input_root: Path) -> Path:
    """The competition's `test.csv` alone.

    Raises: MissingError if the competition is not attached.
    """
    return Mounts.find(input_root).test_csv()
