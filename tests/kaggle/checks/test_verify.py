"""Verifying: whatever is wrong is found, named with its fix, and nothing is found where nothing is wrong."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kit import assets, cli
from kit.cuda import Gpu
from kit.errors import InputError
from kit.kaggle.checks.dataset import Site, verify
from kit.kaggle.checks.listing import check_ref_built_for
from kit.kaggle.checks.machine import Machine, Needs, check_machine
from kit.kaggle.checks.model import check_adapter, check_chat, check_model, check_trm
from kit.kaggle.dataset.bundle import Bundle
from kit.kaggle.dataset.integrity import check_dataset
from kit.kaggle.dataset.manifest import (
    MANIFEST_NAME,
    Entry,
    ListedFile,
    Manifest,
    ModelSource,
    is_intact,
    load_manifest,
)
from kit.kaggle.facts import DATASET_METADATA
from kit.kaggle.findings import Check, Finding, Severity
from kit.kaggle.wheels.fetch import save_requirements
from kit.kaggle.wheels.install import Host
from kit.kaggle.wheels.lockfile import Lock, load_lock
from kit.kaggle.wheels.target import Target
from kit.trm.checkpoint import save_untrained
from tests.engines.lora import save_adapter
from tests.kaggle.dataset.datasets import build, make_model, make_needs, make_wheelhouse
from tests.kaggle.dataset.mangler import EVERY_HABIT, Habits, mangled
from tests.kaggle.wheels.simple_index import make_wheel

REF = "someone/qwen/transformers/7b/3"
MACHINE = Machine(
    host=Host(python=(3, 11), machine="x86_64", glibc=(2, 36), cuda=None),
    free_memory_bytes=64 << 30,
    free_disk_bytes=64 << 30,
    gpus=(),
    busy_ports=(),
)
H100 = Gpu("NVIDIA H100 80GB HBM3", 80 << 30, (9, 0))
P100 = Gpu("Tesla P100-PCIE-16GB", 16 << 30, (6, 0))
T4 = Gpu("Tesla T4", 15 << 30, (7, 5))
CUDA = Target(name="kaggle-cp312", python="3.12", glibc="2.34", cuda="13.0", requirements=("vllm",))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    root = tmp_path_factory.mktemp("verify")
    model = make_model(root / "model", shard_bytes=1000)
    return build(root / "dataset", model=model, wheels=make_wheelhouse(root, num_wheels=60), needs=make_needs(root))


@pytest.fixture
def dataset(bundle: Bundle, tmp_path: Path) -> Path:
    return shutil.copytree(bundle.folder, tmp_path / "dataset")


@pytest.fixture(scope="module")
def without_wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whose verifying asks no installer, so that it can be done hundreds of times."""
    root = tmp_path_factory.mktemp("verify")
    model = make_model(root / "model", num_shards=1, shard_bytes=100)
    return build(root / "dataset", model=model, needs=make_needs(root)).folder


def site(tmp_path: Path, *, is_kaggle: bool = True, mounts: Path | None = None, machine: Machine = MACHINE) -> Site:
    scratch = tmp_path / "verify-scratch"
    scratch.mkdir(exist_ok=True)
    return Site(
        scratch=scratch, mounts=mounts or tmp_path / "none", is_kaggle=is_kaggle, machine=machine, chat_limit_s=None
    )


def findings(checks: tuple[Check, ...]) -> list[Finding]:
    return [finding for check in checks for finding in check.findings]


def flipped(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


# Files


def test_nothing_is_found_in_a_build_and_nothing_is_left_behind(bundle: Bundle, tmp_path: Path) -> None:
    seen = []
    checks = verify(bundle.folder, site(tmp_path), on_bytes=lambda num_bytes, total_bytes: seen.append(num_bytes))
    assert findings(checks) == []
    assert [check.name for check in checks] == [
        "files", "restored", "needs", "model", "wheels", "memory", "disk", "GPU", "Python", "ports"
    ]  # fmt: skip
    assert sum(seen) == bundle.size_bytes
    assert list((tmp_path / "verify-scratch").iterdir()) == []


@pytest.mark.parametrize("habits", EVERY_HABIT, ids=str)
def test_nothing_is_found_whatever_kaggle_made_of_it(bundle: Bundle, habits: Habits, tmp_path: Path) -> None:
    assert findings(verify(mangled(bundle.folder, tmp_path, habits), site(tmp_path))) == []


@pytest.mark.parametrize("habits", EVERY_HABIT, ids=str)
def test_one_flipped_byte_in_any_file_is_found_and_the_file_named(
    bundle: Bundle, habits: Habits, tmp_path: Path
) -> None:
    """The last byte of every file in turn; `check_dataset` alone, because the installers are asked elsewhere."""
    mounted = mangled(bundle.folder, tmp_path, habits)
    manifest = load_manifest(mounted)
    files = [path for path in sorted(mounted.rglob("*")) if path.is_file() and path.name != MANIFEST_NAME]
    for path in files:
        whole = path.read_bytes()
        flipped(path, len(whole) - 1)
        found = list(check_dataset(mounted, manifest, is_build=False))
        assert [finding.file for finding in found] == [str(path)]
        assert found[0].fix
        path.write_bytes(whole)
    assert list(check_dataset(mounted, manifest, is_build=False)) == []


def test_one_flipped_byte_anywhere_in_a_build_is_found(without_wheels: Path, tmp_path: Path) -> None:
    """Every byte of the metadata, some of each other file; of the manifest the next test takes every one."""
    dataset = shutil.copytree(without_wheels, tmp_path / "dataset")
    at = site(tmp_path)
    for path in sorted(dataset.iterdir()):
        whole = path.read_bytes()
        for offset in range(0, len(whole), 1 if path.name == DATASET_METADATA else max(1, len(whole) // 5)):
            flipped(path, offset)
            found = findings(verify(dataset, at))
            assert [finding for finding in found if finding.file == str(path)], (path.name, offset)
        path.write_bytes(whole)
    assert findings(verify(dataset, at)) == []


@given(share=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
@settings(max_examples=300)
def test_a_manifest_with_one_other_byte_is_never_taken_for_the_one_that_was_written(share: float, byte: int) -> None:
    entries = (Entry("model/config.json", "model__config.json", 3, "0" * 64),)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MANIFEST_NAME
        Manifest(kit_version="1", commit="abc", entries=entries, model_source=ModelSource(ref=REF)).save(path.parent)
        assert is_intact(path.parent)
        content = bytearray(path.read_bytes())
        offset = int(share * len(content))
        assume(content[offset] != byte)
        content[offset] = byte
        path.write_bytes(content)
        try:
            load_manifest(path.parent)
        except InputError:
            return
        assert not is_intact(path.parent)


def test_a_flipped_byte_in_an_archive_is_told_with_the_file_it_hit(dataset: Path, bundle: Bundle) -> None:
    entry = next(entry for entry in bundle.manifest.entries if entry.members)
    member = entry.members[1]
    flipped(dataset / entry.file, member.offset_bytes)
    (found,) = check_dataset(dataset, bundle.manifest, is_build=True)
    assert f"altered: {member.path}" in found.problem
    flipped(dataset / entry.file, member.offset_bytes)
    flipped(dataset / entry.file, member.offset_bytes - 512)
    (found,) = check_dataset(dataset, bundle.manifest, is_build=True)
    assert "between its members" in found.problem


def test_a_missing_a_cut_and_an_unlisted_file_are_all_named_at_once(without_wheels: Path, tmp_path: Path) -> None:
    dataset = shutil.copytree(without_wheels, tmp_path / "dataset")
    (dataset / "model__config.json").unlink()
    weights = next(dataset.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1])
    (dataset / "notes.txt").write_text("mine")
    checks = verify(dataset, site(tmp_path))
    files = next(check for check in checks if check.name == "files")
    told = {Path(finding.file).name: finding.problem for finding in files.findings}
    assert set(told) == {"model__config.json", weights.name, "notes.txt"}
    assert "missing" in told["model__config.json"]
    assert "the manifest says" in told[weights.name]
    assert not checks[1].is_passed


def test_an_unlisted_file_fails_a_build_but_not_a_mount(without_wheels: Path, tmp_path: Path) -> None:
    mounted = mangled(without_wheels, tmp_path, EVERY_HABIT[0])
    (mounted / "notes.txt").write_text("mine")
    (finding,) = findings(verify(mounted, site(tmp_path)))
    assert finding.severity is Severity.WARNING


def test_without_a_manifest_or_with_a_broken_one_nothing_else_is_said(without_wheels: Path, tmp_path: Path) -> None:
    dataset = shutil.copytree(without_wheels, tmp_path / "dataset")
    (dataset / MANIFEST_NAME).write_text("{")
    (check,) = verify(dataset, site(tmp_path))
    assert not check.is_passed
    assert "not valid JSON" in check.findings[0].problem
    assert "build the dataset again" in check.findings[0].fix


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"title": "short"}, "title must be 6 to 50"),
        ({"id": "me/" + "x" * 51}, "slug must be 6 to 50"),
        ({"licenses": [{"name": "mine"}]}, "licence must be one of"),
        ({"licenses": []}, "cannot read it"),
        ({"id": "nobody"}, "cannot read it"),
        ({"title": "another title"}, "changed after the build"),
    ],
)
def test_metadata_that_kaggles_client_would_refuse_is_found(
    without_wheels: Path, tmp_path: Path, change: dict[str, object], says: str
) -> None:
    dataset = shutil.copytree(without_wheels, tmp_path / "dataset")
    path = dataset / DATASET_METADATA
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    (finding,) = findings(verify(dataset, site(tmp_path)))
    assert finding.file == str(path)
    assert says in finding.problem


def test_what_kaggle_or_its_client_would_not_take_of_a_build_is_found(without_wheels: Path, tmp_path: Path) -> None:
    """Bug of an earlier version: only the upload found out about links, names that clash and those never uploaded."""
    dataset = shutil.copytree(without_wheels, tmp_path / "dataset")
    (dataset / "folder").mkdir()
    (dataset / "link").symlink_to(dataset / MANIFEST_NAME)
    for number in range(50):
        (dataset / f"{number}").write_text("")
    (dataset / "4+7").write_text("")
    (dataset / "folder" / "inside").write_text("")
    told = [f"{Path(each.file).name}: {each.problem}" for each in findings(verify(dataset, site(tmp_path)))]
    assert any(line.endswith("files, Kaggle takes 50") for line in told)
    assert any(line.startswith("folder: not a plain file") for line in told)
    assert any(line.startswith("link: not a plain file") for line in told)
    assert "47: Kaggle would give it and 4+7 one name, 47" in told
    assert "inside: the manifest does not list it" in told


# Wheels


def test_wheels_that_do_not_fit_together_are_found(tmp_path: Path) -> None:
    wheels = make_wheelhouse(tmp_path, num_wheels=2)
    lock = load_lock(wheels.lock)
    needy = make_wheel(wheels.folder, "needy", requires=("absent>=1",))
    lock = Lock(lock.target, (needy, *lock.wheels))
    lock.save(wheels.lock)
    save_requirements(lock, wheels.folder)
    built = build(tmp_path / "dataset", model=make_model(tmp_path / "model"), wheels=wheels)
    check = next(check for check in verify(built.folder, site(tmp_path)) if check.name == "wheels")
    assert any("absent" in finding.problem and "kit wheels lock" in finding.fix for finding in check.findings)


def test_a_dataset_without_the_kits_own_needs_does_not_stand_alone(tmp_path: Path) -> None:
    """Bug of an earlier version: it was called fine, and its notebook died on an image without trio."""
    built = build(tmp_path / "dataset", model=make_model(tmp_path / "model"))
    (finding,) = findings(verify(built.folder, site(tmp_path)))
    assert (finding.severity, finding.file) == (Severity.ERROR, "needs")
    assert "`kit build`" in finding.fix


# The model


def model_with(folder: Path, **files: str | None) -> Path:
    """A sound model with files replaced, added or, for None, taken away; `__` stands for a dot."""
    make_model(folder, shard_bytes=1000)
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)
    return folder


@pytest.mark.parametrize(
    ("files", "file", "says"),
    [
        ({"config__json": None}, "config.json", "missing"),
        ({"config__json": "{"}, "config.json", "not valid JSON"),
        ({"tokenizer__json": None}, "", "no tokenizer"),
        ({"tokenizer__json": "[]"}, "tokenizer.json", "not a tokenizer"),
        ({"tokenizer__json": None, "vocab__json": "{}"}, "merges.txt", "vocab.json is of no use without it"),
        ({"config__json": '{"vocab_size": 3}'}, "tokenizer.json", "has token 3, the model in config.json knows 3"),
        ({"config__json": '{"model_type": "gpt_oss"}'}, "o200k_base.tiktoken", "would fetch it from the internet"),
        (
            {"config__json": '{"model_type": "gpt_oss"}', "o200k_base__tiktoken": "IQ== 0"},
            "o200k_base.tiktoken",
            "by its SHA-256",
        ),
        (
            {"tokenizer_config__json": '{"tokenizer_class": "QWenTokenizer", "chat_template": ""}'},
            "qwen.tiktoken",
            "QWenTokenizer cannot work without it",
        ),
        ({"config__json": '{"auto_map": {"AutoModel": "modeling.M"}}'}, "modeling.py", "config.json names it"),
        (
            {"tokenizer_config__json": '{"chat_template": "", "auto_map": {"AutoTokenizer": ["a/b--tok.T", null]}}'},
            "tokenizer_config.json",
            "would be fetched from the hub",
        ),
        ({"tokenizer_config__json": "{}"}, "", "no chat template"),
    ],
)
def test_what_keeps_a_model_from_loading_offline_is_named(
    tmp_path: Path, files: dict[str, str | None], file: str, says: str
) -> None:
    found = check_model(model_with(tmp_path / "model", **files))
    assert any(says in finding.problem and f"{finding.file} {finding.problem}".find(file) >= 0 for finding in found)
    assert all(finding.fix for finding in found)


def test_a_missing_shard_and_a_cut_one_are_named(tmp_path: Path) -> None:
    model = model_with(tmp_path / "model")
    shard = model / "model-00002-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert shard.name in check_model(model)[0].problem
    shard.unlink()
    assert shard.name in check_model(model)[0].problem


def test_the_shipped_model_is_sound() -> None:
    assert check_model(assets.TINY_MODEL) == ()


def test_a_recursive_model_of_another_backbone_is_found(tmp_path: Path) -> None:
    save_untrained(tmp_path / "trm", backbone_folder=assets.TINY_MODEL)
    assert check_trm(tmp_path / "trm", assets.TINY_MODEL) == ()
    other = shutil.copytree(assets.TINY_MODEL, tmp_path / "model")
    flipped(other / "model.safetensors", -1)
    (finding,) = check_trm(tmp_path / "trm", other)
    assert "wrong backbone" in finding.problem


def test_the_adapter_of_a_dataset_is_checked_against_its_model(tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path / "adapter")
    built = build(tmp_path / "dataset", model=assets.TINY_MODEL, adapter=adapter)
    assert ("adapter", True) in [(check.name, check.is_passed) for check in verify(built.folder, site(tmp_path))]
    (finding,) = check_adapter(adapter, make_model(tmp_path / "model"))
    assert "belongs to another model" in finding.problem
    assert "name the model that it was trained on" in finding.fix


@pytest.mark.parametrize(("is_kaggle", "severity"), [(True, Severity.ERROR), (False, Severity.WARNING)])
def test_a_kaggle_model_is_compared_where_it_is_attached(tmp_path: Path, is_kaggle: bool, severity: Severity) -> None:
    model = make_model(tmp_path / "model", shard_bytes=1000)
    built = build(tmp_path / "dataset", model=model, model_source=REF, needs=make_needs(tmp_path))
    finding, unlisted = findings(verify(built.folder, site(tmp_path, is_kaggle=is_kaggle)))
    assert (finding.severity, finding.file) == (severity, REF)
    assert (unlisted.severity, unlisted.problem[:26]) == (Severity.WARNING, "Kaggle never listed it: it")
    attached = shutil.copytree(model, tmp_path / "input" / "models" / REF)
    checks = verify(built.folder, site(tmp_path, is_kaggle=is_kaggle, mounts=tmp_path / "input"))
    assert findings(checks) == []
    assert "model" in [check.name for check in checks]
    flipped(attached / "model-00001-of-00003.safetensors", -1)
    checks = verify(built.folder, site(tmp_path, is_kaggle=is_kaggle, mounts=tmp_path / "input"))
    assert [Path(finding.file).name for finding in findings(checks)] == ["model-00001-of-00003.safetensors"]


def built_for(tmp_path: Path, *names: str, own: Sequence[str] = ()) -> tuple[Finding, ...]:
    """What is found, without a mount, of a Kaggle Model that was listed with these names."""
    listing = tuple(ListedFile(file=name, size_bytes=1) for name in names)
    files = [tmp_path / name for name in own]
    for file in files:
        file.write_text("{}")
    built = build(
        tmp_path / "dataset", model_source=REF, listing=listing, model_files=files, needs=make_needs(tmp_path)
    )
    checks = verify(built.folder, site(tmp_path, is_kaggle=False))
    return next(check for check in checks if check.name == "Kaggle Model").findings[1:]  # first: it is not attached


WHOLE = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")


def test_without_a_mount_nothing_is_found_of_a_kaggle_model_that_was_listed_whole(tmp_path: Path) -> None:
    assert built_for(tmp_path, *WHOLE) == ()


@pytest.mark.parametrize(
    ("names", "own", "says"),
    [
        ((), (), "was not listed when it was named"),
        (WHOLE[1:], (), "it has no config.json"),
        (("config.json", "model.safetensors"), (), "it has no tokenizer"),
        ((*WHOLE[:2], "model.safetensors"), (), "it has no chat template"),
        ((*WHOLE[:3], "model.gguf"), (), "neither model.safetensors nor model.safetensors.index.json, but model.gguf"),
        ((*WHOLE, "model-00001-of-00002.safetensors"), (), "it has no model-00002-of-00002.safetensors"),
    ],
)
def test_without_a_mount_what_a_kaggle_model_will_lack_is_told_from_its_listing(
    tmp_path: Path, names: tuple[str, ...], own: tuple[str, ...], says: str
) -> None:
    found = built_for(tmp_path, *names, own=own)
    assert says in found[0].problem
    assert all(finding.fix and finding.file == REF for finding in found)


def test_what_the_dataset_holds_is_not_lacking(tmp_path: Path) -> None:
    assert built_for(tmp_path, *WHOLE[:2], "model.safetensors", own=("tokenizer_config.json",)) == ()


def test_a_version_that_the_dataset_was_not_built_for_is_named_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built = build(tmp_path / "dataset", model_source=REF, needs=make_needs(tmp_path))
    other = REF.removesuffix("3") + "4"
    assert cli.main(["verify", str(built.folder), "--model-source", other]) == 1
    assert f"error: {other}: the dataset was built for {REF}" in capsys.readouterr().out
    assert not [*check_ref_built_for(built.manifest, REF)]


# The machine


def machine(**changes: object) -> Machine:
    return dataclasses.replace(MACHINE, **changes)  # type: ignore[arg-type]


KAGGLE = {"host": Host(python=(3, 12), machine="x86_64", glibc=(2, 35), cuda=(13, 0)), "gpus": (H100,)}


@pytest.mark.parametrize(
    ("at", "weights_gb", "target", "file", "says"),
    [
        (machine(), 100, None, "memory", "100.0 GB of weights"),
        (machine(free_disk_bytes=1), 0, None, "disk", "1.0 GB to unpack"),
        (machine(**{**KAGGLE, "gpus": ()}), 1, CUDA, "GPU", "none, and the wheels are for CUDA"),
        (machine(**{**KAGGLE, "gpus": (P100,)}), 1, CUDA, "GPU", "Tesla P100-PCIE-16GB has compute capability 6.0"),
        (machine(**{**KAGGLE, "gpus": (T4, T4)}), 60, CUDA, "GPU", "60.0 GB of weights do not fit into 32.2 GB"),
        (machine(**{**KAGGLE, "host": MACHINE.host}), 1, CUDA, "target kaggle-cp312", "here is Python 3.11"),
        (machine(busy_ports=(50051, 60053)), 0, None, "ports", "listens at 50051, 60053"),
    ],
)
def test_what_a_machine_lacks_is_an_error_with_its_fix(
    at: Machine, weights_gb: int, target: Target | None, file: str, says: str
) -> None:
    needed = Needs(weights_bytes=weights_gb * 10**9, unpacked_bytes=10**9, target=target)
    found = [each for each in findings(check_machine(at, needed)) if each.severity is Severity.ERROR]
    assert [finding.file for finding in found] == [file]
    assert says in found[0].problem
    assert found[0].fix


def test_the_competitions_machine_lacks_nothing_and_a_gpu_forgives_a_full_memory() -> None:
    needed = Needs(weights_bytes=65 * 10**9, unpacked_bytes=10**9, target=CUDA)
    assert findings(check_machine(machine(**KAGGLE), needed)) == []
    (finding,) = findings(check_machine(machine(**KAGGLE, free_memory_bytes=1), needed))
    assert finding.severity is Severity.WARNING


def test_the_weights_stand_beside_the_card_to_the_byte() -> None:
    needed = Needs(weights_bytes=65_280_000_001, unpacked_bytes=0, target=None)
    (gpu,) = (check for check in check_machine(machine(**KAGGLE), needed) if check.name == "GPU")
    assert gpu.detail == f"{H100.name} ({H100.memory_bytes:,} bytes); weights 65,280,000,001 bytes"


def test_what_this_machine_lacks_does_not_fail_a_dataset_elsewhere(without_wheels: Path, tmp_path: Path) -> None:
    poor = machine(free_memory_bytes=0)
    on_kaggle = verify(without_wheels, site(tmp_path, machine=poor))
    elsewhere = verify(without_wheels, site(tmp_path, machine=poor, is_kaggle=False))
    assert not all(check.is_passed for check in on_kaggle)
    assert all(check.is_passed for check in elsewhere)
    assert len(findings(elsewhere)) == len(findings(on_kaggle)) == 1


def test_this_machine_can_be_asked(tmp_path: Path) -> None:
    here = Machine.here(tmp_path / "not" / "there")
    assert here.free_memory_bytes > 0
    assert here.free_disk_bytes > 0


# The command


def test_the_command_says_what_it_saw_and_its_status_is_the_verdict(
    without_wheels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    dataset = shutil.copytree(without_wheels, tmp_path / "input" / "datasets" / "me" / "kit")
    assert cli.main(["verify", str(tmp_path / "input")]) == 0  # found below the folder that was named
    assert "FAILED" not in capsys.readouterr().out
    flipped(dataset / "model__config.json", 0)
    assert cli.main(["verify", str(dataset), "--scratch", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "FAILED" in printed
    assert f"error: {dataset / 'model__config.json'}: its SHA-256 is not the manifest's\n  fix: build" in printed


def test_a_folder_without_a_dataset_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        assert cli.main(["verify", str(folder)]) == 1
        assert str(folder) in capsys.readouterr().err


LOOP = "{% for i in range(99999) %}" * 3 + "{% endfor %}" * 3


@pytest.mark.parametrize("in_file", [True, False], ids=["in its own file", "in the tokenizer's config"])
def test_a_chat_template_that_never_ends_is_found(tmp_path: Path, in_file: bool) -> None:
    """Bug of an earlier version: such a model passed `kit build` and `kit verify`, and held up every answer."""
    model = make_model(tmp_path / "model")
    if in_file:
        (model / "chat_template.jinja").write_text(LOOP)
    else:
        (model / "tokenizer_config.json").write_text(json.dumps({"chat_template": LOOP}))
    (found,) = check_chat(model, limit_s=1)
    assert found.severity is Severity.ERROR
    assert found.problem == "rendering a chat through its template: not done after 1 s"
    assert Path(found.file) == (model / "chat_template.jinja" if in_file else model)


def test_a_model_that_renders_and_encodes_a_chat_passes(tmp_path: Path) -> None:
    assert check_chat(make_model(tmp_path / "model")) == ()


def test_a_chat_template_that_refuses_a_chat_is_told_in_its_own_words(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model")
    (model / "chat_template.jinja").write_text("{{ raise_exception('no users') }}")
    (found,) = check_chat(model)
    assert "no users" in found.problem
