"""What the README and the notebook promise is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import nbformat
import pytest

from kit import cli


def commands(repo: Path) -> list[str]:
    """The lines of the README's code blocks that are commands."""
    blocks = re.findall(r"^```\n(.*?)^```", (repo / "README.md").read_text(), re.S | re.M)
    return [line for block in blocks for line in block.splitlines() if re.match(r"make |\.venv/bin/kit |python ", line)]


def test_every_make_command_of_the_readme_is_a_target(repo: Path) -> None:
    targets = {command.split()[1] for command in commands(repo) if command.startswith("make ")}
    assert targets >= {"dry-run", "test"}
    for target in targets:
        subprocess.run(["make", "--dry-run", "--always-make", target], cwd=repo, check=True, capture_output=True)


def test_every_kit_command_of_the_readme_parses(repo: Path) -> None:
    lines = [command for command in commands(repo) if "kit " in command and "--help" not in command]
    assert lines
    for line in lines:
        cli._parser().parse_args(line.split()[1:])


def test_every_local_link_of_the_readme_leads_somewhere(repo: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", (repo / "README.md").read_text())
    assert "docs/dry-run.svg" in links
    assert [link for link in links if not (repo / link).exists()] == []


def test_the_notebook_is_short_explained_and_without_outputs(repo: Path) -> None:
    notebook = nbformat.read(repo / "notebooks" / "submission.ipynb", as_version=4)
    nbformat.validate(notebook)
    kinds = [cell.cell_type for cell in notebook.cells]
    assert kinds == ["markdown", "markdown", "code", "markdown", "code", "markdown", "code"]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= 16
            assert (cell.outputs, cell.execution_count) == ([], None)


@pytest.mark.parametrize("folder", ["kit", "notebooks", "wheels", ".ci"])
def test_no_committed_file_names_a_package_registrys_host(repo: Path, folder: str) -> None:
    listed = subprocess.run(["git", "ls-files", folder], cwd=repo, capture_output=True, text=True, check=False)
    for name in listed.stdout.split():
        content = (repo / name).read_bytes()
        assert b"pypi." + b"org" not in content, name
        assert b"--index-url" not in content, name
