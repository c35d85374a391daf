"""What an evaluation draws: of which problems, how often, at which depths, with which seeds.

In: a data set and settings. Out: the cells of the run in their order, each one sample. Nothing is drawn here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kit.data.examples import DataSet, MathExample
from kit.errors import InputError, check_fields
from kit.evaluation.prompts import PromptStyle, prompt_of, stops_of
from kit.sampling import MAX_DEPTH, Prompt, SamplingParams
from kit.solver.config import attempt_seed

CellKey = tuple[str, int | None, int]
"""What tells one sample of a run from all others: the problem's key, the depth, the number."""


class Cell(NamedTuple):
    """One sample to draw. depth: None is the engine's own. number: from 0, within its problem and depth."""

    example: MathExample
    depth: int | None
    number: int

    @property
    def key(self) -> CellKey:
        """Its name within the run."""
        return self.example.problem.key, self.depth, self.number


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `index`, from 0, of `count` parts: the problems whose place in the data set is `index` modulo `count`.

    Raises: InputError for a part that is none.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise InputError(f"--shard {self}: expected I/N with 0 <= I < N, such as 0/4 to 3/4")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`1/4` as a shard.

        Raises: InputError for anything else.
        """
        index, _, count = text.partition("/")
        if not (index.isascii() and index.isdigit() and count.isascii() and count.isdigit()):
            raise InputError(f"--shard {text}: expected I/N, such as 0/4 to 3/4")
        return cls(int(index), int(count))


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalPlan:
    """All that decides which texts are drawn, but for the model.

    style, shots: of kit.evaluation.prompts. sampling: its seed, depth and stop texts are replaced by the cell's.
    depths: deep recursions T to sweep; None is the engine's own. num_samples: of each problem at each depth.
    batch_size: calls in flight; it changes no text. keeps_token_stats: whether the journal keeps the statistics of each
    token, which weighings of votes are measured by. shard: the part to draw; None: all.
    Raises: InputError for a value outside its range, or for a data set that holds a problem twice.
    """

    data: DataSet
    style: PromptStyle = PromptStyle.BOXED
    shots: tuple[MathExample, ...] = ()
    sampling: SamplingParams = field(default_factory=lambda: SamplingParams(temperature=0, max_new_tokens=1024))
    depths: tuple[int | None, ...] = (None,)
    num_samples: int = 1
    batch_size: int = 16
    seed: int = 0
    keeps_token_stats: bool = False
    shard: Shard | None = None

    def __post_init__(self) -> None:
        told = [depth for depth in self.depths if depth is not None]
        checks = (
            ("num_samples", self.num_samples >= 1, ">= 1"),
            ("batch_size", self.batch_size >= 1, ">= 1"),
            ("seed", self.seed >= 0, ">= 0"),
            ("depths", all(0 <= depth <= MAX_DEPTH for depth in told), f"in [0, {MAX_DEPTH}]"),
            ("depths", 0 < len(self.depths) == len(set(self.depths)), "different from each other, and at least one"),
        )
        check_fields(self, checks)
        if self.num_samples > 1 and self.sampling.temperature == 0:
            raise InputError(
                f"{self.num_samples} samples at temperature 0 are {self.num_samples} times the same text; "
                "give a temperature above 0, or one sample"
            )
        _check_distinct(self.data)

    @property
    def examples(self) -> tuple[MathExample, ...]:
        """Those of the shard, in the data set's order."""
        if self.shard is None:
            return self.data.examples
        return self.data.examples[self.shard.index :: self.shard.count]

    @property
    def num_cells(self) -> int:
        """How many samples the run has when it is whole."""
        return len(self.examples) * len(self.depths) * self.num_samples

    def cells(self) -> Iterator[Cell]:
        """Every sample, by problem, then by depth, then by number."""
        for example in self.examples:
            for depth in self.depths:
                for number in range(self.num_samples):
                    yield Cell(example, depth, number)

    def prompt_of(self, cell: Cell) -> Prompt:
        """What the model is asked."""
        return prompt_of(cell.example, self.style, self.shots)

    def params_of(self, cell: Cell) -> SamplingParams:
        """How it is drawn. The seed depends on problem and number alone, so that depths are compared in pairs."""
        seed = attempt_seed(self.seed, cell.example.problem, cell.number)
        return dataclasses.replace(self.sampling, seed=seed, depth=cell.depth, stop=stops_of(self.style))

    @property
    def facts(self) -> Mapping[str, Any]:
        """The plan's share of a run's head: all of it but the batch, which changes no text."""
        sampling = dataclasses.asdict(self.sampling)
        drawn = {name: value for name, value in sampling.items() if name not in ("seed", "depth", "stop")}
        data = self.data
        return {
            "data": {
                "name": data.label,
                "split": data.split,
                "sha256": data.sha256,
                "num_examples": len(data.examples),
            },
            "prompt": {"style": str(self.style)},
            "num_shots": len(self.shots),
            "sampling": drawn,
            "depths": list(self.depths),
            "num_samples": self.num_samples,
            "seed": self.seed,
            "shard": None if self.shard is None else str(self.shard),
        }


def greedy_or_varied(num_samples: int) -> float:
    """The temperature unless one is given: 0, or that of the solver's own attempts for several samples a problem."""
    return SamplingParams().temperature if num_samples > 1 else 0.0


def _check_distinct(data: DataSet) -> None:
    seen: set[str] = set()
    for example in data.examples:
        if example.problem.key in seen:
            raise InputError(f"{data.source}: problem {example.problem.id!r} stands there twice; remove one of the two")
        seen.add(example.problem.key)
