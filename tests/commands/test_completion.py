"""The scripts that complete `kit` in a shell."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from kit import cli

pytest.importorskip("shtab", reason="completion needs shtab")


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("kit sol", {"solve"}),
        ("kit solve --sam", {"--samples"}),
        ("kit dry-run --engine vllm", {"vllm", "vllm-trm"}),
        ("kit wheels fe", {"fetch"}),
        ("kit build --model no-such-fil", set()),
    ],
)
def test_bash_completes_commands_options_and_choices(
    words: str, expected: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    typed = f"COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _shtab_kit; echo ${{COMPREPLY[@]}}"
    code = f"{script('bash', capsys)}\n{typed}"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=False)
    assert set(done.stdout.split()) == expected


def test_options_of_paths_complete_files_and_folders(capsys: pytest.CaptureFixture[str]) -> None:
    bash = script("bash", capsys)
    assert "_shtab_kit_solve___config_COMPGEN=_shtab_compgen_files" in bash
    assert "_shtab_kit_solve___model_COMPGEN=_shtab_compgen_dirs" in bash


def test_zsh_has_a_script_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert script("zsh", capsys).startswith("#compdef kit\n")


def test_without_shtab_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert cli.main(["completion", "bash"]) == 1
    assert "pip install 'mathllm-kit[completion]'" in capsys.readouterr().err
