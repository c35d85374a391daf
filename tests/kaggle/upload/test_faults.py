"""Kaggle's words for what it refuses, and what they are taken for."""

from __future__ import annotations

import pytest

from kit.kaggle.upload.faults import Fault, fault_of


@pytest.mark.parametrize(
    ("status", "text", "fault"),
    [
        (400, "Maximum batch GPU session count of 2 reached.", Fault.SESSIONS),
        (400, "You have exceeded the maximum number of GPU sessions", Fault.SESSIONS),
        (403, "You can run only 1 GPU session at a time", Fault.SESSIONS),
        (400, "You have reached your daily submission limit", Fault.QUOTA),
        (400, "You have used the maximum number of submissions for today", Fault.QUOTA),
        (429, "You have used up your weekly GPU quota", Fault.QUOTA),
        (429, "Your weekly quota of GPU sessions is used up", Fault.QUOTA),
        (429, "Maximum batch GPU session count of 2 reached.", Fault.SESSIONS),
        (429, "Too many requests", Fault.LIMITED),
        (429, "Quota of requests a minute exceeded", Fault.LIMITED),
        (429, "", Fault.LIMITED),
        (400, "Invalid docker image", Fault.REFUSED),
        (404, "no quota of that name", Fault.ABSENT),
    ],
)
def test_one_status_has_many_reasons_which_the_words_tell(status: int, text: str, fault: Fault) -> None:
    assert fault_of("http", status, text) is fault
