import pytest

from kit.errors import InputError
from kit.solver.stopping import StopConfig


@pytest.mark.parametrize("change", [{"num_samples": 0}, {"rule": "adaptve(0.9)"}, {"max_failures": 0}])
def test_refuses_a_stop_rule_that_makes_no_sense(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        StopConfig(**change)  # type: ignore[arg-type]
