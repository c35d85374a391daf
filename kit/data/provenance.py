"""What weights were trained on, as one small JSON beside them: `kit train` writes it, a report's table shows it.

A name of a data set only, no path: the folder of the weights may be shared.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from kit.errors import InputError
from kit.json_text import read_json
from kit.whole_file import written_whole

PROVENANCE = "training.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How weights came to be.

    training_data: the set's name, its rows and their kind, in words. data_sha256: of its examples. note: the recipe in
    a few words. backbone_sha256: of the weights that training began from; empty where an older kit did not write it.
    """

    training_data: str
    data_sha256: str
    trainable_parameters: int
    note: str
    backbone_sha256: str = ""


def write_provenance(folder: Path, provenance: Provenance) -> None:
    """Write it beside the weights.

    Raises: StorageError.
    """
    with written_whole(folder / PROVENANCE) as part:
        part.write_text(json.dumps(asdict(provenance), indent=1) + "\n", encoding="utf-8")


def read_provenance(folder: Path) -> Provenance | None:
    """What stands beside the weights in `folder`; None where nothing does.

    Raises: InputError for a file that is damaged.
    """
    path = folder / PROVENANCE
    if not path.is_file():
        return None
    try:
        told = read_json(path.read_text(encoding="utf-8"))
        told = {"backbone_sha256": "", **told}
        found = Provenance(**{field.name: told[field.name] for field in fields(Provenance)})
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} does not say what the weights were trained on ({error!r}); remove it") from error
    if type(found.trainable_parameters) is not int:
        raise InputError(
            f"{path}: trainable_parameters is {found.trainable_parameters!r}, expected a number; remove it"
        )
    return found
