from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit import cli
from kit.assets import TINY_MODEL, TINY_TRM
from kit.config import nested
from kit.errors import InputError

HEAVY = "torch", "transformers", "numpy", "polars", "grpc", "sympy", "nbclient", "rich"


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "kit.cli", *args], capture_output=True, text=True, check=False)


def test_help_names_the_commands_and_loads_nothing_heavy() -> None:
    code = f"""
import sys, kit.cli
try:
    kit.cli.main(["--help"])
except SystemExit:
    pass
print([module for module in {HEAVY} if module in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for promised in ("dry-run", "solve", "kit completion bash"):
        assert promised in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


# Of every method of `kit train`.
TRAINING_FLAGS = [
    "--answers",
    "--batch_size",
    "--bf16",
    "--cache_dir",
    "--dataset",
    "--device",
    "--ema",
    "--epochs",
    "--gradient_accumulation",
    "--help",
    "--lr",
    "--max_length",
    "--model",
    "--num_samples",
    "--output_dir",
    "--resume",
    "--save_every",
    "--seed",
    "--warmup",
    "--weight_decay",
]


SERVER = ["--api-key-env", "--model-name", "--url"]


def test_the_set_of_flags_is_frozen(capsys: pytest.CaptureFixture[str]) -> None:
    """A flag that is added or goes is a decision: change this list with it."""
    flags = {
        "solve": [
            *(
                *SERVER,
                "--adapter",
                "--config",
                "--engine",
                "--help",
                "--model",
                "--samples",
                "--set",
                "--show",
                "--trm",
            ),
        ],
        "eval": [
            *SERVER,
            "--adapter",
            "--batch-size",
            "--data",
            "--depth",
            "--engine",
            "--help",
            "--limit",
            "--max-new-tokens",
            "--model",
            "--num-samples",
            "--num-shots",
            "--out",
            "--prompt",
            "--ray",
            "--seed",
            "--set",
            "--shard",
            "--split",
            "--temperature",
            "--token-stats",
            "--top-p",
            "--track",
            "--trm",
            "--verbose",
            "--workers",
            "--wrong-only",
        ],
        "compare": ["--depth", "--grade", "--help", "--json"],
        "report": ["--gold", "--help", "--out"],
        "completion": ["--help"],
        "dry-run": [
            *SERVER,
            "--adapter",
            "--config",
            "--engine",
            "--fresh",
            "--help",
            "--interactive",
            "--layout",
            "--model",
            "--model-file",
            "--model-source",
            "--out",
            "--problems",
            "--runs",
            "--seed",
            "--set",
            "--trm",
            "--wheels",
        ],
        "simulate": [
            *("--compare", "--competitions", "--gold", "--help", "--kept", "--per-replicate", "--plot", "--policy"),
            *("--processes", "--recording", "--repeat", "--replay", "--replicates", "--scenarios", "--seed", "--set"),
            *("--share", "--speeds-of", "--stream-cost"),
        ],
        "upload": [
            "--dataset",
            "--fresh",
            "--help",
            "--licence",
            "--no-upload",
            "--notes",
            "--public",
            "--ready-within",
            "--slug",
            "--title",
            "--username",
        ],
        "wheels": ["--help"],
        "push": [
            *("--accelerator", "--dataset", "--further-dataset", "--help", "--image", "--kernel-source"),
            *("--model-source", "--notebook", "--out", "--slug", "--username"),
        ],
        "status": ["--follow", "--help", "--out", "--slug", "--username", "--version"],
        "logs": ["--follow", "--help", "--lines", "--out", "--slug", "--username", "--version"],
        "ship": [
            *("--accelerator", "--adapter", "--further-dataset", "--help", "--image", "--kernel-source", "--licence"),
            *("--message", "--model", "--model-file", "--model-source", "--notebook", "--out", "--slug", "--trm"),
            *("--username", "--wheels", "--wheels-folder", "--wheels-source", "--yes"),
        ],
        "push-wheels": ["--help", "--out", "--slug", "--target", "--username"],
        "notebook": [
            *("--adapter", "--help", "--model", "--model-file", "--model-source", "--out", "--self-contained"),
            *("--trm", "--wheels", "--wheels-source"),
        ],
        "submit": ["--help", "--message", "--out", "--slug", "--username", "--version"],
        "settings": ["--config", "--help", "--model", "--set", "--write"],
        "build": [
            *("--adapter", "--help", "--id", "--model", "--model-file", "--model-source", "--out", "--trm"),
            *("--wheels", "--wheels-folder", "--wheels-source"),
        ],
        "verify": ["--help", "--model-source", "--scratch"],
        "doctor": ["--help"],
        "train": ["--help"],
        "train trm": [
            *TRAINING_FLAGS,
            "--N_supervision",
            "--T_recursion",
            "--T_spread",
            "--feature_layers",
            "--form",
            "--freeze_lm_head",
            "--halting",
            "--kl",
            "--num_latent",
            "--whiten",
            "--with_grad",
        ],
        "train finetune": [*TRAINING_FLAGS, "--freeze_lm_head", "--n_layers"],
        "train lora": [*TRAINING_FLAGS, "--lora_layers", "--rank"],
    }
    for command, expected in flags.items():
        with pytest.raises(SystemExit):
            cli.main([*command.split(), "--help"])
        declared = re.findall(r"^  (?:-\w, )?(--[\w-]+)", capsys.readouterr().out, re.MULTILINE)
        assert sorted(set(declared)) == sorted(expected)


@pytest.fixture
def _own_signals() -> Iterator[None]:
    """A dry run takes signals for Ctrl-C, in its own process."""
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.parametrize(
    ("content", "says"),
    [("", "the file is empty"), ("a,b\n1,2\n", "no column 'id'"), ("id,problem\na,x\na,x\n", "more than once")],
)
def test_a_bad_csv_is_one_line_on_stderr_before_anything_is_built(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "p.csv").write_text(content)
    done = run("dry-run", "--problems", str(tmp_path / "p.csv"), "--out", str(tmp_path / "out"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert says in done.stderr
    assert str(tmp_path / "p.csv") in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("_own_signals")
@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("solver.widht=4", "did you mean 'solver.width'"),
        ("solver.width=0", "width must be >= 1"),
        ("budget.limit_s=ten", "budget.limit_s must be a finite number"),
        ("budget.limit_s=Infinity", "budget.limit_s must be a finite number, got inf"),
        ("budget.floor_s=NaN", "budget.floor_s must be a finite number, got nan"),
        ("engine.device=tpu", "engine.device must be one of cpu, cuda, auto"),
        ("=4", "expected NAME=VALUE"),
    ],
)
def test_a_bad_setting_is_refused_at_once_with_the_nearest_name(
    tmp_path: Path, assignment: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.csv").write_text("id,problem\na,x\n")
    problems, out = str(tmp_path / "p.csv"), str(tmp_path / "out")
    assert cli.main(["dry-run", "--problems", problems, "--out", out, "--set", assignment]) == 1
    assert says in capsys.readouterr().err
    assert not list(tmp_path.glob("out/run-*"))


def test_a_command_that_is_nearly_one_is_told_which(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["slove", "What is $1+1$?"]) == 1
    assert capsys.readouterr().err == "kit: there is no command 'slove'; did you mean 'solve'?\n"
    with pytest.raises(SystemExit):
        cli.main(["xyzzy"])
    assert "invalid choice: 'xyzzy'" in capsys.readouterr().err


def test_settings_given_by_dotted_names_are_nested() -> None:
    assert nested(["a.b.c=1", "a.b.d=[2]", "a.e=x y", "f=null"]) == {
        "a": {"b": {"c": 1, "d": [2]}, "e": "x y"},
        "f": None,
    }
    for order in (["a.b=1", 'a={"c": 2}'], ['a={"c": 2}', "a.b=1"]):
        assert nested(order) == {"a": {"b": 1, "c": 2}}
    with pytest.raises(InputError, match="already given a value"):
        nested(["a=1", "a.b=2"])


def test_build_writes_and_lists_the_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["build", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "model__config.json" in printed
    assert "trm__model.safetensors" in printed  # the shipped model's own
    assert str(tmp_path / "out") in printed


def test_build_packs_no_recursive_model_for_another_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    another = shutil.copytree(TINY_MODEL, tmp_path / "another")
    assert cli.main(["build", "--model", str(another), "--out", str(tmp_path / "out")]) == 0
    assert "trm__" not in capsys.readouterr().out


def test_a_reader_that_has_seen_enough_is_no_fault() -> None:
    """`kit settings | true`: no traceback, and the status of a program that SIGPIPE ends."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "kit.cli", "settings"], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


BARE = """
import sys
class Bare:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("google", "grpc", "numpy", "polars", "torch", "transformers"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Bare())
from kit.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("dry-run", "kit: no dry run: polars is not installed; pip install 'mathllm-kit[kaggle]'"),
        ("build --trm {trm}", "torch is not installed; pip install 'mathllm-kit[torch]'"),
    ],
)
def test_on_a_bare_install_a_command_names_the_extra_that_it_needs(command: str, says: str, tmp_path: Path) -> None:
    """Regression: it was a traceback."""
    trm = tmp_path / "a trm of one's own"  # the shipped one is known by its bytes, without torch
    shutil.copytree(TINY_TRM, trm)
    trm.joinpath("config.json").write_text(TINY_TRM.joinpath("config.json").read_text() + " ")
    words = [word.format(trm=trm) for word in command.split()]
    line = [sys.executable, "-c", BARE, *words, "--out", str(tmp_path / "out")]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert says in done.stderr


def test_a_machine_is_looked_at_on_a_bare_install() -> None:
    """Regression: `kit verify` and `kit doctor` ended in a traceback about protobuf."""
    code = (
        BARE.partition("from kit.cli")[0] + "from pathlib import Path\nfrom kit.kaggle.checks.machine import Machine\n"
    )
    subprocess.run([sys.executable, "-c", code + "Machine.here(Path('/tmp'))"], check=True)


INTERRUPTED = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
from kit.cli import main
sys.meta_path.insert(0, Interrupt())
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("module", ["kit.commands", "kit.commands.solve", "kit.commands.completion", "difflib"])
def test_an_interrupt_while_the_commands_are_imported_is_one_line(module: str) -> None:
    """Regression: in the first 0.3 s, before a command had begun, it was a traceback."""
    command = [sys.executable, "-c", INTERRUPTED, module, "settings"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nkit: interrupted\n")


def test_what_is_imported_before_an_interrupt_is_understood_is_little() -> None:
    code = "import sys; before = set(sys.modules); import kit.cli; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "kit.commands" not in done.stdout
