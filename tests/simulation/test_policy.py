from kit.simulation.policy import BASELINE, KIT, POLICIES
from kit.solver.config import SolverConfig


def test_the_first_policy_is_the_competitions_common_ancestor() -> None:
    stop = BASELINE.solver.stop
    assert POLICIES[0] is BASELINE
    assert (stop.num_samples, stop.rule, BASELINE.solver.width, BASELINE.plan) == (8, "votes(4)", 8, "bank")
    assert (BASELINE.solver.voting.weighing, BASELINE.solver.pacing.kind) == ("entropy", "off")


def test_policies_have_names_of_their_own_and_the_kits_is_what_it_submits() -> None:
    names = [policy.name for policy in POLICIES]
    assert len(set(names)) == len(names)
    assert KIT in POLICIES
    assert KIT.solver == SolverConfig()


def test_plans_scale_with_the_limit_as_tuned_for_fifty_problems_in_five_hours() -> None:
    budget = BASELINE.budget(num_problems=50, share_s=348.0)
    assert (budget.cutoff_s, budget.bank_s, budget.bank_high_s, budget.first_s) == (17_400.0, 300.0, 900.0, 3600.0)
    half = BASELINE.budget(num_problems=50, share_s=174.0)
    assert (half.cutoff_s, half.bank_s, half.bank_high_s, half.first_s) == (8700.0, 150.0, 450.0, 1800.0)
