from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from kit.config import flattened, machine_facts, merged, replaced
from kit.errors import InputError, SettingError, check_fields


@dataclass(frozen=True)
class Inner:
    width: int = 2
    ratio: float = 0.5


@dataclass(frozen=True)
class Whole:
    size: int
    colour: str = "red"


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    limit: int | None = None
    name: Literal["x", "y"] = "x"
    depths: tuple[int, ...] = ()
    whole: Whole | None = None


@dataclass(frozen=True)
class Checked:
    few: int = 1

    def __post_init__(self) -> None:
        check_fields(self, [("few", self.few < 3, "< 3")])


@dataclass(frozen=True)
class WithChecked(Outer):
    checked: Checked = field(default_factory=Checked)


def test_changes_fields_by_name_and_nests() -> None:
    assert replaced(Outer(), {"inner": {"width": 3, "ratio": 1}, "limit": 5}) == Outer(Inner(3, 1), 5)
    assert replaced(Outer(limit=5), {"limit": None}) == Outer()
    assert replaced(Outer(), {"depths": [3, 5]}) == Outer(depths=(3, 5))  # JSON has lists only
    assert replaced(Outer(), {"whole": {"size": 3}}) == Outer(whole=Whole(3))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"nmae": "y"}, "no setting 'nmae'; did you mean 'name'"),
        ({"inner": {"widht": 1}}, "no setting 'inner.widht'; did you mean 'inner.width'"),
        ({"qqq": 1}, "known: inner, limit, name, depths, whole"),
        ({"whole": {"colour": "red"}}, "whole.size must be set with the others of its group: size"),
        ({"whole": {"size": 1, "hue": 2}}, "no setting 'whole.hue'; known: size, colour"),
        ({"whole": {"size": "x"}}, "whole.size must be an integer, got 'x'"),
        ({"whole": 3}, r"whole must be a group of settings \(size, colour\) or null, got 3"),
        ({"inner": {"width": "3"}}, "inner.width must be an integer, got '3'"),
        ({"inner": {"width": True}}, "inner.width must be an integer"),
        ({"inner": {"width": None}}, "inner.width must be an integer"),
        ({"inner": 3}, "inner is a group of settings: width, ratio; got 3"),
        ({"depths": [3, "5"]}, "depths must be a list, each an integer"),
        ({"limit": 1.5}, "limit must be an integer or null"),
        ({"name": "z"}, "name must be one of x, y, got 'z'"),
    ],
)
def test_refuses_unknown_names_and_wrong_kinds(changes: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says.replace("|", r"\|")):
        replaced(Outer(), changes)


def test_lists_every_setting_by_the_name_that_changes_it() -> None:
    assert flattened(Outer()) == {
        "inner.width": 2,
        "inner.ratio": 0.5,
        "limit": None,
        "name": "x",
        "depths": (),
        "whole": None,
    }


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"inner": {"widht": 1}}, "inner.widht"),
        ({"inner": {"width": "3"}}, "inner.width"),
        ({"whole": {"size": "x"}}, "whole.size"),
        ({"checked": {"few": 9}}, "checked.few"),
    ],
)
def test_a_refusal_carries_the_whole_name_of_the_setting(changes: dict[str, object], name: str) -> None:
    with pytest.raises(SettingError) as caught:
        replaced(WithChecked(), changes)
    assert caught.value.name == name
    assert name in str(caught.value)


def test_a_setting_of_a_group_within_is_found_by_its_last_name() -> None:
    with pytest.raises(InputError, match=r"did you mean 'inner.width'\?"):
        replaced(Outer(), {"width": 1})
    with pytest.raises(InputError, match=r"did you mean 'inner.width'\?"):
        replaced(Outer(), {"widht": 1})


def test_layers_are_laid_over_each_other() -> None:
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}, "d": [1]}, {}) == {"a": {"b": 3, "c": 2}, "d": [1]}
    assert merged({"a": {"b": 1}}, {"a": None}) == {"a": None}


def test_tells_versions_and_hardware() -> None:
    facts = machine_facts()
    assert facts["cpus"] >= 1
    assert "trio" in facts["packages"]
