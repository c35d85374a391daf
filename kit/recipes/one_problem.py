"""One problem, asked by hand: the engine, solver and budget of the submission, without its notebook.

In: a problem's text, a model's folder and settings as the submission has them. Out: its solution, and on the way each
attempt as it ends. Nothing is kept on disk.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

from kit.assets import TINY_MODEL
from kit.budget import Budget
from kit.config import merged, replaced
from kit.engines.text.model_folder import check_model_folder, read_facts
from kit.errors import EngineError, InputError
from kit.models.own_values import guesses
from kit.problem import Problem
from kit.recipes.attempts import AttemptsConfig
from kit.recipes.choices import SQUEEZED, check_no_recursion, chosen_trm, engine_changes, is_shipped
from kit.recipes.of_model import filled
from kit.recipes.opening import as_kind, open_model, open_sandboxes, resolved_kind
from kit.recipes.settings import Settings
from kit.sampling import Engine
from kit.solver.journal import Record
from kit.solver.solution import Solution
from kit.solver.solver import Solver
from kit.tasks import run_plainly
from kit.tools.reasoner import ToolReasoner

ALONE: Mapping[str, Any] = {"budget": {"limit_s": 300.0, "reserve_s": 0.0, "num_problems": 1}, "seed": 0}
"""How one problem differs from a submission: five minutes for it alone, the model's loading included, and a seed, so
that asking again gives the same attempts."""

_HINT = "see the log above, or give it more time: --set budget.limit_s=1800"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to ask, and of what.

    text: in LaTeX, as the competition writes it. model, trm, adapter, engine: as a dry run takes them. num_samples:
    attempts at most; None: as the settings say. changes: settings on top of ALONE, nested as in `Settings`.
    Raises: InputError for an empty text.
    """

    text: str
    model: Path = TINY_MODEL
    trm: Path | None = None
    adapter: Path | None = None
    engine: str = "transformers"
    num_samples: int | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise InputError("the problem is empty; give its text, such as 'What is $6 \\times 7$?'")

    @property
    def is_of_shipped_model(self) -> bool:
        """Whether the toy model is asked that ships with the kit."""
        return is_shipped(self.model)

    @property
    def settings(self) -> Settings:
        """What is chosen, the changes on top; what is left open is the model's own.

        Raises: SettingError for a change that is refused; MissingError for a vLLM that is not there.
        """
        squeezed = SQUEEZED if self.is_of_shipped_model else {}
        sampled = {} if self.num_samples is None else {"solver": {"stop": {"num_samples": self.num_samples}}}
        chosen = engine_changes(self.engine, self.changes, has_wheels=False)
        return replaced(Settings(), merged(squeezed, ALONE, chosen, sampled))


def solve(
    text: str,
    *,
    model: Path | str = TINY_MODEL,
    trm: Path | str | None = None,
    adapter: Path | str | None = None,
    engine: str = "transformers",
    num_samples: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Solution:
    """Answer one problem, from its text, and wait for it: what `kit solve` does, for a script.

    model: a folder in Hugging Face's layout; the shipped toy model if none is named. settings: as `kit settings` lists
    them, nested, such as `{"solver": {"width": 4}}`. The rest: as in `Question`.
    Raises: MissingError or InputError for what is wrong with the input; EngineError if no attempt came to an end.
    """
    question = Question(
        text=text,
        model=Path(model),
        trm=None if trm is None else Path(trm),
        adapter=None if adapter is None else Path(adapter),
        engine=engine,
        num_samples=num_samples,
        changes=settings or {},
    )
    return ask(question)


def ask(
    question: Question,
    *,
    on_record: Callable[[Record], object] = lambda record: None,
    tell: Callable[[str], object] = lambda text: None,
) -> Solution:
    """Open the engine, answer, and close it. on_record: as the Solver's. tell: is told what takes a while.

    Raises: as `solve`.
    """
    begun_s = time.monotonic()
    chosen = question.settings
    check_model_folder(question.model)
    settings = _of_its_model(chosen, question.model, tell)
    budget = Budget(settings.budget, lambda: time.monotonic() - begun_s)
    attempts = settings.attempts(seed=settings.seed or 0)
    kind = resolved_kind(attempts.engine, None)
    check_no_recursion(kind, question.adapter)
    attempts = dataclasses.replace(attempts, engine=as_kind(attempts.engine, kind))
    with tempfile.TemporaryDirectory(prefix="kit-solve-") as folder:
        scratch = Path(folder)
        trm = chosen_trm(question.trm, kind=kind, model=question.model, out=scratch, tell=tell)

        async def answer() -> Solution:
            async with _open_attempts(question, trm, attempts, scratch) as engine:
                solver = Solver(engine, budget, None, attempts.solver, on_record=on_record)
                return await solver.solve(Problem("asked", question.text))

        solution = run_plainly(answer)
    if not solution.num_samples:
        raise EngineError(f"no attempt came to an end ({solution.reason.value}), so there is no answer; {_HINT}")
    return solution


def _of_its_model(chosen: Settings, model: Path, tell: Callable[[str], object]) -> Settings:
    if not chosen.engine.is_of_folder:
        return chosen
    facts = read_facts(model)
    if guessed := guesses(facts):
        tell(guessed)
    return filled(chosen, facts)


@asynccontextmanager
async def _open_attempts(
    question: Question, trm: Path | None, attempts: AttemptsConfig, scratch: Path
) -> AsyncIterator[Engine]:
    """The model, and Python for it where its prompt asks for that."""
    load = partial(
        open_model,
        question.model.resolve(),
        trm,
        attempts,
        adapter=question.adapter,
        python=None,
        scratch=scratch,
    )
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(await trio.to_thread.run_sync(load, abandon_on_cancel=True))
        runs_code = attempts.tool_format.runs_code
        pool = await stack.enter_async_context(open_sandboxes(attempts.tools)) if runs_code else None
        yield ToolReasoner(
            engine=engine, tool_format=attempts.tool_format, interpreters=pool, config=attempts.reasoning
        )
