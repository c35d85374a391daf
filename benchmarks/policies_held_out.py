"""The kit's policy with a learned prior that has not seen the run it is judged on, against the baseline.

    python -m benchmarks.policies_held_out RUN.csv RUN.csv … [--share 0.6 0.8 1.0] [--replicates 40]

Each recorded run in turn is left out of the fit of kit.voting.learned, then the kit and the scenario's common baseline
answer scenarios of it. The two numbers of the price curve (kit.solver.pacing) were chosen on all runs and stay.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from benchmarks.fit_vote_model import fit, read_run
from kit.simulation.comparison import rows_of
from kit.simulation.policy import BASELINE, KIT
from kit.simulation.pools import natural_share_s
from kit.simulation.recording import read_recordings
from kit.simulation.replicates import Setting, run_all
from kit.simulation.run import quiet
from kit.solver import pacing
from kit.voting import learned
from kit.voting.learned import VoteModel

LEAST_ATTEMPTS = 4


@contextmanager
def believing(model: VoteModel) -> Iterator[None]:
    """Let the stop rule and the pacer believe in this prior rather than the shipped one."""
    with patch.object(learned, "LEARNED", model), patch.object(pacing.Pacer.__init__, "__defaults__", (model,)):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--share", type=float, nargs="+", default=[0.6, 0.8, 1.0])
    parser.add_argument("--replicates", type=int, default=40)
    args = parser.parse_args()
    quiet()
    print(
        "| run left out of the fit | share | baseline % | kit % | gain (95 %) | time ratio (95 %) | as shipped: gain |"
    )
    print("|---|---:|---:|---:|---|---|---:|")
    for path in args.runs:
        model = fit([problem for other in args.runs if other != path for problem in read_run(other)])
        recordings = tuple(each for each in read_recordings(path) if len(each.attempts) >= LEAST_ATTEMPTS)
        free = Setting(name=path.stem, recordings=recordings, share_s=float("inf"))
        natural_s = natural_share_s(BASELINE, free)
        for share in args.share:
            setting = Setting(name=path.stem, recordings=recordings, share_s=share * natural_s)
            with believing(model):
                _, held_out = rows_of(
                    (BASELINE, KIT),
                    run_all((BASELINE, KIT), [setting], num_replicates=args.replicates)[setting.name],
                )
            base, shipped = rows_of(
                (BASELINE, KIT), run_all((BASELINE, KIT), [setting], num_replicates=args.replicates)[setting.name]
            )
            gain, pace = held_out.gain, held_out.pace
            name = re.sub("aimo3_reference_", "", path.stem)
            print(
                f"| {name} | {share:g} | {100 * base.score.mean:.1f} | {100 * held_out.score.mean:.1f} "
                f"| {100 * gain.mean:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}] "
                f"| {pace.mean:.2f} [{pace.low:.2f}, {pace.high:.2f}] | {100 * shipped.gain.mean:+.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
