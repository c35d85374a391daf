import pytest

from kit.simulation.pools import natural_share_s
from kit.simulation.speeds import linear
from tests.simulation.toy_policies import EIGHT, ONE, problem, setting


def test_the_natural_share_is_what_the_policy_takes_without_a_limit() -> None:
    recordings = problem("a", 8, work_s=60.0), problem("b", 8, work_s=180.0)
    assert natural_share_s(EIGHT, setting(recordings=recordings)) == pytest.approx(120.0)
    assert natural_share_s(EIGHT, setting(recordings=recordings, speeds=linear(0.0))) == pytest.approx(120.0)
    assert natural_share_s(ONE, setting(recordings=recordings, speeds=linear(1.0))) == pytest.approx(120.0 / 8)
