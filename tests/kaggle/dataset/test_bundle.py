"""Building a dataset: what enters, how it is packed, that it goes on after a kill, and what is refused beforehand."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit import assets, cli
from kit.commands import build as build_command
from kit.errors import InputError, MissingError, StorageError
from kit.kaggle.dataset.bundle import Bundle, check_limits
from kit.kaggle.dataset.contents import Followed, Source, check_kit_wheel, model_contents
from kit.kaggle.dataset.handle import DatasetHandle
from kit.kaggle.dataset.manifest import MANIFEST_NAME, ListedFile, is_intact, load_manifest
from kit.kaggle.dataset.packing import MAX_PIECES, header, pack
from kit.kaggle.dataset.plan import Wheelhouse
from kit.kaggle.dataset.restoring import MODEL_FOLDER, TRM_FOLDER, WHEELS_FOLDER, restore
from kit.kaggle.facts import DATASET_METADATA
from kit.kaggle.transfer import SPARE_BYTES, check_space, free_bytes, sha256_of
from kit.lock import held
from kit.trm.checkpoint import save_untrained
from tests.kaggle.dataset.datasets import build, make_model, make_shard, make_wheelhouse
from tests.kaggle.dataset.mangler import EVERY_HABIT, Habits, kept, mangled

REF = "someone/qwen/transformers/7b/3"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Wheelhouse:
    return make_wheelhouse(tmp_path_factory.mktemp("wheelhouse"))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, model: Path, wheels: Wheelhouse) -> Bundle:
    """A build of more files than Kaggle takes."""
    return build(tmp_path_factory.mktemp("packed") / "dataset", model=model, wheels=wheels)


def contents_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


# Packing


def sources_of(sizes: dict[str, int]) -> list[Source]:
    paths = sorted(sizes)
    return [Source(path=path, file=Path("/nowhere") / path, size_bytes=sizes[path]) for path in paths]


paths = (
    st.text("aA_b+~=é./ ", min_size=1, max_size=130)
    .map(lambda text: f"model/{text}")
    .filter(lambda path: ".." not in path and "//" not in path)
)


@given(st.dictionaries(paths, st.integers(0, 5000), min_size=1, max_size=40), st.integers(1, 20))
@settings(max_examples=200)
def test_every_file_is_in_one_piece_under_a_name_of_its_own_that_survives(
    sizes: dict[str, int], max_pieces: int
) -> None:
    pieces = pack(sources_of(sizes), max_pieces=max_pieces, archive_bytes=10**9)
    contents = [each for piece in pieces for each in piece.contents]
    names = [each.name for each in contents] + [piece.file for piece in pieces if piece.is_archive]
    assert len(pieces) <= max_pieces
    assert sorted(each.source.path for each in contents) == sorted(sizes)
    assert len({name.casefold() for name in names}) == len(names)
    assert all(kept(name) == name and len(name) <= 100 and name not in ("", ".", "..") for name in names)
    assert not any("/" in name or name.endswith((".zip", ".tar", ".gz")) for name in names)


def test_the_largest_files_stay_files_and_the_smallest_share_an_archive() -> None:
    pieces = pack(sources_of({f"model/{size}": size for size in range(1, 11)}), max_pieces=4)
    assert [[each.source.path for each in piece.contents] for piece in pieces if not piece.is_archive] == [
        ["model/10"], ["model/8"], ["model/9"]
    ]  # fmt: skip
    assert sum(piece.is_archive for piece in pieces) == 1


def test_an_archive_is_closed_before_it_is_too_large() -> None:
    pieces = pack(sources_of({f"model/{number}": 40 for number in range(10)}), max_pieces=5, archive_bytes=100)
    assert [len(piece.contents) for piece in pieces] == [2, 2, 2, 2, 2]
    with pytest.raises(InputError, match="10 files of 400 bytes do not fit into 4"):
        pack(sources_of({f"model/{number}": 40 for number in range(10)}), max_pieces=4, archive_bytes=100)


def test_a_file_beyond_eight_gibibytes_fits_into_an_archive() -> None:
    large = (9 << 30) + 1
    (piece,) = pack(sources_of({"model/a": large, "model/b": 0}), max_pieces=1, archive_bytes=1 << 40)
    read = tarfile.TarInfo.frombuf(header(piece.contents[0]), "ascii", "strict")
    assert (read.name, read.size, read.mtime) == ("model__a", large, 0)
    assert piece.size_bytes == 512 + large + 511 + 512 + 1024


def test_the_kits_wheel_is_never_packed(packed: Bundle) -> None:
    """The notebook's first cell installs it, before anything can be unpacked."""
    assert len(list(packed.folder.glob("mathllm_kit-*.whl"))) == 1


def test_many_wheels_become_few_files_in_archives_that_any_tar_reads(packed: Bundle, wheels: Wheelhouse) -> None:
    assert len(list(packed.folder.iterdir())) <= 50
    archives = [entry for entry in packed.manifest.entries if entry.members]
    assert archives
    for entry in archives:
        with tarfile.open(packed.folder / entry.file) as archive:
            assert archive.getnames() == [member.file for member in entry.members]
        content = (packed.folder / entry.file).read_bytes()
        for member in entry.members:
            begin = member.offset_bytes
            original = wheels.folder.parent / Path(member.path) if member.path.startswith("wheels/") else None
            if original is not None and original.suffix == ".whl":
                assert content[begin : begin + member.size_bytes] == original.read_bytes()


def test_the_manifest_tells_wheels_versions_and_the_machine_they_are_for(packed: Bundle) -> None:
    wheels = load_manifest(packed.folder).wheels
    assert wheels is not None
    assert (wheels.target, wheels.python, wheels.lock) == ("test", "3.11", "wheels/pylock.test.toml")
    assert "torch==2.9.1+cu128" in wheels.versions
    assert is_intact(packed.folder)


# What Kaggle makes of it


@pytest.mark.parametrize("habits", EVERY_HABIT, ids=str)
def test_whatever_kaggle_does_every_file_comes_back_under_its_own_name(
    packed: Bundle, model: Path, wheels: Wheelhouse, habits: Habits, tmp_path: Path
) -> None:
    restored = restore(mangled(packed.folder, tmp_path, habits), tmp_path / "scratch")
    assert contents_of(restored / MODEL_FOLDER) == contents_of(model)
    expected = {**contents_of(wheels.folder), wheels.lock.name: wheels.lock.read_bytes()}
    assert contents_of(restored / WHEELS_FOLDER) == expected
    assert "torch-2.9.1+cu128-py3-none-any.whl" in expected


@pytest.mark.parametrize("habits", EVERY_HABIT, ids=str)
def test_a_member_that_is_lost_or_altered_on_the_way_is_named(packed: Bundle, habits: Habits, tmp_path: Path) -> None:
    mounted = mangled(packed.folder, tmp_path, habits)
    entry = next(entry for entry in packed.manifest.entries if entry.members)
    member = entry.members[3]
    found = [path for path in mounted.rglob(member.file) if path.is_file()]
    file, offset = (found[0], 0) if found else (mounted / entry.file, member.offset_bytes)
    file.chmod(0o644)
    content = bytearray(file.read_bytes())
    content[offset] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"SHA-256") as caught:
        restore(mounted, tmp_path / "scratch")
    assert (member.file if found else member.path) in str(caught.value)
    file.unlink()
    with pytest.raises(MissingError, match=member.file if found else entry.file):
        restore(mounted, tmp_path / "scratch")


def test_an_archive_that_is_cut_off_is_named(packed: Bundle, tmp_path: Path) -> None:
    dataset = shutil.copytree(packed.folder, tmp_path / "dataset")
    archive = next(dataset.glob("packed-*"))
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(InputError, match=rf"{archive.name}: 5,000 bytes, the manifest says [\d,]+;"):
        restore(dataset, tmp_path / "scratch")


def test_startup_needs_nothing_but_the_standard_library(repo: Path) -> None:
    """It runs from inside the kit's wheel before anything is installed."""
    code = f"import sys; sys.path[:0] = [{str(repo)!r}]; import kit.kaggle.dataset.restoring"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


# A model that stays out


@pytest.mark.parametrize("layout", ["models/someone/qwen/Transformers/7b/3", "qwen/transformers/7b/3"])
def test_a_kaggle_model_is_recorded_and_found_in_either_layout(model: Path, tmp_path: Path, layout: str) -> None:
    listing = [ListedFile(file=path.name, size_bytes=path.stat().st_size) for path in model.iterdir()]
    built = build(tmp_path / "out", model=model, model_source=REF, listing=listing)
    assert not list(built.folder.glob("model__*"))
    mounted = shutil.copytree(model, tmp_path / "input" / layout)
    restored = restore(built.folder, tmp_path / "scratch", mounts=tmp_path / "input")
    assert contents_of(restored / MODEL_FOLDER) == contents_of(model)
    (mounted / "config.json").write_text('{"model_type": "qwen3", "vocab_size": 4}')
    with pytest.raises(MissingError, match="attach someone/qwen"):
        restore(built.folder, tmp_path / "scratch", mounts=tmp_path / "input")


def test_a_kaggle_model_that_the_builder_does_not_have_is_found_by_its_path(model: Path, tmp_path: Path) -> None:
    built = build(tmp_path / "out", model_source=REF)
    with pytest.raises(MissingError, match=f"no Kaggle Model {REF} is attached"):
        restore(built.folder, tmp_path / "scratch", mounts=tmp_path)
    shutil.copytree(model, tmp_path / "input" / "models/someone/qwen/transformers/7b/2")  # another version
    with pytest.raises(MissingError, match=r"version 2 of .* is attached, built for was version 3"):
        restore(built.folder, tmp_path / "scratch", mounts=tmp_path / "input")
    shutil.copytree(model, tmp_path / "input" / "models/someone/qwen/transformers/7b/3")
    restored = restore(built.folder, tmp_path / "scratch", mounts=tmp_path / "input")
    assert contents_of(restored / MODEL_FOLDER) == contents_of(model)


# Again, and again after a kill


def test_two_builds_with_wheels_have_the_same_bytes(packed: Bundle, model: Path, wheels: Wheelhouse, tmp_path: Path):  # type: ignore[no-untyped-def]
    again = build(tmp_path / "dataset", model=model, wheels=wheels)
    kit_wheel = next(packed.folder.glob("*.whl")).name  # of sources that somebody may be editing
    ignored = {MANIFEST_NAME, kit_wheel}
    ours, theirs = contents_of(again.folder), contents_of(packed.folder)
    assert {name: ours[name] for name in ours.keys() - ignored} == {
        name: theirs[name] for name in theirs.keys() - ignored
    }
    assert again.manifest.entries[1:] == packed.manifest.entries[1:]


def test_the_place_of_a_mounted_disk_is_refused_with_a_folder_in_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build is written beside its place, which is another disk there."""
    out = tmp_path / "disk"
    out.mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path == out)
    with pytest.raises(InputError, match=rf"{out}: is where a disk is mounted; name a folder in it: --out {out}/data"):
        build(out, model=model, kit_wheel=None)
    assert [path.name for path in tmp_path.glob("disk*")] == ["disk"]


def test_only_what_has_changed_is_written_again(model: Path, tmp_path: Path) -> None:
    own = shutil.copytree(model, tmp_path / "model")
    out = tmp_path / "out"
    first = build(out, model=own, kit_wheel=None)
    inodes = {path.name: path.stat().st_ino for path in out.iterdir()}
    assert first.num_reused == 0
    shard = own / "model-00002-of-00003.safetensors"
    times = shard.stat()
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    os.utime(shard, ns=(times.st_atime_ns, times.st_mtime_ns))  # as rsync and cp -p may leave it
    second = build(out, model=own, kit_wheel=None)
    changed = {
        name for name, inode in inodes.items() if name.startswith("model__") and (out / name).stat().st_ino != inode
    }
    assert changed == {"model__model-00002-of-00003.safetensors"}
    assert sha256_of(out / "model__model-00002-of-00003.safetensors") == sha256_of(shard)
    assert second.num_reused == len(first.manifest.entries) - 2  # the kit's own wheel is made anew each time


def test_a_built_file_that_was_damaged_since_is_written_again(model: Path, tmp_path: Path) -> None:
    built = build(tmp_path / "out", model=model)
    file = built.folder / "model__config.json"
    file.write_bytes(b"!" * file.stat().st_size)
    again = build(tmp_path / "out", model=model)
    assert sha256_of(file) == next(entry.sha256 for entry in again.manifest.entries if entry.file == file.name)


KILLED = """
import os, signal, sys
from pathlib import Path
from kit.kaggle.dataset.bundle import build
from kit.kaggle.dataset.plan import DatasetPlan
left = int(sys.argv[3])
def on_bytes(num_bytes, total_bytes):
    global left
    left -= num_bytes
    if left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
build(Path(sys.argv[1]), DatasetPlan(model=Path(sys.argv[2])), on_bytes=on_bytes)
"""


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_build_killed_at_any_byte_goes_on_and_ends_the_same(tmp_path: Path, share: float) -> None:
    model = make_model(tmp_path / "model", num_shards=8, shard_bytes=1 << 20)
    whole = build(tmp_path / "whole", model=model)
    out, left = tmp_path / "out", int(whole.size_bytes * share)
    command = [sys.executable, "-c", KILLED, str(out), str(model), str(left)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert not out.exists()
    record = tmp_path / "out.build" / "record.json"
    recorded = json.loads(record.read_text())["pieces"] if record.exists() else {}
    kept_files = [tmp_path / "out.build" / "dataset" / name for name in recorded if not name.endswith(".whl")]
    finished = {path.name: path.stat().st_ino for path in kept_files}
    again = build(out, model=model)
    assert {path.name: path.stat().st_ino for path in out.iterdir() if path.name in finished} == finished
    assert again.num_reused == len(finished)
    assert again.manifest.entries[1:] == whole.manifest.entries[1:]
    for entry in again.manifest.entries:
        assert sha256_of(out / entry.file) == entry.sha256
    assert not list((tmp_path / "out.build").glob("dataset*"))


def test_a_build_killed_while_it_replaces_the_one_before_loses_neither(model: Path, tmp_path: Path) -> None:
    built = build(tmp_path / "out", model=model)
    built.folder.rename(tmp_path / "out.build" / "before")  # as far as it got: the old one is out of the way
    again = build(tmp_path / "out", model=model)
    assert again.manifest.entries[1:] == built.manifest.entries[1:]
    assert not (tmp_path / "out.build" / "before").exists()


def test_two_builds_of_one_folder_at_a_time_are_refused(model: Path, tmp_path: Path) -> None:
    with held(tmp_path / "out.build"), pytest.raises(StorageError, match="another process is using it"):
        build(tmp_path / "out", model=model)


def test_a_record_that_is_damaged_counts_as_none(model: Path, tmp_path: Path) -> None:
    build(tmp_path / "out", model=model)
    (tmp_path / "out.build" / "record.json").write_text("{")
    assert build(tmp_path / "out", model=model).num_reused == 0


@pytest.mark.slow
def test_memory_does_not_grow_with_the_largest_file(tmp_path: Path) -> None:
    """Of a file of 128 MiB, less than 32 are held; benchmarks/bundle_speed.py shows 20 GB."""
    peaks = []
    for name, num_bytes in (("small", 1 << 19), ("large", 1 << 27)):
        model = make_model(tmp_path / name, num_shards=1)
        make_shard(model / "model-00001-of-00001.safetensors", num_bytes)
        code = (
            "import sys; from pathlib import Path; from kit.kaggle.dataset.bundle import build\n"
            "from kit.kaggle.dataset.plan import DatasetPlan\n"
            "build(Path(sys.argv[1]), DatasetPlan(model=Path(sys.argv[2])))\n"
            "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
        )
        command = [sys.executable, "-c", code, str(tmp_path / f"{name}-out"), str(model)]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert peaks[1] - peaks[0] < 32 << 10


@pytest.mark.parametrize("num_odd_bytes", [0, 1, 4097])
def test_a_large_file_is_written_to_its_last_byte(tmp_path: Path, num_odd_bytes: int) -> None:
    """Its whole blocks go past the page cache, its end through it."""
    model = make_model(tmp_path / "model", num_shards=1)
    shard = model / "model-00001-of-00001.safetensors"
    num_bytes = (65 << 20) + num_odd_bytes
    make_shard(shard, num_bytes, content=os.urandom(1 << 16) * (num_bytes >> 16))
    built = build(tmp_path / "out", model=model)
    assert sha256_of(built.folder / f"model__{shard.name}") == sha256_of(shard)


# What is refused or left out


def test_secrets_and_what_no_model_needs_stay_out_and_are_told(model: Path, tmp_path: Path) -> None:
    own = shutil.copytree(model, tmp_path / "model")
    strangers = """kaggle.json .env prod.env access_token id_rsa server.pem credentials.json .netrc token
                   optimizer.pt events.out.tfevents""".split()
    for name in strangers:
        (own / name).write_text("x")
    for name in (".git", "checkpoint-500"):
        (own / name).mkdir()
        (own / name / "config.json").write_text("{}")
    built = build(tmp_path / "out", model=own)
    assert {left.file.name: bool(left.reason) for left in built.left_out} == dict.fromkeys(
        [*strangers, ".git", "checkpoint-500"], True
    )
    assert [entry.path for entry in built.manifest.entries[1:]] == [
        f"model/{path.name}" for path in sorted(model.iterdir())
    ]


def test_a_link_that_leaves_the_models_folder_enters_and_is_told(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Regression: whatever a link led to was packed for the public without a word."""
    own = shutil.copytree(model, tmp_path / "own")
    private = tmp_path / "private.md"
    private.write_text("not meant for anybody")
    (own / "README.md").symlink_to(private)
    (own / "NOTICE").symlink_to(own / "config.json")  # stays within
    built = build(tmp_path / "out", model=own)
    assert built.followed == (Followed(own / "README.md", private),)
    assert (built.folder / "model__README.md").read_text() == "not meant for anybody"
    assert cli.main(["build", "--model", str(own), "--out", str(tmp_path / "again")]) == 0
    assert f"{own / 'README.md'} enters as {private}, from outside of its folder" in capsys.readouterr().out


def test_a_models_folder_that_is_a_link_itself_or_of_the_hubs_cache_is_told_nothing_of(
    model: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(model)
    assert model_contents("model", tmp_path / "link").followed == ()
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "0f0f", tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    shutil.copytree(model, blobs)
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(Path("../../blobs") / path.name)
    (snapshot / "LICENSE").symlink_to(tmp_path / "models--a--b" / "blobs" / ".." / "elsewhere")
    (tmp_path / "models--a--b" / "elsewhere").write_text("mine")
    contents = model_contents("model", snapshot)
    assert len(contents.sources) == len(list(model.iterdir())) + 1
    assert [each.file.name for each in contents.followed] == ["LICENSE"]


def test_a_link_to_a_secret_by_its_name_stays_out_under_whatever_name(model: Path, tmp_path: Path) -> None:
    own = shutil.copytree(model, tmp_path / "own")
    (tmp_path / "id_rsa").write_text("x")
    (own / "extra.txt").symlink_to(tmp_path / "id_rsa")
    (own / "gone.txt").symlink_to(tmp_path / "no such file")
    contents = model_contents("model", own)
    assert {left.file.name: left.reason for left in contents.left_out} == {
        "extra.txt": "a link to a secret by its name",
        "gone.txt": "not a file",
    }


@pytest.mark.parametrize(
    "secret",
    [
        "hf_" + "a1" * 17,
        "KGAT_" + "0" * 32,
        '{"username": "someone", "key": "' + "0f" * 16 + '"}',
        "-----BEGIN " + "RSA PRIVATE KEY-----",
        "ghp_" + "A" * 36,
        "AKIA" + "B" * 16,
    ],
)
def test_a_key_in_a_file_that_would_enter_is_refused_and_its_line_named(
    model: Path, tmp_path: Path, secret: str
) -> None:
    own = shutil.copytree(model, tmp_path / "model")
    (own / "README.md").write_text(f"# A model\n\nmade with {secret}\n")
    with pytest.raises(InputError, match=r"README\.md: line 3 holds what looks like a key") as caught:
        build(tmp_path / "out", model=own)
    assert secret not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_ordinary_words_of_models_are_no_secrets(tmp_path: Path) -> None:
    assert len(model_contents("model", assets.TINY_MODEL).sources) == 6
    words = tmp_path / "vocab.txt"
    words.write_text("task-aware-of-all-the-many-different-things-in-life sk-learn hf_config KGAT_ token key: 0f0f\n")
    assert [source.path for source in model_contents("model", tmp_path).sources] == ["model/vocab.txt"]


def test_a_secret_in_the_checkout_does_not_enter_through_the_kits_wheel(tmp_path: Path) -> None:
    for name, content in (("kit/.env", b"x"), ("kit/kaggle/kaggle.json", b"{}"), ("kit/a.py", b"T = 'hf_" + b"a" * 34)):
        with zipfile.ZipFile(tmp_path / "kit.whl", "w") as wheel:
            wheel.writestr(name, content)
        with pytest.raises(InputError, match=name):
            check_kit_wheel(tmp_path / "kit.whl")


def test_wheels_that_are_missing_or_not_the_locked_ones_are_named(model: Path, tmp_path: Path) -> None:
    wheels = make_wheelhouse(tmp_path, num_wheels=3)
    file = wheels.folder / "package-000-1.0-py3-none-any.whl".replace("package-", "package_")
    content = bytearray(file.read_bytes())
    content[50] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=rf"{file.name}: not the locked file"):
        build(tmp_path / "out", model=model, wheels=wheels)
    file.write_bytes(content[:-1])
    with pytest.raises(InputError, match=rf"{file.name}: \d+ bytes, the lock says"):
        build(tmp_path / "out", model=model, wheels=wheels)
    file.unlink()
    with pytest.raises(MissingError, match=rf"{file.name}: missing, the lock names it; get it with `kit wheels fetch"):
        build(tmp_path / "out", model=model, wheels=wheels)
    assert not (tmp_path / "out").exists()


def test_what_is_too_large_for_kaggle_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", num_shards=1)
    make_shard(model / "model-00001-of-00001.safetensors", 201 * 10**9)
    with pytest.raises(InputError, match=r"Kaggle takes 200,000,000,000; the largest file is .*00001\.safetensors"):
        build(tmp_path / "out", model=model)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_does_not_fit_on_the_disk_is_refused(tmp_path: Path) -> None:
    out, fix = tmp_path / "not" / "yet" / "there", "free some disk, or choose another --out"
    with pytest.raises(StorageError, match=r"bytes to write and 67,108,864 to spare, [\d,]+ are free; free some"):
        check_space(out, shutil.disk_usage(tmp_path).total, purpose="write", fix=fix)
    check_space(out, 0, purpose="write", fix=fix)


def test_a_disk_with_room_for_all_but_the_spare_is_refused_with_the_spare_named(tmp_path: Path) -> None:
    """Regression: "900 bytes to write, 1,000 are free" said nothing of what was wanted beyond them."""
    almost = free_bytes(tmp_path) - SPARE_BYTES // 2
    with pytest.raises(StorageError, match=r"to spare"):
        check_space(tmp_path, almost, purpose="write", fix="free some disk")
    check_space(tmp_path, almost - SPARE_BYTES, purpose="write", fix="free some disk")


@pytest.mark.slow
def test_a_disk_that_refuses_to_take_more_leaves_the_build_before_untouched(model: Path, tmp_path: Path) -> None:
    before = build(tmp_path / "out", model=model).manifest
    larger = make_model(tmp_path / "larger", num_shards=2, shard_bytes=4 << 20)
    code = (
        "import resource, sys; from pathlib import Path; from kit.kaggle.dataset.bundle import build\n"
        "from kit.kaggle.dataset.plan import DatasetPlan\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))\n"
        "build(Path(sys.argv[1]), DatasetPlan(model=Path(sys.argv[2])))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "out"), str(larger)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "StorageError" in done.stderr
    assert "cannot write (File too large); free some disk" in done.stderr
    assert load_manifest(tmp_path / "out") == before


def test_limits_count_every_file() -> None:
    check_limits(pack(sources_of({f"model/{number}": 1 for number in range(1000)})))
    assert len(pack(sources_of({f"model/{number}": 1 for number in range(1000)}))) == MAX_PIECES


def test_a_file_that_changes_while_it_is_copied_is_named(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", num_shards=1, shard_bytes=4 << 20)
    shard = model / "model-00001-of-00001.safetensors"

    def touch(num_bytes: int, total_bytes: int) -> None:
        if num_bytes:
            with shard.open("r+b") as file:
                file.seek(-1, os.SEEK_END)
                file.write(b"?")

    with pytest.raises(InputError, match=rf"{shard.name}: it changed while it was copied"):
        build(tmp_path / "out", model=model, on_bytes=touch)
    assert not (tmp_path / "out").exists()


# Metadata and the command line


def test_the_metadata_is_what_kaggles_client_asks_for(packed: Bundle, model: Path, tmp_path: Path) -> None:
    content = json.loads((packed.folder / DATASET_METADATA).read_text())
    owner, slug = content["id"].split("/")
    assert owner
    assert 6 <= len(slug) <= 50
    assert 6 <= len(content["title"]) <= 50
    assert [list(licence) for licence in content["licenses"]] == [["name"]]
    built = build(tmp_path / "out", model=model, metadata=DatasetHandle(owner="me", slug="my-dataset"))
    assert json.loads((built.folder / DATASET_METADATA).read_text())["id"] == "me/my-dataset"


def test_no_file_of_a_build_needs_an_exec_bit(packed: Bundle) -> None:
    assert not any(path.stat().st_mode & stat.S_IXUSR for path in packed.folder.iterdir())


def test_the_command_lists_what_entered_and_what_did_not(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = shutil.copytree(model, tmp_path / "model")
    (own / "kaggle.json").write_text("{}")
    options = ["build", "--out", str(tmp_path / "out"), "--model", str(own), "--id", "me/my-dataset"]
    assert cli.main(options) == 0
    printed = capsys.readouterr().out
    assert "model__config.json" in printed
    assert f"left out  {own / 'kaggle.json'}: a secret by its name" in printed
    assert cli.main([*options, "--model-source", REF]) == 0
    assert f"attach {REF} to the notebook" in capsys.readouterr().out


def test_the_command_counts_the_wheels_and_lists_all_else(
    packed: Bundle, wheels: Wheelhouse, capsys: pytest.CaptureFixture[str]
) -> None:
    build_command._print(packed)
    printed = capsys.readouterr().out
    num_files = len(list(wheels.folder.iterdir())) + 1  # and the lock
    assert f"{num_files} files in wheels/, listed in kit-manifest.json" in printed
    assert "package_000" not in printed
    assert "model__config.json" in printed
    assert len(printed.splitlines()) < 15


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--id", "nobody"], "slug must be"),
        (["--wheels-folder", "x"], "needs --wheels"),
        (["--wheels", "vax"], "kit wheels lock"),
        (["--model-source", "a/b"], "model source must be"),
        (["--wheels-source", "ada/wheels"], "--wheels-source needs --wheels"),
        (["--wheels", "cpu", "--wheels-source", "wheels"], "slug must be"),
        (["--model-file", "absent.json"], "absent.json: no such file"),
    ],
)
def test_a_bad_option_is_one_line_on_stderr(
    options: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["build", "--out", str(tmp_path / "out"), *options]) == 1
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_recursive_model_enters_with_wheels(wheels: Wheelhouse, tmp_path: Path) -> None:
    save_untrained(tmp_path / "trm", backbone_folder=assets.TINY_MODEL)
    built = build(tmp_path / "out", model=assets.TINY_MODEL, trm=tmp_path / "trm", wheels=wheels)
    restored = restore(built.folder, tmp_path / "scratch")
    assert (restored / TRM_FOLDER / "model.safetensors").is_file()
