"""Selection by the model itself. In: the candidates of a contested vote. Out: the one it picks, or why not to trust it.

GenSelect: the model reads 2 to 16 solutions and names the best, several times, and the majority of its picks is
the answer. Each round shows the candidates in another order, together with a planted control: a text that solves
nothing, with a random answer. What the picks say is used only if the selector passes a liveness test
(`kit.solver.liveness`); a selector that is dead is reported and its picks are ignored.

A comparison that its model did not end itself picks nothing. `select` wants an engine that answers as it is asked:
one that asks a broken-off attempt for its answer (`kit.tools.reasoner`) would ask for the problem's instead of a pick.

Does not draw the solutions, and does not decide when a vote is contested. Source: GenSelect, arXiv 2504.16891.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random

import trio

from kit.answers.extraction import extract
from kit.errors import EngineError, InputError, check_fields
from kit.problem import ANSWER_MAX, Problem
from kit.sampling import Engine, FinishReason, Message, Prompt, SamplingParams, call_engine, checked_sample
from kit.solver.liveness import MIN_ROUNDS, Liveness, Pick, liveness_of, rotated_orders
from kit.tasks import nursery

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionConfig:
    """How candidates are compared.

    num_rounds: how often the model is asked; 0, the default, turns selection off: its gain is unmeasured.
    max_candidates: those with the most votes.
    max_new_tokens: of a comparison. summary_chars: of each candidate's summary. temperature: of a comparison.
    Raises: InputError for a value outside its range.
    """

    num_rounds: int = 0
    max_candidates: int = 4
    max_new_tokens: int = 2048
    summary_chars: int = 4000
    temperature: float = 0.7

    def __post_init__(self) -> None:
        rounds = self.num_rounds
        checks = (
            ("num_rounds", rounds == 0 or MIN_ROUNDS <= rounds <= 64, f"0 (off) or in [{MIN_ROUNDS}, 64]"),
            ("max_candidates", 2 <= self.max_candidates <= 16, "in [2, 16]"),
            ("max_new_tokens", self.max_new_tokens >= 1, ">= 1"),
            ("summary_chars", self.summary_chars >= 100, ">= 100"),
            ("temperature", math.isfinite(self.temperature) and self.temperature >= 0, ">= 0"),
        )
        check_fields(self, checks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An answer with votes, and a solution that leads to it (`summary_of`)."""

    answer: int
    num_votes: int
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What the selector says.

    answer: the majority of the picks; None unless live. picks: (answer, picks) of each candidate, most picked
    first, dead or not. num_control_picks: those of the planted text. num_tokens: new tokens of all rounds.
    """

    answer: int | None
    liveness: Liveness
    num_rounds: int = 0
    num_parsed: int = 0
    picks: tuple[tuple[int, int], ...] = ()
    num_control_picks: int = 0
    num_tokens: int = 0


async def select(
    engine: Engine,
    problem: Problem,
    candidates: Sequence[Candidate],
    *,
    config: SelectionConfig,
    seed: int,
    timeout_s: float,
    width: int = 8,
) -> Selection:
    """Ask the model which candidate solves the problem, in `config.num_rounds` calls, at most `width` at once.

    Returns within `timeout_s` seconds, with the rounds that have ended by then. A round that breaks is logged and
    lost. The same arguments ask the same questions. Ties go to more votes, then to the larger answer.
    engine: a bare one, which the module's text explains.
    Raises: InputError for two candidates with one answer, or width < 1.
    """
    if width < 1:
        raise InputError(f"width must be at least 1, got {width}")
    if len({each.answer for each in candidates}) < len(candidates):
        raise InputError(f"{problem.id}: two candidates have one answer; give one for each")
    ranked = sorted(candidates, key=lambda each: (each.num_votes, each.answer), reverse=True)[: config.max_candidates]
    if not config.num_rounds or len(ranked) < 2 or timeout_s <= 0:
        return Selection(answer=None, liveness=Liveness.UNTESTED)
    comparison = _Comparison(engine, problem, ranked, config, seed)
    rounds = iter(comparison.rounds())
    deadline = trio.current_time() + timeout_s

    async def ask_on() -> None:
        for order, params in rounds:  # shared: whoever is free takes the next
            await comparison.ask(order, params, deadline - trio.current_time())

    with trio.move_on_after(timeout_s):
        async with nursery() as asking:
            for _ in range(min(width, config.num_rounds)):
                asking.start_soon(ask_on)
    return comparison.result()


# ------------------------------------------------------------------------------------------- rounds

_CONTROL = (
    "The kitchen has four chairs and a green door. It rained on Tuesday, so the bus was late and the soup went cold. "
    "Blue is a colour. Nothing else needs to be shown. The answer is \\boxed{{{answer}}}."
)
_ANSWERS = range(ANSWER_MAX + 1)


class _Comparison:
    """The rounds on one problem, and what they picked."""

    def __init__(
        self, engine: Engine, problem: Problem, candidates: list[Candidate], config: SelectionConfig, seed: int
    ) -> None:
        self._engine = engine
        self._problem = problem
        self._config = config
        self._random = Random(f"{seed}|{problem.key}")
        self._picks: list[Pick] = []
        self._num_tokens = 0
        answers = [each.answer for each in candidates]
        control = next(each for each in self._random.sample(_ANSWERS, len(answers) + 1) if each not in answers)
        self._answers = [*answers, control]  # by option
        self._texts = [summary_of(each.summary, max_chars=config.summary_chars) for each in candidates]
        self._texts.append(_CONTROL.format(answer=control))

    def rounds(self) -> list[tuple[tuple[int, ...], SamplingParams]]:
        """The options in the order shown, and how the comparison is drawn, of each round."""
        orders = islice(rotated_orders(len(self._answers) - 1, self._random), self._config.num_rounds)
        return [(order, self._params()) for order in orders]

    def _params(self) -> SamplingParams:
        return SamplingParams(
            seed=self._random.getrandbits(63),
            temperature=self._config.temperature,
            max_new_tokens=self._config.max_new_tokens,
        )

    async def ask(self, order: tuple[int, ...], params: SamplingParams, timeout_s: float) -> None:
        """One round. What goes wrong in it is logged and leaves no pick."""
        prompt = comparison_prompt(self._problem, [self._texts[option] for option in order])
        try:
            sample = checked_sample(await call_engine(self._engine, prompt, params, timeout_s=timeout_s))
        except EngineError as error:
            log.warning("%s: a comparison failed: %s", self._problem.id, error)
            return
        self._num_tokens += sample.num_tokens
        if sample.finish is not FinishReason.STOP:
            return  # a number in what is only a step of the comparison is no pick
        place = picked(sample.text, [self._answers[each] for each in order])
        if place is not None:
            self._picks.append(Pick(order[place], place))

    def result(self) -> Selection:
        num_candidates, num_rounds = len(self._answers) - 1, self._config.num_rounds
        liveness = liveness_of(self._picks, num_candidates=num_candidates, num_rounds=num_rounds)
        by_option = Counter(pick.option for pick in self._picks)
        ranked = sorted(range(num_candidates), key=lambda option: -by_option[option])  # stable: more votes first
        selection = Selection(
            answer=self._answers[ranked[0]] if liveness is Liveness.LIVE else None,
            liveness=liveness,
            num_rounds=num_rounds,
            num_parsed=len(self._picks),
            picks=tuple((self._answers[option], by_option[option]) for option in ranked),
            num_control_picks=by_option[num_candidates],
            num_tokens=self._num_tokens,
        )
        if liveness is not Liveness.LIVE:
            log.warning("%s: the selector's picks are ignored: %s", self._problem.id, selection)
        return selection


# ------------------------------------------------------------------------------------ prompt and pick

_TASK = """You are given a problem and {num} proposed solutions. At most one of their answers is right.

Problem:
{problem}

{solutions}

Compare the solutions: check the steps where their answers part, and judge by the mathematics alone, not by length or \
order. End with the label of the best one in a box: \\boxed{{Solution i}}, with i from 1 to {num}."""


def comparison_prompt(problem: Problem, summaries: Sequence[str]) -> Prompt:
    """The question of one round, the solutions numbered from 1 in the order given."""
    solutions = "\n\n".join(f"### Solution {number}\n{text}" for number, text in enumerate(summaries, start=1))
    content = _TASK.format(num=len(summaries), problem=problem.text, solutions=solutions)
    return Prompt(messages=(Message(role="user", content=content),))


_SAYS_LABEL = re.compile(r"solution|candidate|option|index|idx|\bs\W*\d", re.IGNORECASE | re.ASCII)
_STATED = re.compile(
    r"(?:judge?ment|(?:best|correct)[ ](?:one|solution|candidate))\b(?:\W|is\b|idx\b|solution\b){0,12}(\d+)",
    re.IGNORECASE | re.ASCII,
)
_CONCLUSION_CHARS = 500
_MAX_DIGITS = len(str(ANSWER_MAX))


def picked(text: str, answers: Sequence[int]) -> int | None:
    """The place, from 0, of the solution that a comparison picks; None if it cannot be told. Total on any text.

    answers: those of the solutions in the order shown. First the box of the final channel: a label (`Solution 2`),
    or a lone number, which may be meant as a label or as an answer and counts unless the two are different
    solutions. If that says nothing, the last "Judgment: 2" or "the best solution is 2" of the text's end.
    """
    raw = extract(text)
    place = None if raw is None else _place(raw.text, answers)
    if place is None and (stated := _STATED.findall(text[-_CONCLUSION_CHARS:])):
        place = _place(f"solution {stated[-1]}", answers)
    return place


def _place(said: str, answers: Sequence[int]) -> int | None:
    numbers = set(re.findall(r"\d+", said, re.ASCII))
    if len(numbers) != 1 or len(number := numbers.pop()) > _MAX_DIGITS:
        return None
    places = {int(number) - 1} & set(range(len(answers)))
    if not _SAYS_LABEL.search(said):
        places |= {place for place, answer in enumerate(answers) if answer == int(number)}
    return places.pop() if len(places) == 1 else None


# ---------------------------------------------------------------------------------------- summaries

_MARKUP = re.compile(r"</?think>|</?s>|<(?:start|end)_of_turn>|<\|[^<>|\n]{1,40}\|>|<｜[^<>｜\n]{1,40}｜>")


def summary_of(text: str, *, max_chars: int) -> str:
    """The end of a completion that leads to its answer, at most `max_chars` characters, begun at a line where it can.

    A text without an answer gives its end. Marks of thoughts, channels and turns are taken out, so that no engine
    reads them as its own.
    Raises: InputError if max_chars < 1.
    """
    if max_chars < 1:
        raise InputError(f"max_chars must be at least 1, got {max_chars}")
    raw = extract(text)
    plain = _MARKUP.sub("\n", text).strip()
    end = len(plain) if raw is None else _end_of_answer(plain, raw.text, max_chars // 10)
    start = max(0, end - max_chars)
    line = plain.find("\n", start, start + max_chars // 4) if start else -1
    return plain[max(start, line + 1) : end].strip()


def _end_of_answer(text: str, answer: str, rest_chars: int) -> int:
    """Where the line ends in which an answer stands last, but no more than `rest_chars` after the answer."""
    boxed = text.rfind(f"{{{answer}}}")
    begin = boxed + 1 if boxed >= 0 else text.rfind(answer)
    if begin < 0:
        return len(text)
    limit = min(begin + len(answer) + rest_chars, len(text))
    newline = text.find("\n", begin + len(answer), limit)
    return limit if newline < 0 else newline
