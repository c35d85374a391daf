"""The parts of an upload that start no process: where credentials are, what may be sent."""

from __future__ import annotations

import base64
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import InputError, MissingError, StorageError
from kit.kaggle.dataset.handle import DatasetHandle
from kit.kaggle.dataset.manifest import MANIFEST_NAME, Entry, Manifest
from kit.kaggle.facts import DATASET_METADATA, name_on_kaggle
from kit.kaggle.transfer import sha256_of
from kit.kaggle.upload.credentials import client_environment, find_credentials
from kit.kaggle.upload.plan import RetryPolicy
from kit.kaggle.upload.staging import check_dataset_folder, differences, stage, write_archive

KEY = "0123456789abcdef0123456789abcdef"


def make_dataset(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    paths = [folder / name for name in sorted(files)]
    entries = tuple(Entry(path.name, path.name, path.stat().st_size, sha256_of(path)) for path in paths)
    Manifest(kit_version="1", commit="test", entries=entries).save(folder)
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "dataset", {"model__config.json": b"{}", "model__weights.safetensors": b"w" * 1000})


# Credentials.


def test_without_credentials_every_place_is_named_and_the_fix(tmp_path: Path) -> None:
    with pytest.raises(MissingError) as caught:
        find_credentials({"HOME": str(tmp_path)})
    message = str(caught.value)
    places = ("KAGGLE_API_TOKEN", "access_token", "access_token.txt", "KAGGLE_KEY", "kaggle.json", "credentials.json")
    assert all(place in message for place in places)
    assert "https://www.kaggle.com/settings/api" in message


def test_half_of_a_key_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="there is a key but no username"):
        find_credentials({"HOME": str(tmp_path), "KAGGLE_KEY": KEY})
    with pytest.raises(MissingError, match="there is a username but no key"):
        find_credentials({"HOME": str(tmp_path), "KAGGLE_USERNAME": "ada"})


def test_places_count_in_the_clients_order(tmp_path: Path) -> None:
    home = tmp_path / ".kaggle"
    home.mkdir()
    environ = {"HOME": str(tmp_path)}
    (home / "credentials.json").write_text(json.dumps({"refresh_token": "refresh-me", "username": "bob"}))
    assert find_credentials(environ).source == str(home / "credentials.json")
    (home / "kaggle.json").write_text(json.dumps({"username": "ada", "key": KEY}))
    assert find_credentials(environ).username == "ada"
    (home / "access_token").write_text("token-of-a-file\n")
    assert find_credentials(environ).source == str(home / "access_token")
    found = find_credentials({**environ, "KAGGLE_API_TOKEN": "token-of-a-variable"})
    assert found.source == "KAGGLE_API_TOKEN"
    assert {"token-of-a-variable", "token-of-a-file", KEY, "refresh-me"} <= set(found.secrets)
    assert KEY not in repr(found)


def test_a_token_may_be_the_path_of_a_file_and_a_key_lie_elsewhere(tmp_path: Path) -> None:
    token = tmp_path / "my-token"
    token.write_text("token-of-a-file")
    assert "token-of-a-file" in find_credentials({"HOME": str(tmp_path), "KAGGLE_API_TOKEN": str(token)}).secrets
    xdg = tmp_path / ".config" / "kaggle"
    xdg.mkdir(parents=True)
    (xdg / "kaggle.json").write_text(json.dumps({"username": "ada", "key": KEY}))
    assert find_credentials({"HOME": str(tmp_path)}).username == "ada"
    assert find_credentials({"HOME": "/nowhere", "KAGGLE_CONFIG_DIR": str(xdg)}).username == "ada"
    assert find_credentials({"HOME": str(tmp_path), "KAGGLE_API_TOKEN": "e" * 5000}).source == "KAGGLE_API_TOKEN"


@pytest.mark.parametrize("content", ["", "not json", "[1]", "[" * 100_000, '{"username": "ada"}', "null"])
def test_a_file_that_holds_no_credentials_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "kaggle.json").write_text(content)
    with pytest.raises(MissingError):
        find_credentials({"HOME": str(tmp_path), "KAGGLE_CONFIG_DIR": str(tmp_path)})


@given(st.text(), st.text(), st.sampled_from([KEY, base64.b64encode(f"ada:{KEY}".encode()).decode()]))
def test_no_secret_survives_scrubbing(before: str, after: str, secret: str) -> None:
    found = find_credentials({"HOME": "/nowhere", "KAGGLE_USERNAME": "ada", "KAGGLE_KEY": KEY})
    assert secret not in found.scrubbed(f"{before}{secret}{after}")


def test_the_signed_part_of_an_upload_address_is_scrubbed_too() -> None:
    found = find_credentials({"HOME": "/nowhere", "KAGGLE_API_TOKEN": "some-token"})
    line = "Max retries exceeded with url: /upload/b/o?uploadType=resumable&upload_id=ABC (Caused by x)"
    assert found.scrubbed(line) == "Max retries exceeded with url: /upload/b/o?[hidden] (Caused by x)"


def test_the_client_gets_a_clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-token").write_text("x")
    environ = {
        "HOME": "/home/ada",
        "VERBOSE": "true",  # would have the client print its Authorization headers
        "PYTHONPATH": "/elsewhere",
        "AWS_SECRET_ACCESS_KEY": "x",
        "https_proxy": "http://proxy",
        "KAGGLE_API_TOKEN": "my-token",
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
    }
    got = client_environment(environ, scratch=tmp_path / "scratch")
    assert set(got) == {"HOME", "https_proxy", "KAGGLE_API_TOKEN", "TMPDIR", "PYTHONUNBUFFERED", "PYTHONIOENCODING"}
    assert got["KAGGLE_API_TOKEN"] == str(tmp_path / "my-token")
    assert got["TMPDIR"] == str(tmp_path / "scratch")


# What may be sent.


def test_a_whole_dataset_is_listed_with_its_manifest(dataset: Path) -> None:
    told: list[tuple[int, int]] = []
    staged = check_dataset_folder(dataset, credentials=None, on_progress=lambda *each: told.append(each))
    assert set(staged.sizes_bytes) == {path.name for path in dataset.iterdir()}
    assert staged.size_bytes == sum(path.stat().st_size for path in dataset.iterdir())
    assert told[-1] == (1002, 1002)


def test_what_is_not_as_the_manifest_says_is_refused_by_name(dataset: Path) -> None:
    weights = dataset / "model__weights.safetensors"
    weights.write_bytes(b"v" * 1000)
    with pytest.raises(InputError, match=r"model__weights\.safetensors: its SHA-256 is not the manifest's"):
        check_dataset_folder(dataset, credentials=None)
    weights.write_bytes(b"w" * 999)
    with pytest.raises(InputError, match="999 bytes, the manifest says 1,000"):
        check_dataset_folder(dataset, credentials=None)
    weights.unlink()
    with pytest.raises(MissingError, match=r"model__weights\.safetensors: missing"):
        check_dataset_folder(dataset, credentials=None)


def test_nothing_unlisted_is_uploaded(dataset: Path) -> None:
    (dataset / ".env").write_text("SECRET=1")
    with pytest.raises(InputError, match=r"\.env: the manifest does not list it"):
        check_dataset_folder(dataset, credentials=None)
    (dataset / ".env").unlink()
    (dataset / "more").mkdir()
    with pytest.raises(InputError, match="not a plain file"):
        check_dataset_folder(dataset, credentials=None)


def test_a_dataset_that_holds_the_users_credentials_is_refused(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "dataset", {"notes.txt": f"my key is {KEY}\n".encode()})
    found = find_credentials({"HOME": "/nowhere", "KAGGLE_USERNAME": "ada", "KAGGLE_KEY": KEY})
    with pytest.raises(InputError, match=r"notes\.txt: holds your Kaggle credentials") as caught:
        check_dataset_folder(folder, credentials=found)
    assert KEY not in str(caught.value)


def test_what_kaggle_would_leave_out_or_merge_is_refused(tmp_path: Path) -> None:
    for name in (DATASET_METADATA, "model-metadata.json", "dataset-cover-image.png"):
        with pytest.raises(InputError, match="the Kaggle client never uploads"):
            check_dataset_folder(make_dataset(tmp_path / name, {name: b"{}"}), credentials=None)
    both = make_dataset(tmp_path / "both", {"a+b": b"1", "ab": b"2"})
    with pytest.raises(InputError, match="one name, ab"):
        check_dataset_folder(both, credentials=None)
    many = make_dataset(tmp_path / "many", {f"file-{number}": b"" for number in range(50)})
    with pytest.raises(InputError, match="51 files, Kaggle takes 50"):
        check_dataset_folder(many, credentials=None)
    big = make_dataset(tmp_path / "big", {"weights.bin": b""})
    with (big / "weights.bin").open("r+b") as file:
        file.truncate(200 * 10**9)  # a hole: takes no disk
    with pytest.raises(InputError, match=r"bytes, Kaggle takes 200,000,000,000"):
        check_dataset_folder(big, credentials=None)


def test_staging_leaves_the_dataset_as_it_is_and_can_be_repeated(dataset: Path, tmp_path: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in dataset.iterdir()}
    staged = check_dataset_folder(dataset, credentials=None)
    for _ in range(2):
        stage(staged, tmp_path / "staged", DatasetHandle(owner="ada").metadata)
    staged = {path.name for path in (tmp_path / "staged").iterdir()}
    assert staged == {*before, DATASET_METADATA}
    assert (tmp_path / "staged" / "model__config.json").read_bytes() == b"{}"
    assert {path.name: path.stat().st_mtime_ns for path in dataset.iterdir()} == before


def test_the_archive_holds_every_file_and_is_the_same_every_time(dataset: Path, tmp_path: Path) -> None:
    staged = check_dataset_folder(dataset, credentials=None)
    first, second = tmp_path / "new" / "first.zip", tmp_path / "second.zip"
    write_archive(staged, first)
    write_archive(staged, second)
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {
            path.name: path.read_bytes() for path in dataset.iterdir()
        }
        assert all(each.compress_type == zipfile.ZIP_STORED for each in archive.infolist())
    assert not list(tmp_path.rglob("*.partial"))


def test_an_archive_that_cannot_be_written_leaves_nothing(dataset: Path, tmp_path: Path) -> None:
    staged = check_dataset_folder(dataset, credentials=None)
    (dataset / "model__config.json").unlink()
    with pytest.raises(StorageError, match=r"kit\.zip: cannot write"):
        write_archive(staged, tmp_path / "kit.zip")
    assert not list(tmp_path.glob("kit.zip*"))


# Kaggle's list.


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9_.+~=-]{0,12}", fullmatch=True), st.integers(0, 10**12), max_size=8))
def test_a_list_of_what_was_sent_has_no_differences(sizes: dict[str, int]) -> None:
    listed = {name_on_kaggle(name): size for name, size in sizes.items()}
    if len(listed) == len(sizes):
        assert differences(sizes, listed) == ()
        for name in listed:
            without = {each: size for each, size in listed.items() if each != name}
            assert any(f"{name} is missing" in line for line in differences(sizes, without))
            assert any(f"{name} has" in line for line in differences(sizes, {**listed, name: listed[name] + 1}))


def test_an_archive_may_be_listed_as_itself_or_unpacked() -> None:
    sizes = {"docs.zip": 100, "src.tar.gz": 50, "a+b.whl": 7}
    assert differences(sizes, {"docs.zip": 100, "src/x.py": 1, "src/y.py": 2, "ab.whl": 7}) == ()
    assert differences(sizes, {"docs/x": 1, "src/x.py": 1, "ab.whl": 7}) == ()
    found = differences(sizes, {"docs.zip": 99, "ab.whl": 7, "old.bin": 3})
    assert found == ("docs.zip has 99 bytes instead of 100", "src.tar.gz is missing", "old.bin was not sent")


# Settings.


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"slug": "short"}, "slug must be 6 to 50"),
        ({"slug": "with_underscore"}, "slug must be of a-z"),
        ({"slug": "x" * 51}, "slug must be 6 to 50"),
        ({"owner": "Ada L"}, "owner must be a Kaggle username"),
        ({"title": "tiny"}, "title must be 6 to 50"),
        ({"licence": "Apache"}, "licence must be one of apache-2.0"),
        ({"notes": " "}, "notes must be some text"),
    ],
)
def test_a_place_that_kaggle_would_refuse_is_refused_at_once(change: dict[str, str], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        DatasetHandle(**{"owner": "ada", **change})


def test_pauses_double_up_to_a_limit() -> None:
    retry_policy = RetryPolicy(first_pause_s=5, max_pause_s=60)
    assert [retry_policy.pause_s(number) for number in range(1, 7)] == [5, 10, 20, 40, 60, 60]
    with pytest.raises(InputError, match="poll_s must be above 0"):
        RetryPolicy(poll_s=0)


def test_the_manifest_itself_is_part_of_what_is_sent(dataset: Path) -> None:
    assert MANIFEST_NAME in check_dataset_folder(dataset, credentials=None).sizes_bytes
