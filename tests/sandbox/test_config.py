"""What may be set, and what is said of what was granted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import InputError
from kit.sandbox.config import SandboxConfig
from kit.sandbox.confinement import Absence, Confinement, Layer

layer_sets = st.frozensets(st.sampled_from(Layer))


@pytest.mark.parametrize(
    "change",
    [
        {"memory_bytes": 1 << 20},
        {"cpu_s": 0},
        {"output_bytes": 100},
        {"max_open_files": 3},
        {"max_processes": 0},
        {"max_threads": -1},
        {"scratch_bytes": 0},
        {"grace_s": -0.1},
        {"num_spare": -1},
        {"preload": ("os; import sys",)},
        {"hidden": (Path("models"),)},
    ],
)
def test_a_value_out_of_range_is_refused_by_name(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(change))} must be"):
        replace(SandboxConfig(), **change)


@given(
    layer_sets, st.sampled_from([None, Path("/usr/bin/python3")]), st.lists(st.sampled_from([Path("/a"), Path("/b")]))
)
def test_a_config_survives_the_wire(layers: frozenset[Layer], python: Path | None, hidden: list[Path]) -> None:
    config = SandboxConfig(layers=layers, python=python, hidden=tuple(hidden), cpu_s=7)
    assert SandboxConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@given(layer_sets, st.lists(st.sampled_from(["sympy", "numpy"])))
def test_a_confinement_survives_the_wire(layers: frozenset[Layer], missing: list[str]) -> None:
    absent = tuple(Absence(layer=layer, why="no", is_granted=True) for layer in Layer if layer not in layers)
    confinement = Confinement(layers=layers, absent=absent, missing_modules=tuple(missing))
    assert Confinement.from_json(json.loads(json.dumps(confinement.to_json()))) == confinement


@given(layer_sets)
def test_the_log_names_every_layer_and_all_that_only_python_holds(layers: frozenset[Layer]) -> None:
    absent = tuple(Absence(layer=layer, why="not here") for layer in Layer if layer not in layers)
    confinement = Confinement(layers=layers, absent=absent)
    line = confinement.describe()
    for layer in Layer:
        assert (f"no {layer} (not here)" in line) == (layer not in layers)
    is_weak = not (confinement.hides_files and confinement.blocks_network and confinement.bounds_processes)
    assert ("in Python only" in line) == is_weak


def test_missing_modules_are_in_the_log() -> None:
    assert "not installed: networkx" in Confinement(layers=frozenset(), missing_modules=("networkx",)).describe()


def test_a_layer_is_lost_only_where_the_machine_grants_it() -> None:
    refused = Absence(layer=Layer.LANDLOCK, why="no such call")
    lost = Absence(layer=Layer.NAMESPACES, why="File exists", is_granted=True)
    assert Confinement(layers=frozenset(), absent=(refused, lost)).lost == (lost,)
