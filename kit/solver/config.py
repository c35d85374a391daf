"""How the solver samples, votes, waits and stops: one frozen config, and the seeds that follow from it."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field

from kit.errors import check_fields
from kit.problem import Problem
from kit.prompting import BOXED, VARIANTS, PromptVariant
from kit.sampling import CONFIDENCE_TOP_K, MAX_DEPTH, SamplingParams
from kit.solver.genselect import SelectionConfig
from kit.solver.pacing import PacingConfig
from kit.solver.stopping import StopConfig
from kit.voting.early_abort import EarlyAbortConfig
from kit.voting.weights import VotingConfig, num_logprobs_of

UNTOLD = SamplingParams(max_new_tokens=32_768)
"""How attempts are drawn where neither the user nor the model says it."""

OWN_PROMPT = "auto"
"""The prompt's name that leaves the choice to the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingChoice:
    """How attempts are drawn, in the words of SamplingParams; None leaves a value to the model, or else to UNTOLD.

    Raises: InputError for a value outside its range.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    max_new_tokens: int | None = None
    depth: int | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.params(seed=0)

    def params(self, *, seed: int) -> SamplingParams:
        """The parameters of an attempt with this seed."""
        told = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        return dataclasses.replace(
            UNTOLD, seed=seed, **{name: value for name, value in told.items() if value is not None}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SolverConfig:
    """How a problem is sampled.

    prompt: the name of a variant in kit.prompting.VARIANTS: `boxed` for models that only talk, with the competition's
    rules for answers, `brief` with the fewest of these; `plain` without them, for small models; `python` for those that
    write blocks of it (Qwen2.5-Math), `tools` for those that call tools (Qwen3, gpt-oss). `auto` is the model's own
    (kit.models), and `boxed` where that is not known.
    stop, voting, pacing, selection, early_abort: see their classes. aborts_early: whether DeepConf ends weak attempts.
    width: attempts in flight at once; fewer where time is short (PacingConfig). retry_s: a slot's pause after a broken
    attempt. grace_s: how long past its time an engine may take to hand back what it has. seed: the run's; attempt i of
    a problem has the same seed in every run with the same one. sampling: see SamplingChoice.
    depths, lengths: ladders of recursion depths T, for an engine that recurses, and of max_new_tokens:
    num_samples are split evenly over the rungs of each in order, so that a vote which stays contested buys
    more samples first, then deeper or longer ones; empty leaves `sampling` as it is.
    in_order: count attempts in the order of their numbers, so that equal samples give equal answers whatever
    their timing; a slow attempt then holds up those after it, and `pacing` is not asked. Broken attempts still count
    as they come, so with an engine that breaks often the moment of giving up depends on timing.
    Raises: InputError for a value outside its range.
    """

    stop: StopConfig = field(default_factory=StopConfig)
    voting: VotingConfig = field(default_factory=VotingConfig)
    pacing: PacingConfig = field(default_factory=PacingConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    prompt: str = OWN_PROMPT
    sampling: SamplingChoice = field(default_factory=SamplingChoice)
    depths: tuple[int, ...] = ()
    lengths: tuple[int, ...] = ()
    aborts_early: bool = False
    early_abort: EarlyAbortConfig = field(default_factory=lambda: EarlyAbortConfig(warmup=4))  # the paper draws 512
    width: int = 8
    retry_s: float = 2.0
    grace_s: float = 5.0
    seed: int = 0
    in_order: bool = False

    def __post_init__(self) -> None:
        check_fields(
            self,
            (
                ("prompt", self.prompt in {OWN_PROMPT, *VARIANTS}, f"one of {OWN_PROMPT}, {', '.join(VARIANTS)}"),
                ("width", self.width >= 1, ">= 1"),
                ("retry_s", self.retry_s >= 0, ">= 0"),
                ("grace_s", self.grace_s >= 0, ">= 0"),
                (
                    "in_order",
                    not (self.in_order and self.aborts_early),
                    "off with aborts_early, whose threshold depends on timing",
                ),
                ("depths", all(0 <= depth <= MAX_DEPTH for depth in self.depths), f"in [0, {MAX_DEPTH}]"),
                ("lengths", all(length >= 1 for length in self.lengths), ">= 1"),
            ),
        )

    @property
    def variant(self) -> PromptVariant:
        """The wording that attempts are asked by."""
        return VARIANTS.get(self.prompt, BOXED)

    @property
    def num_logprobs(self) -> int:
        """How many log-probabilities of each token the votes read: DeepConf's early abort reads them, too."""
        return CONFIDENCE_TOP_K if self.aborts_early else num_logprobs_of(self.voting.weighing)

    def params_of(self, problem: Problem, number: int) -> SamplingParams:
        """How attempt `number` is drawn: its seed, and its rungs of the ladders."""
        params = self.sampling.params(seed=attempt_seed(self.seed, problem, number))
        if self.depths:
            params = dataclasses.replace(params, depth=self._rung(self.depths, number))
        if self.lengths:
            params = dataclasses.replace(params, max_new_tokens=self._rung(self.lengths, number))
        return params

    def _rung(self, ladder: tuple[int, ...], number: int) -> int:
        # A replacement for a broken attempt begins the ladder anew rather than crowding its last rung.
        num_samples = self.stop.num_samples
        return ladder[number % num_samples * len(ladder) // num_samples]


def attempt_seed(seed: int, problem: Problem, number: int) -> int:
    """The seed of attempt `number`: differs between attempts and problems, fixed by the run's `seed`."""
    digest = hashlib.sha256(f"{seed}|{problem.key}|{number}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") >> 1
