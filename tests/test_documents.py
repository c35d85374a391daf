"""What the README, the documents and the notebook promise is there."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest

from kit import cli
from kit.assets import SAMPLE_PROBLEMS
from kit.budget import BudgetConfig
from kit.problem import read_problems
from kit.recipes.attempts import EngineConfig
from kit.solver.config import SolverConfig

REPO = Path(__file__).parent.parent
DOCUMENTS = sorted(path.relative_to(REPO).as_posix() for path in [*REPO.glob("*.md"), *REPO.glob("docs/*.md")])
NOTES = sorted(
    path.relative_to(REPO).as_posix()
    for folder in ("benchmarks", "notebooks", "kit")
    for path in (REPO / folder).rglob("*.md")
)
OF_NOW = [name for name in DOCUMENTS if name != "CHANGELOG.md"]  # which tells of names that are gone, too
ROOMS = sorted(path.relative_to(REPO).as_posix() for path in REPO.glob("kit/*/") if list(path.glob("*.py")))


def commands(name: str) -> list[str]:
    """The lines of a document's code blocks that are commands, without what is redirected into them."""
    blocks = re.findall(r"^```(?:python)?\n(.*?)^```", (REPO / name).read_text(), re.S | re.M)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line.partition(" < ")[0] for line in lines if re.match(r"make |\.venv/bin/kit |python ", line)]


@cache
def anchors(path: Path) -> set[str]:
    """The names by which the headings of a document are linked to, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+)$", path.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def sources(*folders: str) -> Iterator[Path]:
    """The Python files and notes below the folders, but for this test."""
    for folder in folders:
        paths = (path for path in (REPO / folder).rglob("*") if path.suffix in (".py", ".md"))
        yield from (path for path in paths if path != Path(__file__))


def test_every_make_command_of_the_documents_is_a_target() -> None:
    shown = {command.split()[1] for name in DOCUMENTS for command in commands(name) if command.startswith("make ")}
    told = {word for name in DOCUMENTS for word in re.findall(r"`make ([\w-]+)", (REPO / name).read_text())}
    assert shown >= {"dry-run", "test"}
    targets = set(re.findall(r"^([\w-]+):", (REPO / "Makefile").read_text(), re.M))
    assert sorted((shown | told) - targets) == []
    for target in shown:
        subprocess.run(["make", "--dry-run", "--always-make", target], cwd=REPO, check=True, capture_output=True)


@pytest.mark.parametrize("name", OF_NOW)
def test_every_kit_command_of_the_documents_parses(name: str) -> None:
    for line in commands(name):
        if line.startswith(".venv/bin/kit ") and "--help" not in line:
            cli._parser().parse_args(shlex.split(line)[1:])


def test_the_readme_shows_kit_commands_and_python_scripts_that_are_there() -> None:
    text = (REPO / "README.md").read_text()
    assert sum("kit " in command for command in commands("README.md")) >= 10
    for script in re.findall(r"`python (\w+\.py)", text):
        assert (REPO / script).is_file(), script


@pytest.mark.parametrize("name", [*DOCUMENTS, *NOTES])
def test_every_local_link_leads_somewhere(name: str) -> None:
    path = REPO / name
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([\w-]+))?\)", path.read_text())
    assert name != "README.md" or ("docs/dry-run.svg", "") in links
    for target, anchor in links:
        leads_to = (path.parent / target) if target else path
        assert leads_to.exists(), target
        assert not anchor or anchor in anchors(leads_to), f"{target}#{anchor}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_lines_are_wrapped_but_for_tables_and_addresses(name: str) -> None:
    lines = (REPO / name).read_text().splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith("|") and "https://" not in line] == []


def test_every_citation_of_a_document_leads_to_a_section() -> None:
    lost = []
    for path in sources("kit", "tests", "benchmarks", "notebooks"):
        # Another repository's documents are cited beside its address.
        lines = [line for line in path.read_text().splitlines() if "github.com/" not in line]
        for name, anchor in re.findall(r"(?<![\w/.-])(docs/[\w-]+\.md)(?:#([\w-]+))?", "\n".join(lines)):
            if not (REPO / name).is_file() or (anchor and anchor not in anchors(REPO / name)):
                lost.append(f"{path.relative_to(REPO)}: {name}#{anchor}")
    assert lost == []


@pytest.mark.parametrize("room", [*ROOMS, "tests", "benchmarks"])
def test_no_citation_leads_to_notes_that_are_not_part_of_the_project(room: str) -> None:
    elsewhere = re.compile(r"field[-\s]+notes|(?<!docs/)\b(?:kaggle|peers|policy|recursion|toolchain|vllm)\.md")
    assert [str(path) for path in sources(room) if elsewhere.search(path.read_text())] == []


@pytest.mark.parametrize("name", OF_NOW)
def test_every_setting_that_a_document_names_is_one(name: str) -> None:
    groups: dict[str, Any] = {"solver": SolverConfig(), "budget": BudgetConfig(), "engine": EngineConfig()}
    named = re.findall(
        r"(?<![\w/.])((?:solver|budget|engine)(?:\.[a-z_]+)+)(?![\w./]*(?:py|\())", (REPO / name).read_text()
    )
    for setting in named:
        group, *fields = setting.split(".")
        value = groups[group]
        for field in fields:
            assert hasattr(value, field), setting
            value = getattr(value, field)


def test_the_architecture_shows_the_layers_of_the_contract_and_every_room() -> None:
    text = (REPO / "docs" / "architecture.md").read_text()
    contracts = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert "```\n" + "\n".join(contracts[0]["layers"]) + "\n```" in text
    assert [room for room in ROOMS if f"| `{room}/` |" not in text] == []


def test_the_readme_has_every_room() -> None:
    assert [
        room for room in ROOMS if room != "kit/assets" and f"| `{room}/` |" not in (REPO / "README.md").read_text()
    ] == []


def test_the_glossary_is_in_order_tells_each_word_once_and_names_modules_that_are_there() -> None:
    symbols, words = (REPO / "docs" / "glossary.md").read_text().split("## Words")
    for table in (symbols, words):
        rows = re.findall(r"^\| (?!symbol|word|---)([^|]+) \| [^|]+ \| `([^`]+)` \|$", table, re.M)
        assert len(rows) == len(re.findall(r"^\| ", table, re.M)) - 1  # but for the head
        names = [name.lower() for name, _ in rows]
        assert names == sorted(set(names))
        assert [module for _, module in rows if not (REPO / module).is_file()] == []


def test_the_terminals_picture_shows_every_sample_problem_and_cuts_nothing() -> None:
    picture = re.sub(r"<[^>]*>", "", (REPO / "docs" / "dry-run.svg").read_text())
    assert [problem.id for problem in read_problems(SAMPLE_PROBLEMS) if problem.id not in picture] == []
    assert "…" not in picture


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
