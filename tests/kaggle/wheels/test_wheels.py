"""Targets, locks, the proof of closure and the install: what a wheelhouse promises, and what it says when it cannot."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.markers import default_environment
from packaging.pylock import is_valid_pylock_path
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import sys_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from kit import cli
from kit.errors import InputError, KitError, MissingError
from kit.kaggle.wheels import closure
from kit.kaggle.wheels.closure import Witness, check
from kit.kaggle.wheels.committed import KIT_TARGET, check_folder, current_lock, lock_anew
from kit.kaggle.wheels.fetch import fetch, save_requirements
from kit.kaggle.wheels.index import Index, configured_index
from kit.kaggle.wheels.install import Host, check_host, driver_cuda, install_from
from kit.kaggle.wheels.installers import undirected, uv_command
from kit.kaggle.wheels.lockfile import Lock, Wheel, load_lock, lock_path, requirements_path
from kit.kaggle.wheels.resolve import resolve
from kit.kaggle.wheels.target import Target, load_target
from tests.kaggle.wheels.simple_index import SimpleIndex, locked, make_wheel, served

NAMES = ("cpu", "kaggle-cp312", "kaggle-cp312-cu128", "kaggle-cp313", "kaggle-cp313-cu128", "kit")
HERE = Host.here()
PYTHON = f"{HERE.python[0]}.{HERE.python[1]}"

needs_uv = pytest.mark.skipif(uv_command() is None, reason="uv is not here: pip install uv, or put one on PATH")


def toy(*requirements: str, python: str = PYTHON, glibc: str = "2.28", constraints: Sequence[str] = ()) -> Target:
    return Target(
        name="toy", python=python, glibc=glibc, cuda=None, requirements=requirements, constraints=tuple(constraints)
    )


def lock_of(target: Target, *wheels: Wheel) -> Lock:
    return Lock(target, tuple(sorted(wheels, key=lambda wheel: wheel.name)))


# --- targets ---


def test_the_projects_targets_are_those_that_have_a_lock(repo: Path) -> None:
    targets = re.findall(r"^\[(.+)\]$", (repo / "wheels" / "targets.toml").read_text(), re.MULTILINE)
    assert sorted(targets) == sorted(NAMES)
    locks = {path.name for path in (repo / "wheels").glob("pylock.*")}
    assert locks == {f"pylock.{name}.toml" for name in NAMES}
    assert all(is_valid_pylock_path(Path(name)) for name in locks)


def test_a_target_like_another_differs_only_in_what_it_says(repo: Path) -> None:
    targets = repo / "wheels" / "targets.toml"
    base, like = (load_target(name, targets=targets, project=repo) for name in ("kaggle-cp312", "kaggle-cp313"))
    assert replace(like, name=base.name, python=base.python) == base
    assert like.python == "3.13"


def test_a_target_holds_the_extras_it_names_less_what_it_leaves_out(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["base>=1"]\n'
        '[project.optional-dependencies]\ngpu = ["Torch>=2", "numpy"]\nother = ["unused"]\n'
    )
    targets = tmp_path / "targets.toml"
    targets.write_text('[it]\npython = "3.12"\nglibc = "2.28"\nextras = ["gpu"]\nwithout = ["torch"]\n')
    target = load_target("it", targets=targets, project=tmp_path)
    assert target.requirements == ("base>=1", "numpy")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[it]\npython = "3.12"', "says nothing of 'glibc'"),
        ('[it]\npython = "3.12"\nglibc = "2.28"\nplatform = "x"', "no setting 'platform'; known: constraints"),
        ('[it]\npython = "cp312"\nglibc = "2.28"', "python must be a version like 3.12, got 'cp312'"),
        ('[it]\npython = "3.12"\nglibc = "2.28"\nextras = ["gpus"]', "no extra 'gpus'; known: gpu"),
        ('[it]\npython = "3.12"\nglibc = "2.28"\nrequirements = ["a b"]', "'a b' is no requirement"),
        ('[it]\nlike = "it"', "like itself"),
        ('[it]\nlike = "at"\n[at]\nlike = "it"', "no target 'it'"),
        ('[at]\npython = "3.12"', "no target 'it'; known: at"),
        ("[it", "not valid TOML"),
    ],
)
def test_a_target_that_makes_no_sense_is_refused_by_name(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["base"]\n[project.optional-dependencies]\ngpu = ["torch"]\n'
    )
    (tmp_path / "targets.toml").write_text(text)
    with pytest.raises(KitError, match=re.escape(told)):
        load_target("it", targets=tmp_path / "targets.toml", project=tmp_path)


@pytest.mark.skipif(HERE.glibc is None or HERE.machine != "x86_64", reason="only where Python runs on x86-64 and glibc")
def test_the_tags_and_markers_of_this_machine_are_those_that_packaging_finds() -> None:
    assert HERE.glibc is not None
    target = toy("any", glibc=f"{HERE.glibc[0]}.{HERE.glibc[1]}")
    assert set(target.tags()) == set(sys_tags())
    assert [tag for tag in target.tags() if tag.platform == "any"] == [
        tag for tag in sys_tags() if tag.platform == "any"
    ]
    found, ours = default_environment(), target.markers()
    varying = {"platform_release", "platform_version", "implementation_version", "python_full_version"}
    assert {key: found[key] for key in ours if key not in varying} == {
        key: value for key, value in ours.items() if key not in varying
    }


# --- locks ---


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_lock_is_of_its_target_now_and_fits_it(repo: Path, name: str) -> None:
    """Fails after a change of the kit's dependencies or of targets.toml: `kit wheels lock --target NAME` fixes it."""
    path = lock_path(repo / "wheels", name)
    lock = load_lock(path)
    assert lock.target == load_target(name, targets=repo / "wheels" / "targets.toml", project=repo)
    tags = set(lock.target.tags())
    assert all(parse_wheel_filename(wheel.file)[3] & tags for wheel in lock.wheels)
    assert all(wheel.size_bytes > 0 for wheel in lock.wheels)


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_lock_names_no_index_and_saves_to_the_same_bytes(repo: Path, tmp_path: Path, name: str) -> None:
    path = lock_path(repo / "wheels", name)
    text = path.read_text()
    assert "://" not in text
    assert "@" not in text
    load_lock(path).save(tmp_path / "pylock.again.toml")
    assert (tmp_path / "pylock.again.toml").read_text() == text


@pytest.mark.parametrize("name", NAMES)
def test_no_file_name_of_a_lock_loses_a_character_on_kaggle(repo: Path, name: str) -> None:
    files = [wheel.file for wheel in load_lock(lock_path(repo / "wheels", name)).wheels]
    assert not [file for file in files if set(file) & set("+~=") or not file.isascii()]


def test_the_kits_own_needs_are_pure_and_the_same_for_the_pythons_of_all_targets(repo: Path) -> None:
    """So one set enters every dataset; by the metadata of the same versions in this environment."""
    needs = {wheel.name: wheel for wheel in load_lock(lock_path(repo / "wheels", KIT_TARGET)).wheels}
    assert all(str(tag).endswith("py3-none-any") for each in needs.values() for tag in python3_tags(each.file))
    others = [load_lock(lock_path(repo / "wheels", name)) for name in NAMES if name.startswith("kaggle")]
    for lock in others:
        assert {wheel.name: wheel for wheel in lock.wheels}.items() >= needs.items()
    kit_itself = [Requirement(text) for text in load_lock(lock_path(repo / "wheels", KIT_TARGET)).target.requirements]
    for python in {lock.target.python for lock in others}:
        environment = {**default_environment(), "python_version": python, "python_full_version": f"{python}.0"}
        assert closure_of(kit_itself, environment) == set(needs)
    for name, wheel in needs.items():
        assert metadata.version(name) == wheel.version, f"{name}: this environment's is another; compare by hand"
        python_wanted = SpecifierSet(metadata.metadata(name).get("Requires-Python") or "")
        assert all(lock.target.python + ".0" in python_wanted for lock in others)


def python3_tags(file: str) -> list[object]:
    """The tags for Python 3."""
    return [tag for tag in parse_wheel_filename(file)[3] if tag.interpreter == "py3"]


def closure_of(requirements: list[Requirement], environment: dict[str, str]) -> set[str]:
    """The names of all that is required, one step after another."""
    found: set[str] = set()
    waiting = list(requirements)
    while waiting:
        each = waiting.pop()
        name = canonicalize_name(each.name)
        if name in found or (each.marker is not None and not each.marker.evaluate({**environment, "extra": ""})):
            continue
        found.add(name)
        waiting += [Requirement(text) for text in metadata.requires(name) or ()]
    return found


@settings(max_examples=40)  # each writes a file
@given(
    st.lists(
        st.tuples(st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True), st.integers(0, 1 << 40)),
        min_size=1,
        unique_by=lambda each: each[0],
    )
)
def test_a_lock_reads_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, wheels: list[tuple[str, int]]
) -> None:
    lock = lock_of(
        toy("a[b]>=1; python_version > '3'", "c", constraints=["c<2"]),
        *(
            Wheel(
                name=name, version="1.0", file=f"{name}-1.0-py3-none-any.whl", size_bytes=size_bytes, sha256="ab" * 32
            )
            for name, size_bytes in wheels
        ),
    )
    path = tmp_path_factory.mktemp("lock") / "pylock.toy.toml"
    lock.save(path)
    assert load_lock(path) == lock


TWICE = """
[[packages]]
name = "anyio"
version = "4.16.0"
wheels = [{ path = "anyio-4.16.0-py3-none-any.whl", size = 1, hashes = { sha256 = "aa" } }]
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            'python = "3.11"\n',
            "",
            "tells no target (Target.__init__() missing 1 required keyword-only argument: 'python'",
        ),
        ('python = "3.11"\n', 'python = "3.12"\n', "does not fit cpu"),
        ('version = "4.16.0"', 'version = "4.16.1"', "is not consistent with package version '4.16.1'"),
        ("anyio-4.16.0-py3-none-any.whl", "anyio.whl", "Invalid wheel filename 'anyio.whl'"),
        ("anyio-4.16.0-py3-none-any.whl", "../anyio-4.16.0-py3-none-any.whl", "leads out of the folder"),
        ("anyio-4.16.0-py3-none-any.whl", "anyio-4.16.0-py3-none-win_amd64.whl", "No wheel found matching"),
        ('sha256 = "c66ae', 'md5 = "c66ae', "anyio has no wheel with size and SHA-256"),
        ("size = 134521, ", "", "anyio has no wheel with size and SHA-256"),
        ('lock-version = "1.0"', 'lock-version = "2.0"', "not a lock (pylock version 2.0 is not supported)"),
        ("[[packages]]", "[packages]]", "not valid TOML"),
        ('name = "attrs"', 'name = "anyio"', "is not consistent with package name 'anyio'"),
        (
            '\n[[packages]]\nname = "attrs"',
            f'{TWICE}[[packages]]\nname = "attrs"',
            "Multiple packages with the name 'anyio'",
        ),
    ],
)
def test_an_edited_lock_is_refused(repo: Path, tmp_path: Path, old: str, new: str, told: str) -> None:
    text = lock_path(repo / "wheels", "cpu").read_text()
    assert old in text
    path = tmp_path / "pylock.cpu.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=re.escape(told)):
        load_lock(path)


def test_a_lock_that_is_not_there_is_told_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="kit wheels lock --target"):
        load_lock(tmp_path / "pylock.none.toml")


# --- the index ---


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SimpleIndex]:
    with served(SimpleIndex(tmp_path / "index")) as running:
        yield running


def test_an_index_tells_each_file_with_its_address_and_hash(index: SimpleIndex) -> None:
    wheel = make_wheel(index.folder, "some-thing")
    (offer,) = Index(url=index.url).offers("some-thing")
    assert (offer.file, offer.sha256) == (wheel.file, wheel.sha256)
    assert offer.url.endswith(f"/files/{wheel.file}")


def test_an_index_that_does_not_speak_json_is_refused_with_the_fix(index: SimpleIndex) -> None:
    make_wheel(index.folder, "some-thing")
    index.speaks_json = False
    with pytest.raises(
        InputError, match=r"some-thing: pip's index does not speak the simple API as JSON.*PIP_INDEX_URL"
    ):
        Index(url=index.url).offers("some-thing")


def test_a_password_goes_to_the_index_in_a_header_and_into_no_message(index: SimpleIndex) -> None:
    make_wheel(index.folder, "a")
    client = Index(url=index.url.replace("http://", "http://me:s%40fe@"))
    (offer,) = client.offers("a")
    client.opened(offer.url, what="a", headers={}).close()
    assert [each["Authorization"] for each in index.headers] == ["Basic bWU6c0BmZQ=="] * 2  # me:s@fe
    with pytest.raises(MissingError, match="b: the index has none") as caught:
        client.offers("b")
    assert "fe" not in str(caught.value).replace("the index", "")
    assert "s%40fe" not in repr(client)


@pytest.mark.parametrize("source", ["variable", "file"])
def test_the_index_is_the_one_that_pip_is_configured_with(tmp_path: Path, source: str) -> None:
    url = "https://index.invalid/simple"
    file = tmp_path / "pip.conf"
    file.write_text(
        f"[global]\nindex-url = {url}\n" if source == "file" else "[global]\nindex-url = https://no.invalid/\n"
    )
    environ = {**undirected(os.environ), "PIP_CONFIG_FILE": str(file)}
    assert configured_index(environ | ({"PIP_INDEX_URL": url} if source == "variable" else {})).url == url


def test_where_nothing_is_configured_the_index_is_pips_own_default() -> None:
    from pip._internal.models.index import PyPI  # private, so only the test asks it

    assert configured_index(undirected(os.environ)).url == PyPI.simple_url


def test_an_index_that_is_a_folder_is_refused() -> None:
    with pytest.raises(InputError, match="PIP_INDEX_URL"):
        configured_index({**undirected(os.environ), "PIP_INDEX_URL": "file:///somewhere"})


# --- resolving ---


@needs_uv
def test_resolving_takes_the_newest_that_fits_and_its_best_wheel(index: SimpleIndex) -> None:
    """Best: the newest C library allowed, before an older one; then the highest build number."""
    make_wheel(index.folder, "app", requires=["native<3", "ghost; sys_platform == 'win32'", "pure[fast]"])
    for tag in ("manylinux_2_17_x86_64", "manylinux_2_28_x86_64", "manylinux_2_34_x86_64", "win_amd64"):
        make_wheel(index.folder, "native", "2.0", tag=f"cp312-cp312-{tag}")
    make_wheel(index.folder, "native", "2.0-1", tag="cp312-cp312-manylinux_2_28_x86_64", payload=b"rebuilt")
    make_wheel(index.folder, "native", "3.0", tag="cp312-cp312-manylinux_2_28_x86_64")
    make_wheel(index.folder, "pure", "1.0", extras=["fast"], requires=["engine; extra == 'fast'"])
    make_wheel(index.folder, "pure", "2.0", extras=["fast"], requires=["engine; extra == 'fast'"])
    make_wheel(index.folder, "engine")
    lock = resolve(toy("app", python="3.12", constraints=["pure<2"]), Index(url=index.url))
    assert [wheel.file for wheel in lock.wheels] == [
        "app-1.0-py3-none-any.whl",
        "engine-1.0-py3-none-any.whl",
        "native-2.0-1-cp312-cp312-manylinux_2_28_x86_64.whl",
        "pure-1.0-py3-none-any.whl",
    ]
    assert all(wheel == locked(index.folder / wheel.file) for wheel in lock.wheels)


@needs_uv
def test_a_package_without_a_wheel_is_named(index: SimpleIndex) -> None:
    make_wheel(index.folder, "app", requires=["source-only"])
    (index.folder / "source_only-1.0.tar.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"toy: no set of wheels fits; uv says:[\s\S]*source-only") as caught:
        resolve(toy("app"), Index(url=index.url))
    assert index.url not in str(caught.value)


@needs_uv
def test_an_index_that_gives_no_size_is_refused_and_where_it_gives_no_hash_uv_finds_it(index: SimpleIndex) -> None:
    wheel = make_wheel(index.folder, "app")
    index.says_hash = False
    assert resolve(toy("app"), Index(url=index.url)).wheels == (wheel,)
    index.says_size = False
    with pytest.raises(InputError, match=r"app has no wheel with size and SHA-256; .*an index that gives sizes"):
        resolve(toy("app"), Index(url=index.url))


def test_without_uv_locking_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if uv_command() == (sys.executable, "-P", "-m", "uv"):
        pytest.skip("this Python has uv itself")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match=r"uv: not found.*pip install uv"):
        resolve(toy("app"), Index(url="http://127.0.0.1:9/simple"))


# --- closure ---


def a_set(case: str, folder: Path) -> Lock:
    """A set of wheels that is complete but for what the case names."""
    app = make_wheel(folder, "app", requires=["part>=1,<2", "extra-part[fast]", "winpart; sys_platform == 'win32'"])
    part = make_wheel(
        folder,
        "part",
        "2.0" if case == "too new" else "1.5",
        requires_python=">=3.99" if case == "newer python" else "",
    )
    tag = "cp39-cp39-manylinux_2_17_x86_64" if case == "other tag" else "py3-none-manylinux_2_17_x86_64"
    extra = make_wheel(folder, "extra-part", tag=tag, extras=["fast"], requires=["fast-part; extra == 'fast'"])
    fast = make_wheel(folder, "fast-part", requires=["late-part; python_version >= '3.99'"])
    wheels = [app, part, extra, fast]
    if case == "missing":
        wheels.remove(part)
    if case == "extra's missing":
        wheels.remove(fast)
    for wheel in {part, fast} - set(wheels):
        (folder / wheel.file).unlink()
    if case == "file gone":
        (folder / part.file).unlink()
    if case == "file damaged":
        (folder / part.file).write_bytes(b"no zip")
    roots = ["app>=2"] if case == "root too old" else ["app", "absent-root"] if case == "root missing" else ["app"]
    limits = ["part<1.2"] if case == "constraint" else []
    return lock_of(toy(*roots, constraints=limits), *wheels)


CASES = (
    "complete", "missing", "extra's missing", "too new", "newer python", "other tag", "constraint",
    "file gone", "file damaged", "root too old", "root missing",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_installer_tells_whether_a_folder_is_enough(tmp_path: Path, case: str) -> None:
    lock = a_set(case, tmp_path)
    asked = {witness: closure._dry_run(lock, tmp_path, command) for witness, command in closure._witnesses(lock.target)}
    assert Witness.PIP in asked
    assert {witness: bool(fault) for witness, fault in asked.items()} == dict.fromkeys(asked, case != "complete")
    assert bool(check(lock, tmp_path).faults) == (case != "complete")


@pytest.mark.parametrize(
    ("case", "told"), [("file gone", "missing; get it with"), ("file damaged", "not the locked file")]
)
def test_a_file_that_is_not_the_locked_one_is_named(tmp_path: Path, case: str, told: str) -> None:
    (fault,) = closure.damaged(a_set(case, tmp_path), tmp_path)
    assert fault.startswith(f"part-1.5-py3-none-any.whl: {told}")
    assert "`kit wheels fetch --target toy`" in fault


def test_a_python_that_is_too_new_is_a_fault_as_for_pip(tmp_path: Path) -> None:
    """uv takes no notice of an upper bound on Python, and pip would refuse the install."""
    lock = lock_of(toy("app"), make_wheel(tmp_path, "app", requires_python="<3.9"))
    assert list(closure.refused_pythons(lock, tmp_path)) == [f"app 1.0 needs Python <3.9, the target has {PYTHON}"]
    pip = dict(closure._witnesses(lock.target))[Witness.PIP]
    assert "requires a different Python" in closure._dry_run(lock, tmp_path, pip)


def test_a_wheel_that_calls_itself_otherwise_is_a_fault(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "other")
    (tmp_path / wheel.file).rename(tmp_path / "app-1.0-py3-none-any.whl")
    lock = lock_of(toy("app"), locked(tmp_path / "app-1.0-py3-none-any.whl"))
    assert all(closure._dry_run(lock, tmp_path, command) for _, command in closure._witnesses(lock.target))


def test_packages_that_need_each_other_are_no_trap(tmp_path: Path) -> None:
    wheels = make_wheel(tmp_path, "one", requires=["two"]), make_wheel(tmp_path, "two", requires=["one"])
    assert check(lock_of(toy("one"), *wheels), tmp_path).faults == ()


def foreign_set(folder: Path) -> tuple[Wheel, Wheel]:
    tag, requires = "cp313-cp313-manylinux_2_28_x86_64", ["new; python_version >= '3.13'"]
    return make_wheel(folder, "app", tag=tag, requires=requires), make_wheel(folder, "new", requires_python=">=3.13")


@needs_uv
def test_a_foreign_python_is_judged_by_uv(tmp_path: Path) -> None:
    wheels = foreign_set(tmp_path)
    found = check(lock_of(toy("app", python="3.13"), *wheels), tmp_path)
    assert (found.faults, found.witness) == ((), Witness.UV)
    (tmp_path / wheels[1].file).unlink()
    assert check(lock_of(toy("app", python="3.13"), wheels[0]), tmp_path).faults


def test_where_no_installer_can_judge_a_foreign_python_that_is_a_fault_with_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if uv_command() is not None:
        pytest.skip("this Python has uv itself")
    found = check(lock_of(toy("app", python="3.13"), *foreign_set(tmp_path)), tmp_path)
    assert found.witness is Witness.NOBODY
    assert "not proved: uv is not here" in found.faults[0]


# --- the machine, and the install ---


KAGGLE = Target(name="kaggle-cp312", python="3.12", glibc="2.34", cuda="13.0", requirements=("vllm",))
FITS = Host(python=(3, 12), machine="x86_64", glibc=(2, 35), cuda=(13, 1))


@pytest.mark.parametrize(
    ("host", "told"),
    [
        (FITS, None),
        (replace(FITS, glibc=(2, 34), cuda=(13, 0)), None),
        (replace(FITS, cuda=(14, 0)), None),
        (replace(FITS, cuda=None), None),
        (
            replace(FITS, python=(3, 13)),
            "here is Python 3.13 on x86_64; build the dataset with `--wheels kaggle-cp313`",
        ),
        (replace(FITS, python=(3, 13)), "upload it again, or pin the notebook to an image with Python 3.12"),
        (replace(FITS, machine="aarch64"), "here is Python 3.12 on aarch64; use the target's Python"),
        (replace(FITS, glibc=(2, 31)), "may ask for glibc 2.34, here is glibc 2.31"),
        (replace(FITS, glibc=None), "here is another C library"),
        (replace(FITS, cuda=(12, 8)), "are for CUDA 13.0, the driver runs CUDA up to 12.8; build the dataset from"),
    ],
)
def test_wheels_for_another_machine_are_refused_with_what_to_do(host: Host, told: str | None) -> None:
    if told is None:
        check_host(KAGGLE, host)
    else:
        with pytest.raises(InputError, match=re.escape(told)):
            check_host(KAGGLE, host)


def test_an_older_driver_of_the_same_cuda_generation_is_enough() -> None:
    """Minor version compatibility, as NVIDIA's CUDA Compatibility guide promises it."""
    check_host(replace(KAGGLE, cuda="12.8"), replace(FITS, cuda=(12, 4)))


def test_a_driver_tells_its_newest_cuda_and_no_driver_tells_none() -> None:
    class Driver:
        def __init__(self, value: int, status: int = 0) -> None:
            self.value, self.status = value, status

        def cuDriverGetVersion(self, pointer: object) -> int:
            pointer._obj.value = self.value  # type: ignore[attr-defined]  # what ctypes.byref points to
            return self.status

    def absent(name: str) -> object:
        raise OSError(name)

    assert driver_cuda(lambda name: Driver(12080)) == (12, 8)
    assert driver_cuda(lambda name: Driver(13000)) == (13, 0)
    assert driver_cuda(lambda name: Driver(12080, status=100)) is None
    assert driver_cuda(absent) is None


@pytest.fixture
def wheelhouse(tmp_path: Path) -> tuple[Path, Path]:
    folder = tmp_path / "wheels"
    app, part = make_wheel(folder, "app", requires=["part"]), make_wheel(folder, "part")
    path = tmp_path / "pylock.toy.toml"
    save(lock_of(toy("app", glibc="2.17"), app, part), folder, path)
    return folder, path


def save(lock: Lock, folder: Path, path: Path) -> None:
    """As `kit wheels lock` and `fetch` leave it."""
    lock.save(path)
    save_requirements(lock, folder)


def run(python: Path, code: str) -> str:
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, env=undirected(os.environ))
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("installer", ["pip", pytest.param("uv", marks=needs_uv)])
def test_an_environment_holds_the_locked_packages_and_none_of_this_pythons(
    wheelhouse: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installer: str
) -> None:
    if installer == "pip":
        if uv_command() == (sys.executable, "-P", "-m", "uv"):
            pytest.skip("this Python has uv itself, so pip is never asked")
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
    into = tmp_path / "environment"
    python = install_from(*wheelhouse, into)
    assert run(python, "import app, part; print(app.version, app.__file__)") == (
        f"1.0 {into}/lib/python{PYTHON}/site-packages/app/__init__.py"
    )
    assert run(python, "import importlib.util as u; print(u.find_spec('pytest'), u.find_spec('pip'))") == "None None"
    assert not (into / "uv-cache").exists()
    late = make_wheel(tmp_path, "late")
    borrow = (Path(pytest.__file__).parent.parent, tmp_path / late.file)
    assert install_from(*wheelhouse, into, borrow=borrow) == python
    assert run(python, "import app, late, pytest; print(app.version)") == "1.0"


@pytest.mark.slow
def test_a_finished_environment_is_kept_and_one_of_another_lock_is_replaced(
    wheelhouse: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, path = wheelhouse
    into = tmp_path / "environment"
    install_from(folder, path, into)
    (into / "mine").touch()
    install_from(folder, path, into)
    assert (into / "mine").exists()
    newer = make_wheel(folder, "app", "2.0")
    save(lock_of(toy("app", glibc="2.17"), newer), folder, path)
    assert run(install_from(folder, path, into), "import app; print(app.version)") == "2.0"
    assert not (into / "mine").exists()


@pytest.mark.slow
def test_a_wheel_that_is_not_the_locked_one_is_not_installed_and_the_next_try_begins_anew(
    wheelhouse: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, path = wheelhouse
    into = tmp_path / "environment"
    whole = (folder / "part-1.0-py3-none-any.whl").read_bytes()
    make_wheel(folder, "part", payload=b"tampered")
    for _ in range(2):
        with pytest.raises(InputError, match=r"its wheels do not install; prove the folder with `kit wheels check`"):
            install_from(folder, path, into)
    (folder / "part-1.0-py3-none-any.whl").write_bytes(whole)
    install_from(folder, path, into)


def test_a_folder_without_the_export_is_refused_with_the_command(wheelhouse: tuple[Path, Path], tmp_path: Path) -> None:
    requirements_path(wheelhouse[0], "toy").unlink()
    with pytest.raises(MissingError, match=r"requirements-toy\.txt: not found; `kit wheels fetch` writes it"):
        install_from(*wheelhouse, tmp_path / "environment")


@needs_uv
@pytest.mark.slow
def test_uv_installs_from_the_lock_as_it_is_where_it_lies_beside_its_wheels(
    wheelhouse: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, path = wheelhouse
    part = make_wheel(folder, "part", payload=b"original")
    lock_of(toy("app", glibc="2.17"), locked(folder / "app-1.0-py3-none-any.whl"), part).save(path)
    beside = shutil.copy(path, folder)
    uv = [*(uv_command() or ()), "pip", "install", "--no-config", "--offline", "--no-cache", "--python", sys.executable]
    into = ["--target", str(tmp_path / "target"), "--requirement", str(beside)]
    subprocess.run([*uv, "--quiet", "--preview", *into], check=True, env=undirected(os.environ))
    assert (tmp_path / "target" / "part" / "__init__.py").is_file()
    make_wheel(folder, "part", payload=b"tampered")  # of the same size
    refused = subprocess.run([*uv, *into, "--reinstall"], check=False, capture_output=True, text=True)
    assert refused.returncode
    assert "hash" in refused.stderr.lower()


def test_a_folder_that_is_no_environment_is_never_replaced(wheelhouse: tuple[Path, Path], tmp_path: Path) -> None:
    into = tmp_path / "mine"
    into.mkdir()
    (into / "notes.txt").write_text("hi")
    with pytest.raises(InputError, match="holds files but no environment"):
        install_from(*wheelhouse, into)
    assert (into / "notes.txt").read_text() == "hi"


def test_wheels_for_another_python_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    path = tmp_path / "pylock.toy.toml"
    lock_of(toy("app", python="3.99"), make_wheel(tmp_path, "app")).save(path)
    with pytest.raises(InputError, match=r"the wheels are for Python 3\.99"):
        install_from(tmp_path, path, tmp_path / "environment")
    assert not (tmp_path / "environment").exists()


# --- from end to end ---


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "wheels").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        '[project]\ndependencies = ["app"]\n[project.optional-dependencies]\nmore = []\n'
    )
    (folder / "wheels" / "targets.toml").write_text(f'[toy]\npython = "{PYTHON}"\nglibc = "2.17"\n')
    return folder


@needs_uv
def test_the_commands_lead_from_a_target_to_a_folder_that_is_proved(
    index: SimpleIndex, project: Path, tmp_path: Path
) -> None:
    make_wheel(index.folder, "app", requires=["part"])
    make_wheel(index.folder, "part")
    client, out = Index(url=index.url), tmp_path / "out"
    path, lock = lock_anew("toy", project=project, index=client)
    assert (path, lock) == (lock_path(project / "wheels", "toy"), current_lock("toy", project))
    assert fetch(lock, out, client).num_present == 0
    assert check_folder(lock, out).faults == ()
    (out / "part-1.0-py3-none-any.whl").unlink()
    assert any("part-1.0-py3-none-any.whl: missing" in fault for fault in check_folder(lock, out).faults)
    with pytest.raises(MissingError, match=f"no such folder; `kit wheels fetch --target toy --out {tmp_path / 'no'}`"):
        check_folder(lock, tmp_path / "no")


def test_the_command_prints_what_is_missing_and_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["wheels", "check", "--target", "cpu", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "trio-" in told
    assert f"cpu: {len(current_lock('cpu').wheels)} wheels in {tmp_path}: " in told


def test_a_lock_that_is_older_than_its_target_is_not_fetched(project: Path, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "app")
    lock_of(toy("app", "dropped-since", glibc="2.17"), wheel).save(lock_path(project / "wheels", "toy"))
    with pytest.raises(InputError, match="its target has changed since; make it anew with `kit wheels lock"):
        current_lock("toy", project)


@pytest.mark.slow
@pytest.mark.skipif(PYTHON != "3.11", reason="the target cpu is for Python 3.11")
@pytest.mark.long
def test_the_cpu_target_is_fetched_proved_installed_and_imported(repo: Path, tmp_path: Path) -> None:
    """The real thing from pip's own index: 116 MB."""
    try:
        replace(configured_index(), pauses_s=()).offers("trio")
    except KitError as error:
        pytest.skip(f"NOT TESTED, no package index can be reached: {error}")
    folder, environment = tmp_path / "wheels", tmp_path / "environment"
    lock = current_lock("cpu", repo)
    fetch(lock, folder, configured_index())
    assert check_folder(lock, folder).faults == ()
    python = install_from(folder, lock_path(repo / "wheels", "cpu"), environment)
    modules = "trio, sympy, rich, numpy, polars, grpc, google.protobuf, tokenizers, jinja2, transformers"
    assert run(python, f"import {modules}; print(transformers.__version__)").endswith("5.19.0")
    names = {parse_wheel_filename(path.name)[0] for path in folder.glob("*.whl")}
    listed = run(python, "from importlib.metadata import distributions as d; print(*{x.name for x in d()})").split()
    assert {name.lower().replace("_", "-").replace(".", "-") for name in listed} == names
