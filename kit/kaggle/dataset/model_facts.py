"""What the model of a mounted dataset says of itself, read before anything of it is restored.

In: a dataset as it is mounted, and where else models are. Out: the small files of the model's folder. Their hashes are
looked at later, when everything is restored.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from kit.engines.text.model_folder import read_facts
from kit.kaggle.dataset.attached import find_model
from kit.kaggle.dataset.manifest import load_manifest
from kit.kaggle.dataset.mounted import Place, places
from kit.kaggle.dataset.restoring import MODEL_FOLDER
from kit.models.facts import ModelFacts

_WANTED = ("config.json", "generation_config.json", "tokenizer_config.json", "chat_template.jinja")


def mounted_facts(dataset: Path, *, mounts: Path) -> ModelFacts:
    """The facts of the dataset's model, or of the Kaggle Model that it names, with the dataset's own files over it.

    Raises: MissingError or InputError for a dataset or model that cannot be read, OSError likewise.
    """
    manifest = load_manifest(dataset)
    wanted = {f"{MODEL_FOLDER}/{name}": name for name in _WANTED}
    with tempfile.TemporaryDirectory(prefix="kit-facts-") as folder:
        if manifest.model_source is not None:
            attached = find_model(mounts, manifest.model_source)
            for name in filter(lambda name: (attached / name).is_file(), _WANTED):
                shutil.copyfile(attached / name, Path(folder) / name)
        for place in places(dataset, manifest):
            if place.path in wanted and place.file is not None:
                (Path(folder) / wanted[place.path]).write_bytes(_bytes_of(place))
        return read_facts(Path(folder))


def _bytes_of(place: Place) -> bytes:
    assert place.file is not None
    with place.file.open("rb") as file:
        file.seek(place.offset_bytes or 0)
        return file.read(place.size_bytes)
