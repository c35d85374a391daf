"""Executing the submission notebook with a real Jupyter kernel, as Kaggle would, in a stand-in for /kaggle.

Interactive: the notebook's own gateway asks the problems of the mounted `test.csv`. Rerun: the scored
case, the notebook serves for ever and a gateway in another process asks. The kernel's environment is as bare and as
polluted as Kaggle's (`kaggle_environ`). Run as `python -m kit.kaggle.dry_run.execution`, usually without a network
(see `offline`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from kit.kaggle.environment import ROOT_VARIABLE
from kit.kaggle.facts import LIBRARIES, RERUN_VARIABLE, SUBMISSION_NAME, WORKING
from kit.kaggle.offline import has_network
from kit.linux import end_with_parent

EXECUTED_NAME = "executed.ipynb"
_OF_THE_USER = ("XDG_", "HF_", "PIP_", "UV_", "KAGGLE_", "JUPYTER", "IPYTHON", "VIRTUAL_ENV", "CONDA_")


@dataclass(frozen=True, slots=True)
class Job:
    """What to execute. root: the stand-in for /kaggle. rerun_csv: the problems of the scored case, or None."""

    notebook: Path
    root: Path
    rerun_csv: Path | None

    @property
    def working(self) -> Path:
        """The notebook's current folder."""
        return self.root / WORKING

    @property
    def home(self) -> Path:
        """The kernel's home, without anything in it at the start."""
        return self.root.with_name("home")


def kaggle_environ(job: Job, environ: Mapping[str, str]) -> dict[str, str]:
    """The kernel's environment: nothing of the user's own, an empty home, and Kaggle's folders first on PYTHONPATH.

    A PYTHONPATH that is there already stays behind them, for the hook that blocks sockets may be on it.
    Source: docs/kaggle.md#evaluation, docs/kaggle.md#image.
    """
    kept = {name: value for name, value in environ.items() if not name.startswith(_OF_THE_USER)}
    path = (*(str(job.root / folder) for folder in LIBRARIES), environ.get("PYTHONPATH"))
    polluted = {"HOME": str(job.home), "PYTHONPATH": os.pathsep.join(filter(None, path)), ROOT_VARIABLE: str(job.root)}
    return {**kept, **polluted, **({} if job.rerun_csv is None else {RERUN_VARIABLE: "1"})}


async def execute(job: Job) -> None:
    """Run the notebook to its end, or in the rerun until the gateway has asked everything.

    The notebook as executed, outputs included, is kept as `executed.ipynb` whatever happens.
    Raises: CellExecutionError or DeadKernelError if a cell fails; RuntimeError if the gateway fails.
    """
    notebook = nbformat.read(job.notebook, as_version=4)
    client = NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(job.working)}})
    environ = kaggle_environ(job, os.environ)
    shutil.rmtree(job.home, ignore_errors=True)
    job.home.mkdir()
    try:
        if job.rerun_csv is None:
            await client.async_execute(env=environ)
        else:
            await _rerun(client, environ, job.rerun_csv, job.working)
    finally:
        nbformat.write(notebook, job.working / EXECUTED_NAME)


async def _rerun(client: NotebookClient, environ: dict[str, str], csv: Path, working: Path) -> None:
    """Serve and ask until one of both ends; the notebook is expected never to."""
    serving = asyncio.create_task(client.async_execute(env=environ))
    command = [sys.executable, "-P", "-m", "kit.kaggle.evaluation_double.gateway"]
    arguments = ["--csv", str(csv), "--out", str(working / SUBMISSION_NAME)]
    gateway = await asyncio.create_subprocess_exec(*command, *arguments)
    asking = asyncio.create_task(gateway.wait())
    try:
        await asyncio.wait({serving, asking}, return_when=asyncio.FIRST_COMPLETED)
        if not asking.done():
            await serving  # raises what broke the notebook
            raise RuntimeError("the notebook ended before all problems were asked")
        if gateway.returncode:
            raise RuntimeError(f"the gateway failed with exit status {gateway.returncode}")
    finally:
        if gateway.returncode is None:
            gateway.terminate()
        await asking
        if client.km is not None:
            await client.km.shutdown_kernel(now=True)  # as Kaggle ends the session: without a word
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError, CellExecutionError, DeadKernelError):
            await serving


def main() -> int:
    """Parse, execute, and turn a failure into an exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notebook", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True, help="the stand-in for Kaggle's root")
    parser.add_argument("--rerun-csv", type=Path, help="ask these problems from outside, as the scored rerun does")
    args = parser.parse_args()
    print(f"network inside: {'YES' if has_network() else 'none'}", file=sys.stderr)
    end_with_parent(signal.SIGTERM)
    try:
        asyncio.run(_until_terminated(execute(Job(args.notebook, args.root, args.rerun_csv))))
    except (CellExecutionError, DeadKernelError, RuntimeError) as error:
        print(f"the notebook did not end well: {error}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    return 0


async def _until_terminated(work: Coroutine[Any, Any, None]) -> None:
    """Await `work`, cancelling it on SIGTERM so that kernel and gateway are stopped in order."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await task


if __name__ == "__main__":
    sys.exit(main())
