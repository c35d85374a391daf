from __future__ import annotations

from kit.data.offline import SWITCHES, forbid_telemetry


def test_every_switch_is_set_and_the_users_own_stay() -> None:
    environ = {"TOKENIZERS_PARALLELISM": "true", "HF_HOME": "/somewhere"}
    forbid_telemetry(environ)
    assert environ == {**SWITCHES, "TOKENIZERS_PARALLELISM": "true", "HF_HOME": "/somewhere"}


def test_whether_the_hub_is_asked_is_left_to_the_user() -> None:
    assert "HF_HUB_OFFLINE" not in SWITCHES
