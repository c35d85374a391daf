"""Where things are on Kaggle, found and not assumed.

Both mount layouts are met: the old `/kaggle/input/<slug>` and the new
`/kaggle/input/{datasets/<owner>,competitions}/<slug>` (changed January–March 2026;
docs/kaggle.md#mounts). A dataset is found by its manifest, the competition by its files, all in one walk. Of files
that look alike those in the competition's own folder count first: copies of its data and other AIMOs may be attached.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kit.errors import MissingError
from kit.kaggle import facts
from kit.kaggle.dataset.folders import walk
from kit.kaggle.dataset.manifest import MANIFEST_NAME

log = logging.getLogger(__name__)

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
        return cls(Path(environ.get(ROOT_VARIABLE, facts.ROOT)), facts.RERUN_VARIABLE in environ)

    @property
    def input(self) -> Path:
        """Read-only mounts of datasets, models and the competition."""
        return self.root / facts.INPUT

    @property
    def working(self) -> Path:
        """The notebook's output folder; what is here is kept."""
        return self.root / facts.WORKING

    @property
    def scratch(self) -> Path:
        """Large temporary space, not kept."""
        return self.root / facts.SCRATCH


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounts:
    """What is attached below `root`. datasets: of the kit, by path. tests: each `test.csv` of an AIMO.

    packages: what to put on sys.path for a `kaggle_evaluation`. Of both, the competition's own first.
    """

    root: Path
    datasets: tuple[Path, ...]
    tests: tuple[Path, ...]
    packages: tuple[Path, ...]

    @classmethod
    def find(cls, root: Path) -> Mounts:
        """Look through everything below `root`, following links, once."""
        folders, server = sorted(walk(root)), f"{facts.SERVER_MODULE}.py"
        tests = [path for path, files in folders if facts.TEST_NAME in files and facts.ANY_AIMO in path.name]
        packages = [path.parent for path, files in folders if path.name == facts.EVALUATION_PACKAGE and server in files]
        places = _places(root)
        return cls(
            root=root,
            datasets=tuple(path for path, files in folders if MANIFEST_NAME in files),
            tests=tuple(folder / facts.TEST_NAME for folder in _own_first(tests, places)),
            packages=_own_first(packages, places),
        )

    def with_dataset(self, dataset: Path | None) -> Mounts:
        """The same with this dataset before those that are attached, if it is not None; it may lie elsewhere."""
        if dataset is None:
            return self
        return replace(self, datasets=(dataset, *(each for each in self.datasets if each != dataset)))

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
            raise MissingError(
                f"{self.root}: no competition {facts.TEST_NAME}; add the competition to the notebook's inputs"
            )
        if self.tests[0].parent not in _places(self.root):
            log.error("%s is not attached; taking the problems of %s", facts.COMPETITION, self.tests[0])
        return self.tests[0]

    def kaggle_evaluation(self) -> Path | None:
        """The folder to put on sys.path for a `kaggle_evaluation`, the competition's own; None if not mounted.

        A copy elsewhere may be an older one, or broken, and what is on sys.path already comes before it.
        """
        return self.packages[0] if self.packages else None

    @property
    def has_own_evaluation(self) -> bool:
        """Whether `kaggle_evaluation` is mounted where the competition is, and not only in some dataset."""
        return bool(self.packages) and self.packages[0] in _places(self.root)


def _places(root: Path) -> tuple[Path, ...]:
    """Where Kaggle mounts the competition, now and before 2026."""
    return root / facts.COMPETITIONS.format(slug=facts.COMPETITION), root / facts.COMPETITION


def _own_first(folders: Sequence[Path], places: Sequence[Path]) -> tuple[Path, ...]:
    """The competition's own places, then folders of its very name, then all others; each kind by path."""
    own = [place for place in places if place in folders]
    named = [folder for folder in folders if folder.name == facts.COMPETITION and folder not in own]
    return (*own, *named, *(folder for folder in folders if folder not in (*own, *named)))
