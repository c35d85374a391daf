"""Build, find, restore: what goes into the dataset comes out under its own name, or is refused by name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from safetensors.torch import load_file, save_file

from kit import assets
from kit.errors import InputError, KitError, MissingError, StorageError
from kit.kaggle.dataset.bundle import Bundle
from kit.kaggle.dataset.manifest import MANIFEST_NAME, load_manifest
from kit.kaggle.dataset.restoring import MODEL_FOLDER, TRM_FOLDER, restore
from kit.kaggle.facts import DATASET_METADATA
from kit.kaggle.transfer import sha256_of
from kit.trm.checkpoint import save_untrained
from tests.kaggle.dataset.datasets import build, make_model


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return build(tmp_path_factory.mktemp("bundle") / "dataset", model=assets.TINY_MODEL)


@pytest.fixture
def dataset(bundle: Bundle, tmp_path: Path) -> Path:
    return shutil.copytree(bundle.folder, tmp_path / "dataset")


def test_what_is_built_is_flat_within_kaggles_limits_and_listed_whole(bundle: Bundle) -> None:
    files = sorted(path.name for path in bundle.folder.iterdir())
    assert files == sorted([MANIFEST_NAME, DATASET_METADATA, *(entry.file for entry in bundle.manifest.entries)])
    assert len(files) <= 50
    assert all(path.is_file() for path in bundle.folder.iterdir())
    assert not any(set(name) & set("+~=") for name in files)
    for entry in bundle.manifest.entries:
        assert sha256_of(bundle.folder / entry.file) == entry.sha256


def test_two_builds_have_the_same_bytes(bundle: Bundle, tmp_path: Path) -> None:
    again = build(tmp_path / "again", model=assets.TINY_MODEL)
    assert again.manifest == bundle.manifest
    assert (again.folder / MANIFEST_NAME).read_bytes() == (bundle.folder / MANIFEST_NAME).read_bytes()


def test_a_second_build_replaces_the_first(dataset: Path, bundle: Bundle) -> None:
    entry = bundle.manifest.entries[0]
    (dataset / entry.file).write_bytes(b"of an older build")
    build(dataset, model=assets.TINY_MODEL)
    assert load_manifest(dataset) == bundle.manifest
    assert sha256_of(dataset / entry.file) == entry.sha256


def test_what_the_user_put_beside_a_build_is_never_deleted(dataset: Path) -> None:
    (dataset / "mine").mkdir()
    (dataset / "mine" / "notes.txt").write_text("hi")
    with pytest.raises(InputError, match="'mine', which no build put there"):
        build(dataset, model=assets.TINY_MODEL)
    assert (dataset / "mine" / "notes.txt").read_text() == "hi"


def test_a_machine_without_git_builds_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build(tmp_path / "out", model=assets.TINY_MODEL).manifest.commit == "unknown"


def test_the_wheel_holds_the_kit_and_nothing_private(bundle: Bundle) -> None:
    (wheel,) = bundle.folder.glob("*.whl")
    names = ZipFile(wheel).namelist()
    assert "kit/kaggle/notebook/submission.py" in names
    assert all(name.startswith(("kit/", "mathllm_kit-")) for name in names)
    assert not any(name.endswith(".safetensors") for name in names)


@pytest.mark.parametrize("layout", ["input/mathllm-kit", "input/datasets/someone/mathllm-kit"])
def test_a_mounted_dataset_is_restored_under_its_original_names(bundle: Bundle, tmp_path: Path, layout: str) -> None:
    mounted = shutil.copytree(bundle.folder, tmp_path / layout)
    restored = restore(mounted, tmp_path / "scratch")
    original = {path.name: path.read_bytes() for path in assets.TINY_MODEL.iterdir() if path.is_file()}
    assert {path.name: path.read_bytes() for path in (restored / MODEL_FOLDER).iterdir()} == original
    assert restore(mounted, tmp_path / "scratch") == restored  # again, over its own links
    paths = {str(path.relative_to(restored)) for path in restored.rglob("*") if path.is_file()}
    assert paths == set(bundle.manifest.paths())


def test_a_flipped_byte_a_cut_file_and_a_missing_one_are_named(dataset: Path, tmp_path: Path) -> None:
    weights = next(dataset.glob("*safetensors"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match=rf"{weights.name}.*SHA-256"):
        restore(dataset, tmp_path / "scratch")
    weights.write_bytes(whole[:-1])
    with pytest.raises(InputError, match=rf"{weights.name}: [\d,]+ bytes, the manifest says [\d,]+"):
        restore(dataset, tmp_path / "scratch")
    weights.unlink()
    with pytest.raises(MissingError, match=weights.name):
        restore(dataset, tmp_path / "scratch")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text[:100], "not valid JSON"),
        (lambda text: text.replace('"format": 1', '"format": 99'), "not a manifest of format 1"),
        (lambda text: text.replace('"sha256"', '"md5"'), "incomplete"),
        (lambda text: text.replace('"path": "model/config.json"', '"path": "../../config.json"'), "leads out"),
        (lambda text: text.replace('"path": "model/config.json"', '"path": "/etc/config.json"'), "leads out"),
        (lambda text: text.replace('"file": "model__config.json"', '"file": "../secret"'), "leads out"),
    ],
)
def test_a_manifest_that_is_damaged_or_hostile_is_refused(dataset: Path, change, says: str) -> None:  # type: ignore[no-untyped-def]
    path = dataset / MANIFEST_NAME
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=says):
        load_manifest(dataset)


def test_a_manifest_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"`kit build`"):
        load_manifest(tmp_path)


def damaged_model(folder: Path, name: str, content: bytes | None) -> Path:
    shutil.copytree(assets.TINY_MODEL, folder)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_model_without_one_of_its_files_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    model = damaged_model(tmp_path / "model", name, None)
    with pytest.raises(MissingError, match=str(model)):
        build(tmp_path / "out", model=model)
    assert not (tmp_path / "out").exists()


def test_truncated_weights_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    content = (assets.TINY_MODEL / "model.safetensors").read_bytes()[:-100]
    model = damaged_model(tmp_path / "model", "model.safetensors", content)
    with pytest.raises(InputError, match=r"model\.safetensors"):
        build(tmp_path / "out", model=model)
    assert not (tmp_path / "out").exists()


def test_a_recursive_model_goes_in_beside_its_backbone_and_with_no_other(tmp_path: Path) -> None:
    trm = tmp_path / "trm"
    save_untrained(trm, backbone_folder=assets.TINY_MODEL)
    built = build(tmp_path / "out", model=assets.TINY_MODEL, trm=trm)
    restored = restore(built.folder, tmp_path / "scratch")
    assert (restored / TRM_FOLDER / "model.safetensors").is_file()
    content = bytearray((assets.TINY_MODEL / "model.safetensors").read_bytes())
    content[-1] ^= 1
    other = damaged_model(tmp_path / "model", "model.safetensors", bytes(content))
    with pytest.raises(InputError, match="wrong backbone"):
        build(tmp_path / "other", model=other, trm=trm)
    assert not (tmp_path / "other").exists()


def test_an_untrained_recursive_model_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    """Bug of an earlier version: they differed, so that `kit dry-run --engine trm` never resumed."""
    for name in ("a", "b"):
        save_untrained(tmp_path / name, backbone_folder=assets.TINY_MODEL)
    assert sha256_of(tmp_path / "a" / "model.safetensors") == sha256_of(tmp_path / "b" / "model.safetensors")


def test_a_recursive_model_with_broken_weights_is_refused_when_building(tmp_path: Path) -> None:
    trm = tmp_path / "trm"
    save_untrained(trm, backbone_folder=assets.TINY_MODEL)
    tensors = load_file(trm / "model.safetensors")
    tensors["y_init"].fill_(float("nan"))
    save_file(tensors, trm / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="y_init holds NaN"):
        build(tmp_path / "out", model=assets.TINY_MODEL, trm=trm)


def test_a_model_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no-such-model"):
        build(tmp_path / "out", model=tmp_path / "no-such-model")


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="no build of the kit"):
        build(tmp_path, model=assets.TINY_MODEL)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_an_output_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        build(tmp_path / "file" / "out", model=assets.TINY_MODEL)


def test_the_root_script_builds_and_lists_what_entered(tmp_path: Path, repo: Path) -> None:
    model = make_model(tmp_path / "model")
    command = [sys.executable, "build_dataset.py", "--out", str(tmp_path / "out"), "--model", str(model)]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=True)
    assert "model__model-00001-of-00003.safetensors" in done.stdout
    assert json.loads((tmp_path / "out" / MANIFEST_NAME).read_text())["entries"]


def test_every_refusal_is_an_error_that_the_command_line_prints() -> None:
    assert issubclass(InputError, KitError)
    assert issubclass(InputError, ValueError)
    assert issubclass(MissingError, FileNotFoundError)
    assert issubclass(StorageError, OSError)
