"""How deep each update of a training run recurses: fixed, drawn anew each time, or a curriculum.

In: a random generator, and after each update what was measured in it. Out: a depth T. A schedule's state is plain
numbers, which a checkpoint keeps.

A net trained at one T alone breaks at every other; a wide T from the start costs a plateau of a thousand updates,
where the curriculum forms a hop in some hundreds. Source: docs/recursion.md, arXiv 2511.07384 (curriculum on the
mean recurrence).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from kit.errors import check_fields
from kit.sampling import MAX_DEPTH


class DepthSchedule(Protocol):
    """Where T comes from."""

    def draw(self, rng: random.Random) -> int:
        """The depth of the next update; processes that train together pass equal generators."""
        ...

    def observe(self, means: Mapping[str, float]) -> None:
        """Told after each update what was measured in it, by name."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class UniformDepth:
    """T uniform on least…most; the same number twice is a fixed depth."""

    least: int
    most: int

    def __post_init__(self) -> None:
        check_fields(
            self,
            (
                ("least", self.least >= 1, ">= 1"),
                ("most", self.least <= self.most <= MAX_DEPTH, f"in [least, {MAX_DEPTH}]"),
            ),
        )

    def draw(self, rng: random.Random) -> int:
        """See DepthSchedule."""
        return rng.randint(self.least, self.most)

    def observe(self, means: Mapping[str, float]) -> None:
        """Nothing changes it."""

    def state_dict(self) -> dict[str, Any]:
        """It has no state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """It has no state."""


@dataclass(slots=True, kw_only=True)
class Curriculum:
    """Stage t trains at T = t + U{0…spread}, and ends once all of its running measures reach `threshold`.

    first, last: the stages. measures: names of what is measured, with `{t}` for the stage; those that an update did
    not measure are left out. smoothing: of the running means, which begin at 0 in each stage. least_updates: of a
    stage. afterwards: the depths once the last stage has ended.
    """

    first: int
    last: int
    measures: tuple[str, ...]
    afterwards: UniformDepth
    spread: int = 1
    threshold: float = 0.8
    smoothing: float = 0.9
    least_updates: int = 25
    stage: int = field(init=False)
    _updates: int = field(init=False, default=0)
    _running: dict[str, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        checks = (
            ("first", self.first >= 1, ">= 1"),
            (
                "last",
                self.first <= self.last and self.last + self.spread <= MAX_DEPTH,
                "in [first, MAX_DEPTH - spread]",
            ),
            ("spread", self.spread >= 0, ">= 0"),
            ("threshold", 0 < self.threshold < 1, "in (0, 1)"),
            ("smoothing", 0 <= self.smoothing < 1, "in [0, 1)"),
        )
        check_fields(self, checks)
        self.stage = self.first

    @property
    def is_over(self) -> bool:
        """Whether the last stage has ended."""
        return self.stage > self.last

    def draw(self, rng: random.Random) -> int:
        """See DepthSchedule."""
        return self.afterwards.draw(rng) if self.is_over else self.stage + rng.randint(0, self.spread)

    def observe(self, means: Mapping[str, float]) -> None:
        """Move on to the next stage where this one has reached its end."""
        if self.is_over:
            return
        self._updates += 1
        for name in (measure.format(t=self.stage) for measure in self.measures):
            if name in means:
                before = self._running.get(name, 0.0)
                self._running[name] = self.smoothing * before + (1 - self.smoothing) * means[name]
        has_all = bool(self._running) and min(self._running.values()) >= self.threshold
        if has_all and self._updates >= self.least_updates:
            self.stage, self._updates, self._running = self.stage + 1, 0, {}

    def state_dict(self) -> dict[str, Any]:
        """See DepthSchedule."""
        return {"stage": self.stage, "updates": self._updates, "running": dict(self._running)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See DepthSchedule."""
        self.stage, self._updates, self._running = state["stage"], state["updates"], dict(state["running"])
