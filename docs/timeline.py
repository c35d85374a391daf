"""Draw docs/timeline.png, the timeline in the README: a simulated competition of made-up problems under the kit's
policy.

python docs/timeline.py
"""

from __future__ import annotations

from pathlib import Path
from random import Random

from kit.plots.timeline import read_timeline
from kit.plots.timeline_picture import draw_timeline
from kit.simulation.policy import KIT
from kit.simulation.recording import made_up
from kit.simulation.run import Competition, run

NUM_PROBLEMS = 10


def main() -> None:
    """Simulate, and draw with the golds known."""
    rng = Random(12)
    recordings = tuple(made_up(f"{place}", rng, num_attempts=8) for place in range(NUM_PROBLEMS))
    budget = KIT.budget(num_problems=NUM_PROBLEMS, share_s=240)
    outcome = run(Competition(recordings=recordings, budget=budget, solver=KIT.solver, seed=12, keeps_journal=True))
    head = {"kind": "run", "settings": {"budget": {"limit_s": budget.limit_s, "reserve_s": budget.reserve_s}}}
    golds = {f"{place}": recording.gold for place, recording in enumerate(recordings) if recording.gold is not None}
    draw_timeline(read_timeline([head, *outcome.records[1:]], gold=golds), Path("docs/timeline.png"))


if __name__ == "__main__":
    main()
