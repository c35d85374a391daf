"""What is attached beside the dataset: a Kaggle Model, joined with the files that it lacks, and fetched wheels."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kit.errors import InputError, MissingError
from kit.kaggle.dataset.bundle import Bundle
from kit.kaggle.dataset.manifest import WHEELS_MANIFEST_NAME, ListedFile, ModelSource, load_manifest
from kit.kaggle.dataset.plan import Wheelhouse
from kit.kaggle.dataset.restoring import MODEL_FOLDER, restore
from kit.kaggle.dataset.wheel_output import fetch_output
from kit.kaggle.wheels.index import Index
from tests.kaggle.dataset.datasets import build, make_model, make_needs, make_wheelhouse
from tests.kaggle.wheels.simple_index import SimpleIndex, served

REF = "someone/qwen/transformers/7b/3"
LAYOUTS = ["models/someone/qwen/Transformers/7b/3", "qwen/transformers/7b/3"]
SOURCE = "someone/wheels"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "model", shard_bytes=1000)


def mounted(model: Path, mounts: Path, place: str) -> Path:
    return shutil.copytree(model, mounts / place)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def listing_of(folder: Path) -> tuple[ListedFile, ...]:
    """As Kaggle gives it: names and sizes."""
    return tuple(ListedFile(file=path.name, size_bytes=path.stat().st_size) for path in sorted(folder.iterdir()))


# The model


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_that_the_kaggle_model_lacks_are_joined_with_it(model: Path, tmp_path: Path, layout: str) -> None:
    extra = tmp_path / "o200k_base.tiktoken"
    extra.write_text("IQ== 0\n")
    built = build(tmp_path / "out", model=model, model_source=REF, listing=listing_of(model), model_files=(extra,))
    mount = mounted(model, tmp_path / "input", layout)
    joined = restore(built.folder, tmp_path / "scratch", mounts=tmp_path / "input") / MODEL_FOLDER
    assert names(joined) == {*names(model), extra.name}
    assert (joined / extra.name).read_text() == "IQ== 0\n"
    assert (joined / "config.json").resolve() == mount / "config.json"
    again = restore(built.folder, tmp_path / "scratch", mounts=tmp_path / "input")  # over its own links
    assert names(again / MODEL_FOLDER) == names(joined)


def test_a_file_of_the_datasets_comes_in_the_place_of_the_models(model: Path, tmp_path: Path) -> None:
    own = tmp_path / "tokenizer_config.json"
    own.write_text('{"chat_template": "mine"}')
    built = build(tmp_path / "out", model=model, model_source=REF, model_files=(own,))
    mounted(model, tmp_path / "input", LAYOUTS[0])
    joined = restore(built.folder, tmp_path / "scratch", mounts=tmp_path / "input") / MODEL_FOLDER
    assert (joined / own.name).read_text() == own.read_text()


def test_of_a_copy_what_kaggle_does_not_list_enters_by_itself(model: Path, tmp_path: Path) -> None:
    listing = tuple(each for each in listing_of(model) if each.file != "tokenizer.json")
    built = build(tmp_path / "out", model=model, model_source=REF, listing=listing)
    assert [path for path in built.manifest.paths() if path.startswith(MODEL_FOLDER)] == ["model/tokenizer.json"]
    mount = mounted(model, tmp_path / "input", LAYOUTS[1])
    (mount / "tokenizer.json").unlink()
    joined = restore(built.folder, tmp_path / "scratch", mounts=tmp_path / "input") / MODEL_FOLDER
    assert names(joined) == names(model)


def test_of_a_copy_all_but_the_weights_enters_where_kaggle_could_not_be_asked(model: Path, tmp_path: Path) -> None:
    """Every file of the copy was required of the mount, its README.md too, and none travelled."""
    (model / "README.md").write_text("# A model\n")
    built = build(tmp_path / "out", model=model, model_source=REF)
    source = built.manifest.model_source
    assert source is not None
    assert not source.is_listed
    assert {each.file[:6] for each in source.files} == {"model-", "model."}
    mount = mounted(model, tmp_path / "input", LAYOUTS[0])
    for name in ("README.md", "tokenizer.json", "config.json"):
        (mount / name).unlink()
    joined = restore(built.folder, tmp_path / "scratch", mounts=tmp_path / "input") / MODEL_FOLDER
    assert names(joined) >= names(model) - {"README.md"}
    assert load_manifest(built.folder).model_source == source


def test_a_copy_of_another_model_than_kaggle_lists_is_refused(model: Path, tmp_path: Path) -> None:
    shard = "model-00001-of-00003.safetensors"
    other = tuple(replace(each, size_bytes=7) if each.file == shard else each for each in listing_of(model))
    with pytest.raises(InputError, match=rf"{shard}: 1,\d+ bytes, the Kaggle Model has 7 bytes there"):
        build(tmp_path / "out", model=model, model_source=REF, listing=other)
    with pytest.raises(InputError, match="has no such file; name the folder of that very version"):
        build(tmp_path / "out", model=model, model_source=REF, listing=listing_of(model)[:1])


@pytest.mark.parametrize(
    ("name", "says"),
    [("absent.json", "no such file"), ("kaggle.json", "a secret by its name"), ("a.exe", "no kind of file")],
)
def test_a_file_that_cannot_be_added_is_named(model: Path, tmp_path: Path, name: str, says: str) -> None:
    if not name.startswith("absent"):
        (tmp_path / name).write_text("{}")
    with pytest.raises((InputError, MissingError), match=says):
        build(tmp_path / "out", model=model, model_source=REF, model_files=(tmp_path / name,))


def test_another_version_than_the_one_built_for_is_named_as_such(model: Path, tmp_path: Path) -> None:
    built = build(tmp_path / "out", model=model, model_source=REF, listing=listing_of(model))
    mount = mounted(model, tmp_path / "input", "models/someone/qwen/transformers/7b/4")
    (mount / "config.json").write_text("{}")
    with pytest.raises(MissingError, match=rf"version 4 of {REF} is attached, built for was version 3; attach {REF}"):
        restore(built.folder, tmp_path / "scratch", mounts=tmp_path / "input")
    unlisted = build(tmp_path / "unlisted", model_source=REF)
    with pytest.raises(MissingError, match=r"version 4 of .* built for was version 3"):
        restore(unlisted.folder, tmp_path / "scratch", mounts=tmp_path / "input")


def test_another_version_with_the_listed_files_is_taken_and_logged(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    built = build(tmp_path / "out", model=model, model_source=REF, listing=listing_of(model))
    mounted(model, tmp_path / "input", "qwen/transformers/7b/4")
    joined = restore(built.folder, tmp_path / "scratch", mounts=tmp_path / "input") / MODEL_FOLDER
    assert names(joined) == names(model)
    assert "version 4 of" in caplog.text
    mounted(model, tmp_path / "input", "qwen/transformers/7b/3")  # the very version comes first
    caplog.clear()
    joined = restore(built.folder, tmp_path / "scratch", mounts=tmp_path / "input") / MODEL_FOLDER
    assert (joined / "config.json").resolve().parent.name == "3"
    assert not caplog.text


@pytest.mark.parametrize(
    "files",
    [
        [{"file": "../config.json", "size_bytes": 1, "sha256": None}],
        [{"file": "config.json", "size_bytes": -1, "sha256": None}],
        [{"file": "config.json", "size_bytes": 1, "sha256": "short"}],
        [{"file": "config.json"}],
    ],
)
def test_a_listing_that_is_damaged_or_hostile_is_refused(files: list[dict[str, object]], tmp_path: Path) -> None:
    built = build(tmp_path / "out", model_source=REF)
    source = ModelSource(ref=REF, files=(ListedFile(file="config.json", size_bytes=1),))
    replace(built.manifest, model_source=source).save(built.folder)
    assert load_manifest(built.folder).model_source == source
    import json

    path = built.folder / "kit-manifest.json"
    content = json.loads(path.read_text())
    content["model_source"]["files"] = files
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"leads out|size or SHA-256|incomplete"):
        load_manifest(built.folder)


# The wheels


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Wheelhouse:
    return replace(make_wheelhouse(tmp_path_factory.mktemp("wheelhouse"), num_wheels=3), source=SOURCE)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory, wheels: Wheelhouse) -> Path:
    """What the notebook of `kit push-wheels` leaves."""
    folder = tmp_path_factory.mktemp("output")
    with served(SimpleIndex(wheels.folder)) as index:
        fetch_output(wheels.lock, folder / "kit-wheels", index=lambda: Index(url=index.url))
    return folder


@pytest.fixture(scope="module")
def without_wheels(tmp_path_factory: pytest.TempPathFactory, model: Path, wheels: Wheelhouse) -> Bundle:
    root = tmp_path_factory.mktemp("bundle")
    return build(root / "dataset", model=model, wheels=wheels, needs=make_needs(root))


@pytest.mark.parametrize("layout", ["notebooks/someone/wheels", "wheels"])
def test_wheels_of_a_notebooks_output_are_joined_with_their_lock(
    without_wheels: Bundle, output: Path, wheels: Wheelhouse, tmp_path: Path, layout: str
) -> None:
    assert [path for path in without_wheels.manifest.paths() if path.startswith("wheels/")] == [
        f"wheels/{wheels.lock.name}"
    ]
    shutil.copytree(output, tmp_path / "input" / layout)
    restored = restore(without_wheels.folder, tmp_path / "scratch", mounts=tmp_path / "input")
    expected = {wheels.lock.name, *(path.name for path in wheels.folder.iterdir())}
    assert names(restored / "wheels") == expected


def test_wheels_of_another_lock_or_none_are_told_with_what_to_do(
    without_wheels: Bundle, output: Path, tmp_path: Path
) -> None:
    (tmp_path / "input").mkdir()
    with pytest.raises(MissingError, match=r"no wheels of test are attached; run `kit push-wheels --target test`"):
        restore(without_wheels.folder, tmp_path / "scratch", mounts=tmp_path / "input")
    folder = shutil.copytree(output, tmp_path / "input" / "wheels") / "kit-wheels"
    manifest = load_manifest(folder, name=WHEELS_MANIFEST_NAME)
    entries = tuple(replace(each, sha256="0" * 64) if "pylock" in each.path else each for each in manifest.entries)
    replace(manifest, entries=entries).save(folder, name=WHEELS_MANIFEST_NAME)
    with pytest.raises(MissingError, match=rf"not of the lock that the dataset was built for.*output of {SOURCE}"):
        restore(without_wheels.folder, tmp_path / "scratch", mounts=tmp_path / "input")
    (folder / WHEELS_MANIFEST_NAME).write_text("{")
    with pytest.raises(MissingError, match="not valid JSON"):
        restore(without_wheels.folder, tmp_path / "scratch", mounts=tmp_path / "input")


def test_a_wheel_of_the_output_that_is_altered_or_missing_is_named(
    without_wheels: Bundle, output: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(output, tmp_path / "input" / "wheels") / "kit-wheels"
    wheel = next(folder.glob("package_000*.whl"))
    wheel.write_bytes(bytes(wheel.stat().st_size))
    with pytest.raises(InputError, match=rf"{wheel.name}: its SHA-256"):
        restore(without_wheels.folder, tmp_path / "scratch", mounts=tmp_path / "input")
    wheel.unlink()
    with pytest.raises(MissingError, match=wheel.name):
        restore(without_wheels.folder, tmp_path / "scratch", mounts=tmp_path / "input")


def test_a_fetch_that_fails_leaves_no_manifest_by_which_its_output_would_be_taken_for_whole(
    wheels: Wheelhouse, output: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(output, tmp_path / "output") / "kit-wheels"
    damaged = next(folder.glob("package_000*.whl"))
    other = bytes(damaged.stat().st_size)
    damaged.unlink()
    with served(SimpleIndex(wheels.folder, replaced={damaged.name: other})) as index, pytest.raises(InputError):
        fetch_output(wheels.lock, folder, index=lambda: Index(url=index.url, pauses_s=()))
    assert not (folder / WHEELS_MANIFEST_NAME).exists()
