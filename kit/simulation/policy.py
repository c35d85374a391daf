"""Ways to stop and to share time, by name: the kit's, its parts, and those of the competition's best notebooks.

A policy is a SolverConfig and a plan of the budget; what it does under a shorter or longer limit scales with
the limit, as its authors tuned it for fifty problems in five hours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kit.budget import BudgetConfig
from kit.config import replaced
from kit.errors import InputError
from kit.solver.config import SolverConfig
from kit.solver.pacing import PacingConfig
from kit.solver.stopping import StopConfig
from kit.voting.weights import VotingConfig

_SHARE_S = 348.0  # of each of fifty problems in the 17,400 s that the winners' notebooks count with


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How to stop, weigh and share time. note: whose it is."""

    name: str
    solver: SolverConfig
    plan: Literal["stretch", "bank", "linspace"] = "stretch"
    note: str = ""

    def budget(self, *, num_problems: int, share_s: float) -> BudgetConfig:
        """For a scenario whose even share is `share_s` a problem."""
        reserve_s = share_s / 2
        scale = share_s / _SHARE_S
        return BudgetConfig(
            limit_s=num_problems * share_s + reserve_s,
            reserve_s=reserve_s,
            floor_s=20 * scale,
            num_problems=num_problems,
            plan=self.plan,
            bank_s=300 * scale,
            bank_high_s=900 * scale,
            first_s=num_problems * share_s * 3600 / 17_400,
            single_s=750 * scale,
        )


def _fixed(name: str, rule: str, *, num_samples: int = 8, width: int = 8, note: str = "",
           plan: Literal["stretch", "bank", "linspace"] = "bank") -> Policy:  # fmt: skip
    config = SolverConfig(
        stop=StopConfig(num_samples=num_samples, rule=rule),
        voting=VotingConfig(weighing="entropy"),
        pacing=PacingConfig(kind="off"),
        width=width,
    )
    return Policy(name=name, solver=config, plan=plan, note=note)


BASELINE = _fixed("4 equal of 8, bank", "votes(4)", note="docs/peers.md#common-ancestor")

KIT = Policy(name="kit", solver=SolverConfig(), note="what the kit submits: its defaults")

POLICIES: tuple[Policy, ...] = (
    BASELINE,
    _fixed("4 equal of 8, linspace", "votes(4)", plan="linspace", note="docs/peers.md#tonghuikang"),
    _fixed("4 equal of 8, six at once", "votes(4)", width=6, note="the baseline with the kit's width"),
    _fixed("3 equal of 8, bank", "votes(3)"),
    _fixed("3 equal and no other, else 4, bank", "lead(3,rest) | votes(4)"),
    _fixed("3 equal of 8, four at once", "votes(3)", width=4, note="a narrow vote"),
    _fixed("first answer of three, bank", "votes(1)", width=3, note="where time is short, hard to beat"),
    _fixed("6 equal of 12, bank", "votes(6)", num_samples=12, note="tried and dropped: docs/peers.md#common-ancestor"),
    _fixed("lead 2 of 8, bank", "lead(2)", note="after docs/peers.md#stream-arbitration"),
    _fixed("uncatchable of 8, bank", "uncatchable", note="docs/peers.md#second-place-of-aimo3"),
    _fixed("k of recent, bank", "k_of_first(4, 4) | k_of_recent(4, 5) | k_of_first(5, 7) | k_of_first(6, 9)",
           num_samples=15, note="docs/peers.md#second-place-of-aimo2"),
    _fixed("ESC(4) of 16, bank", "esc(4)", num_samples=16, note="arXiv 2401.10480"),
    _fixed("adaptive 0.95 of 16, bank", "adaptive(0.95)", num_samples=16, note="arXiv 2305.11860"),
    _fixed("SPRT 0.05 of 16, bank", "sprt(0.05)", num_samples=16, note="Wald; arXiv 2503.17587"),
    _fixed("certificate 0.05 of 16, bank", "certificate(0.05)", num_samples=16, note="anytime-valid"),
    _fixed("learned 0.003 of 16, stretch", "learned(0.003)", num_samples=16, plan="stretch"),
    KIT,
)  # fmt: skip


def chosen_policies(names: Sequence[str], changes: Mapping[str, Any]) -> tuple[Policy, ...]:
    """The policies of these names behind the baseline, or all of them; and `yours`, the kit's with changes, if any.

    Raises: InputError for a name that is no policy's; SettingError for a change that the solver refuses.
    """
    known = {policy.name: policy for policy in POLICIES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"there is no policy {unknown[0]!r}; known: {', '.join(known)}")
    chosen = (BASELINE, *(known[name] for name in names if name != BASELINE.name)) if names else POLICIES
    if not changes:
        return chosen
    return (*chosen, dataclasses.replace(KIT, name="yours", solver=replaced(KIT.solver, changes)))
