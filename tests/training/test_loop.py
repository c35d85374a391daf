"""The training loop: what it optimises, where it stops, and that it goes on to the bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kit.errors import InputError, TrainingError
from kit.training import checkpoint
from kit.training.loop import LoopRecipe, Loss, Training
from kit.training.objective import IGNORED, TokenSum
from kit.training.optimiser import OptimiserRecipe, trainable
from kit.training.update import Update
from tests.training import small_run


class Linear:
    """y = w x, squared error; no curriculum, no state."""

    num_supervision = 1

    def __init__(self) -> None:
        self.module = nn.Linear(2, 1, bias=False, dtype=torch.float64)
        nn.init.constant_(self.module.weight, 0.5)

    def loss(self, batch: tuple[Tensor, Tensor], carry: None, rng: random.Random) -> Loss:
        inputs_N2, wanted_N = batch
        total = (self.module(inputs_N2)[:, 0] - wanted_N).square().sum()
        return Loss(answer=TokenSum(total, torch.tensor(len(wanted_N))))

    def observe(self, means: object) -> None: ...

    def state_dict(self) -> dict[str, object]:
        return {}

    def load_state_dict(self, state: object) -> None: ...


def examples(num_rows: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs_N2 = torch.randn(num_rows, 2, dtype=torch.float64, generator=generator)
    return inputs_N2, inputs_N2 @ torch.tensor([1.0, -2.0], dtype=torch.float64)


def recipe(num_groups: int, **changes: object) -> LoopRecipe:
    optimiser = OptimiserRecipe(learning_rate=1e-2, warmup_updates=0, decay="constant", weight_decay=0.0)
    return LoopRecipe(**{"num_groups": num_groups, "optimiser": optimiser, "save_every": 2, **changes})  # type: ignore[arg-type]


def run_in_a_process(path: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.training.small_run", str(path), *more]
    repo = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(repo)}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=repo, env=environment)


def test_accumulated_ragged_batches_give_the_update_of_the_whole_batch() -> None:
    whole, parts = Linear(), Linear()
    inputs_N2, wanted_N = examples(7)
    Training(objective=whole, batches=lambda _: [(inputs_N2, wanted_N)], recipe=recipe(5)).run()
    shares = [(inputs_N2[part], wanted_N[part]) for part in (slice(0, 1), slice(1, 3), slice(3, 7))]
    Training(objective=parts, batches=lambda _: shares, recipe=recipe(5)).run()
    torch.testing.assert_close(parts.module.weight, whole.module.weight, rtol=1e-12, atol=1e-12)


def test_an_update_is_that_of_a_plain_loop() -> None:
    ours, plain = Linear(), Linear()
    told: list[Update] = []
    Training(objective=ours, batches=lambda n: [examples(4, seed=n)], recipe=recipe(20), tell=told.append).run()
    optimiser = torch.optim.AdamW(plain.module.parameters(), lr=1e-2, betas=(0.9, 0.95), weight_decay=0.0)
    losses = []
    for number in range(20):
        total, count = plain.loss(examples(4, seed=number), None, random.Random()).answer
        (total / count).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(plain.module.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        losses.append((total / count).item())
    torch.testing.assert_close(ours.module.weight, plain.module.weight, rtol=1e-12, atol=1e-12)
    assert [update.loss for update in told] == pytest.approx(losses, rel=1e-12)
    solution = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    assert (ours.module.weight - solution).norm() < (torch.full((1, 2), 0.5) - solution).norm()


def test_a_loss_that_is_no_number_stops_before_the_weights_change_and_names_the_batch(tmp_path: Path) -> None:
    objective, path = Linear(), tmp_path / "a.pt"
    seen: list[Tensor] = []

    def batches(number: int) -> list[tuple[Tensor, Tensor]]:
        seen.append(objective.module.weight.detach().clone())
        inputs_N2, wanted_N = examples(4, seed=number)
        return [(inputs_N2 * (torch.nan if number == 5 else 1), wanted_N)]

    with pytest.raises(TrainingError, match=r"the loss of group 5 of 10 is nan"):
        Training(objective=objective, batches=batches, recipe=recipe(10), path=path).run()
    assert torch.equal(objective.module.weight, seen[5])
    saved = checkpoint.load(path)
    assert saved["num_groups_done"] == 4
    assert torch.equal(saved["weights"]["weight"], seen[4])


def test_batches_without_any_target_are_refused() -> None:
    run = small_run.training(None)
    empty = small_run.batch_of(0)
    empty.targets_SBK.fill_(IGNORED)
    run.batches = lambda _: [empty]
    with pytest.raises(InputError, match="no token of group 0 of 12 has a target"):
        run.run()


def test_a_run_that_is_asked_to_stop_saves_and_goes_on_later(tmp_path: Path) -> None:
    path, whole = tmp_path / "a.pt", Linear()
    Training(objective=whole, batches=lambda n: [examples(4, seed=n)], recipe=recipe(9)).run()
    first, num_told = Linear(), 0

    def tell(_: Update) -> None:
        nonlocal num_told
        num_told += 1

    stopped = Training(
        objective=first, batches=lambda n: [examples(4, seed=n)], recipe=recipe(9), path=path,
        should_stop=lambda: num_told >= 5, tell=tell,
    )  # fmt: skip
    assert not stopped.run()
    second = Linear()
    resumed = Training(objective=second, batches=lambda n: [examples(4, seed=n)], recipe=recipe(9), path=path)
    assert resumed.num_groups_done == 5
    assert resumed.run()
    assert torch.equal(second.module.weight, whole.module.weight)


def test_a_checkpoint_of_other_data_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    Training(objective=Linear(), batches=lambda n: [examples(4)], recipe=recipe(1, fingerprint="x"), path=path).run()
    with pytest.raises(InputError, match="another run"):
        Training(objective=Linear(), batches=lambda n: [examples(4)], recipe=recipe(1, fingerprint="y"), path=path)


def test_the_schedule_counts_every_supervision_step() -> None:
    told: list[Update] = []
    run = small_run.training(None, tell=told.append)
    run.run()
    assert run.num_updates == 2 * small_run.NUM_GROUPS == len(told)
    assert [update.number for update in told] == list(range(run.num_updates))
    assert [update.step for update in told] == [0, 1] * small_run.NUM_GROUPS
    assert told[-1].learning_rate < told[10].learning_rate


def test_deep_supervision_goes_on_from_the_states_before() -> None:
    """With a weight that does not move, the second update of a group sees the state that the first one ended with."""
    run = small_run.training(None)
    objective, batch = run.objective, small_run.batch_of(0)
    first = objective.loss(batch, None, random.Random(0))
    assert not first.carry.y.requires_grad
    second = objective.loss(batch, first.carry, random.Random(0))
    assert not torch.equal(first.carry.y, second.carry.y)


def test_only_the_recursion_is_trained() -> None:
    run = small_run.training(None)
    assert trainable(run.objective.module).keys() == dict(run.objective.module.named_parameters()).keys()
    assert not any(name.startswith("backbone") for name in trainable(run.objective.module))


@pytest.mark.long
def test_a_run_killed_at_a_random_update_ends_with_the_bits_of_an_unbroken_one(tmp_path: Path) -> None:
    unbroken = small_run.training(tmp_path / "whole.pt")
    assert unbroken.run()
    at = random.SystemRandom().randrange(7, 2 * small_run.NUM_GROUPS)
    killed = run_in_a_process(tmp_path / "killed.pt", "--kill-at", str(at))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert 0 < checkpoint.load(tmp_path / "killed.pt")["num_groups_done"] < small_run.NUM_GROUPS
    resumed = small_run.training(tmp_path / "killed.pt")
    assert resumed.run()
    assert small_run.digest(resumed) == small_run.digest(unbroken), f"killed at update {at}"
