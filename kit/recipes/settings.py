"""Everything that a competitor may set, and one line of help for what matters first.

`--set`, a recipe file and the notebook's own cell all change these settings, by the same names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from kit.budget import BudgetConfig
from kit.recipes.attempts import AttemptsConfig, EngineConfig, PrefetchConfig, ToolsConfig
from kit.solver.config import SolverConfig
from kit.tools.reasoner import ReasoningConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a competitor may set in the notebook; the defaults are the recipe to submit.

    seed: of the run; None draws one, so that the competition's two runs differ, and keeps it in the journal.
    """

    budget: BudgetConfig = field(default_factory=BudgetConfig)
    solver: SolverConfig = field(default_factory=SolverConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    reasoning: ReasoningConfig = field(default_factory=ReasoningConfig)
    sandbox: ToolsConfig = field(default_factory=ToolsConfig)
    prefetch: PrefetchConfig = field(default_factory=PrefetchConfig)
    seed: int | None = None

    def attempts(self, *, seed: int) -> AttemptsConfig:
        """How attempts are made in a run of this seed."""
        return AttemptsConfig(
            solver=dataclasses.replace(self.solver, seed=seed),
            engine=self.engine,
            reasoning=self.reasoning,
            tools=self.sandbox,
            prefetch=self.prefetch,
        )


FIRST: Mapping[str, Mapping[str, str]] = {
    "Time": {
        "budget.limit_s": "seconds of the whole run, from the start of its process",
        "budget.reserve_s": "seconds of those that are kept back at the end",
        "budget.num_problems": "how many problems will come; null where nobody knows",
        "budget.stretch": "even shares of the time left that one hard problem may take",
    },
    "Votes": {
        "solver.stop.num_samples": "attempts at one problem, at most",
        "solver.stop.rule": "when votes are enough: votes(4), lead(3), learned(0.003), or several with |",
        "solver.voting.weighing": "by what a vote weighs: count; entropy gains 1 point [-2, 4], deepconf_mean 0",
        "solver.pacing.price": "gain that an attempt must promise where time is short; nothing where it is ample",
    },
    "Attempts": {
        "solver.width": "attempts in flight at once; where time is short they are fewer, each faster",
        "solver.prompt": "auto (the model's), boxed, brief, plain, short (words), python (blocks), tools (calls)",
        "solver.sampling.temperature": "0 is greedy; more varies more; null is the model's own",
        "solver.sampling.top_p": "draws from the likeliest tokens of this mass; 1 is off; null: the model's",
        "solver.sampling.max_new_tokens": "length of one attempt, at most; null: the model's",
        "solver.depths": "ladder of recursion depths T for a TRM, such as [3, 5, 10]",
        "seed": "of the run; null draws one",
    },
    "Model": {
        "engine.kind": "auto, transformers, trm, vllm, vllm-trm or openai (engine.openai.url)",
        "engine.device": "cpu, cuda or auto (transformers and trm)",
        "engine.dtype": "float32, bfloat16, float16, or auto: the checkpoint's, on a CPU what it is quick in",
        "engine.max_batch": "attempts that decode at once (transformers and trm)",
        "engine.vllm.preset": "settings of the server to begin with; auto takes those for the model",
        "engine.vllm.settings": 'changes to the preset, such as ["max_num_seqs=32"]',
        "engine.vllm.python": "an interpreter that has vLLM; empty: the one of the dataset's wheels",
    },
    "Python for the model": {
        "reasoning.max_calls": "pieces of code that one attempt may run",
        "reasoning.call_timeout_s": "seconds that one of them may take",
        "sandbox.memory_bytes": "memory that one sandbox may take",
    },
}
"""What to look at first, in groups: the name of each setting and what it does."""
