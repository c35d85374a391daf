"""Where the files that ship with the kit lie: the tiny model with its TRM, and sample problems of our own."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

TINY_MODEL = Path(__file__).parent / "tiny"
TINY_TRM = Path(__file__).parent / "tiny-trm"
SAMPLE_PROBLEMS = Path(__file__).parent / "problems.csv"
TEMML = Path(__file__).parent / "temml"
"""Temml 0.13.5 (MIT; its LICENSE beside it), which renders LaTeX as MathML in a browser."""

REPORT_PAGE = Path(__file__).parent / "report"
"""The report page's own HTML frame, style and script."""

_TRM_SHA256 = "994559a5fcfdb0b4a1f4dfc6133bc3f50a9d77edd5a7039b629e008a364fc63e"
_MODEL_SHA256 = "8c2a8fb31a4ebf6ecab37669eccca7c27d7b9ec6c87dc7a9744a43a45e217004"


def is_shipped_pair(trm: Path, model: Path) -> bool:
    """Whether two folders hold the shipped TRM and its model, byte by byte, wherever they lie.

    Tests hold this pair to all that is checked of others, so it needs no torch. The model is read only if the TRM fits.
    """
    is_trm = _sha256_of((trm / "config.json", *sorted(trm.glob("*.safetensors")))) == _TRM_SHA256
    return is_trm and _sha256_of(sorted(model.glob("*.safetensors"))) == _MODEL_SHA256


def _sha256_of(paths: Iterable[Path]) -> str:
    """The hash of the files' hashes, in order."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
