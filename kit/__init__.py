"""MathLLM kit: from a laptop to a Kaggle submission that runs offline, on time, and loses no answer.

The names in `__all__` are the public API. Each is imported when it is first asked for, so that `import kit` costs
nothing and needs no torch.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # type checkers know the name; typing itself is most of the time that `import kit` would take
if TYPE_CHECKING:
    from typing import Any

    from kit.budget import Budget, BudgetConfig
    from kit.engines.opening import open_engine
    from kit.problem import Problem
    from kit.recipes.one_problem import solve
    from kit.sampling import SamplingParams
    from kit.solver.config import SolverConfig
    from kit.solver.solution import Solution
    from kit.solver.solver import Solver

__version__ = "0.1.0"
__all__ = [
    "Budget",
    "BudgetConfig",
    "Problem",
    "SamplingParams",
    "Solution",
    "Solver",
    "SolverConfig",
    "open_engine",
    "solve",
]

_MODULES = {
    "Budget": "kit.budget",
    "BudgetConfig": "kit.budget",
    "Problem": "kit.problem",
    "SamplingParams": "kit.sampling",
    "Solution": "kit.solver.solution",
    "Solver": "kit.solver.solver",
    "SolverConfig": "kit.solver.config",
    "open_engine": "kit.engines.opening",
    "solve": "kit.recipes.one_problem",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'kit' has no attribute {name!r}; public are {', '.join(__all__)}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
