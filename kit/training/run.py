"""One run of `kit train`: data and backbone in, trained weights in the field's formats out.

    DIR/settings.json  checkpoint.pt  log.jsonl  tensorboard/  curves.png  trm/ | model/ | adapter/

Rows and hidden states are cached by content hash, apart from the run's folder, so that runs share them. A group of
batches takes the next rows of an endless stream of shuffled epochs, so its rows depend on the seed and its number.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kit.config import machine_facts
from kit.data.examples import DataSet
from kit.data.sets import load
from kit.engines.transformers.loading import load_model, load_tokenizer
from kit.errors import InputError, TrainingError
from kit.lock import held
from kit.training.checkpoint import CHECKPOINT
from kit.training.depth_schedule import UniformDepth
from kit.training.ema import averaged_weights
from kit.training.hidden_states import HiddenStates, StatesKey, hidden_states
from kit.training.language import LanguageBatch, LanguageObjective
from kit.training.launch import AcceleratedWorkers
from kit.training.loop import LoopRecipe, Objective, Training, Update
from kit.training.methods import RESULTS, Prepared, prepare
from kit.training.optimiser import OptimiserRecipe, trainable
from kit.training.records import RunRecord, draw_curves
from kit.training.recursive import RecursiveBatch, RecursiveObjective, RecursiveWeights
from kit.training.rows import Rows, rows_of
from kit.training.settings import TrainSettings
from kit.trm.checkpoint import weights_sha256

CACHE = Path("out/cache/training")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """result: the folder to load; is_whole: whether all groups are done; num_parameters: trained ones."""

    result: Path | None
    is_whole: bool
    num_parameters: int
    num_rows: int
    curves: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchers:
    """Who is told. states: rows whose hidden states are done, of how many; update: each one; should_stop: asked."""

    states: Callable[[int, int], None] = lambda done, of: None
    update: Callable[[Update], None] = lambda update: None
    should_stop: Callable[[], bool] = lambda: False


def train(
    settings: TrainSettings, *, resume_from: Path | None = None, cache: Path = CACHE, watchers: Watchers | None = None
) -> Trained:
    """Train to the end, or until asked to stop, which saves.

    resume_from: go on from the checkpoint in that folder; without it an output folder that has one is refused.
    Raises: InputError, MissingError, StorageError, TrainingError.
    """
    watchers = watchers or Watchers()
    path = settings.output_dir / CHECKPOINT
    if path.exists() and resume_from != settings.output_dir:
        folder = settings.output_dir
        raise InputError(f"{folder} holds a run; go on with --resume {folder}, or name another output_dir")
    workers = AcceleratedWorkers(cpu=_on_cpu(settings), mixed_precision="bf16" if settings.bf16 else "no")
    if settings.batch_size % workers.number:
        raise InputError(f"batch_size must be a multiple of the {workers.number} processes, got {settings.batch_size}")
    writes = workers.rank == 0
    with held(settings.output_dir) if writes else nullcontext():
        if writes:
            settings.write()
            if resume_from is not None and resume_from != settings.output_dir:
                shutil.copyfile(resume_from / CHECKPOINT, path)
        workers.wait()
        run = _Run.opened(settings, workers, cache, watchers)
        training = run.training(path, watchers)
        head = {**run.head, "resumed_at": training.num_groups_done}
        with RunRecord(settings.output_dir, head) if writes else nullcontext() as record:
            training.tell = run.teller(record, watchers)
            is_whole = run_within_memory(training, settings)
        workers.wait()
        return run.finished(training, is_whole=is_whole, writes=writes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    settings: TrainSettings
    workers: AcceleratedWorkers
    prepared: Prepared
    objective: Objective[Any]
    rows: Rows
    states: HiddenStates | None
    data: DataSet
    backbone_sha256: str

    @classmethod
    def opened(cls, settings: TrainSettings, workers: AcceleratedWorkers, cache: Path, watchers: Watchers) -> _Run:
        data = load(settings.dataset, split="train", limit=settings.num_samples, seed=settings.seed)
        tokenizer = load_tokenizer(settings.model)
        rows = rows_of(
            data.examples, tokenizer, max_length=settings.max_length, style=settings.answers, cache=cache / "rows"
        )
        dtype = "bfloat16" if settings.bf16 else "float32"
        backbone = load_model(settings.model, device=str(workers.device.type), dtype=dtype)
        prepared = prepare(backbone, settings)
        sha256 = weights_sha256(settings.model)
        states = None
        if settings.method == "trm":
            states = _states(settings, prepared, rows, sha256, cache / "hidden_states", workers, watchers)
        return cls(
            settings=settings,
            workers=workers,
            prepared=prepared,
            objective=_objective(settings, prepared),
            rows=rows,
            states=states,
            data=data,
            backbone_sha256=sha256,
        )

    @property
    def num_groups(self) -> int:
        """Groups that take every row `epochs` times; the last one is filled up from one more epoch."""
        rows_a_group = self.settings.batch_size * self.settings.gradient_accumulation
        return math.ceil(self.settings.epochs * len(self.rows) / rows_a_group)

    @property
    def head(self) -> dict[str, Any]:
        """What a record needs to be judged later."""
        return {
            "settings": self.settings.plain(),
            **machine_facts(),
            "device": str(self.workers.device),
            "processes": self.workers.number,
            "data_sha256": self.data.sha256,
            "backbone_sha256": self.backbone_sha256,
            "rows": len(self.rows),
            "groups": self.num_groups,
            "trained_parameters": self.num_parameters,
        }

    @property
    def num_parameters(self) -> int:
        """Trained ones."""
        return sum(parameter.numel() for parameter in trainable(self.prepared.module).values())

    @property
    def fingerprint(self) -> str:
        """Of all that decides the weights; where the run lies and how often it is saved does not."""
        decides = {
            name: value
            for name, value in self.settings.plain().items()
            if name not in ("model", "output_dir", "dataset", "device", "save_every")
        }
        told = [decides, self.rows.sha256, self.backbone_sha256, self.workers.number]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def training(self, path: Path, watchers: Watchers) -> Training[Any]:
        """The loop, where the checkpoint left it."""
        settings = self.settings
        num_updates = self.num_groups * self.objective.num_supervision
        recipe = LoopRecipe(
            num_groups=self.num_groups,
            optimiser=OptimiserRecipe(
                learning_rate=settings.learning_rate,
                warmup_updates=min(settings.warmup, num_updates // 10),  # a short run has to learn something too
                weight_decay=settings.weight_decay,
            ),
            ema_decay=settings.ema,
            save_every=settings.save_every,
            seed=settings.seed,
            fingerprint=self.fingerprint,
        )
        return Training(
            objective=self.objective,
            batches=self.batches,
            recipe=recipe,
            path=path,
            should_stop=watchers.should_stop,
            workers=self.workers,
        )

    def batches(self, group: int) -> list[Any]:
        """This process's share of a group's batches."""
        size, accumulated = self.settings.batch_size, self.settings.gradient_accumulation
        first = group * size * accumulated
        shares = []
        for begin in range(first, first + size * accumulated, size):
            numbers = range(begin + self.workers.rank, begin + size, self.workers.number)
            shares.append(self._batch([self._row_at(number) for number in numbers]))
        return shares

    def _row_at(self, number: int) -> int:
        """The row at a place of the endless stream of shuffled epochs."""
        epoch, place = divmod(number, len(self.rows))
        return int(_order(len(self.rows), self.settings.seed, epoch)[place])

    def _batch(self, rows_B: Sequence[int]) -> Any:
        batch = _on_device(self.rows.batch(rows_B), self.workers.device)
        if self.states is None:
            return batch
        num_columns = batch.ids_BT.shape[1]
        hidden = [each.to(self.workers.device) for each in self.states.batch(rows_B, num_columns=num_columns)]
        dtype = self.prepared.backbone.dtype
        return RecursiveBatch(
            hidden_LBTD=tuple(hidden[: len(self.settings.feature_layers)]),
            base_BTD=hidden[_layers(self.settings).index(-1)].to(dtype),
            position_BT=torch.arange(num_columns, device=self.workers.device).expand(len(rows_B), -1),
            columns_BK=batch.columns_BK,
            targets_SBK=batch.targets_BK[None],
            mask_BT=batch.mask_BT,
        )

    def teller(self, record: RunRecord | None, watchers: Watchers) -> Callable[[Update], None]:
        """Tokens a second: by the time since the update before."""
        before = 0.0

        def tell(update: Update) -> None:
            nonlocal before
            seconds, before = update.seconds - before, update.seconds
            if record is not None:
                record.tell(update, tokens_per_s=update.num_tokens / max(1e-9, seconds))
                watchers.update(update)

        return tell

    def finished(self, training: Training[Any], *, is_whole: bool, writes: bool) -> Trained:
        """Save the averaged weights of a run that is whole, and draw its curves."""
        result = curves = None
        if is_whole and writes:
            result = self.settings.output_dir / RESULTS[self.settings.method]
            with averaged_weights(trainable(self.prepared.module).values(), training.average):
                self.prepared.save(result)
            title = f"{self.settings.method} on {Path(self.settings.dataset).name}"
            curves = draw_curves(self.settings.output_dir, title=title)
        return Trained(
            result=result,
            is_whole=is_whole,
            num_parameters=self.num_parameters,
            num_rows=len(self.rows),
            curves=curves,
        )


def _objective(settings: TrainSettings, prepared: Prepared) -> Objective[Any]:
    if settings.method != "trm":
        return LanguageObjective(module=prepared.module, language_model=prepared.backbone)
    least, most = settings.depths
    with_grad = None if settings.with_grad is None else min(settings.with_grad, most)
    return RecursiveObjective(
        trm=prepared.module,  # type: ignore[arg-type]  # the method trm's is one
        lm_head=prepared.backbone.get_output_embeddings(),
        depths=UniformDepth(least=least, most=most),
        weights=RecursiveWeights(kl=settings.kl, halting=settings.halting, with_grad=with_grad),
        num_supervision=settings.N_supervision,
        offload=settings.gradient_accumulation > 1,
    )


def _states(
    settings: TrainSettings,
    prepared: Prepared,
    rows: Rows,
    backbone_sha256: str,
    folder: Path,
    workers: AcceleratedWorkers,
    watchers: Watchers,
) -> HiddenStates:
    """Hidden states of all rows; the first process computes them, the others read them."""
    backbone = prepared.backbone
    layers = _layers(settings)
    key = StatesKey(
        backbone_sha256=backbone_sha256,
        tokens_sha256=rows.sha256,
        layers=layers,
        width=backbone.config.hidden_size,
    )

    @torch.no_grad()
    def compute(some: range) -> list[Tensor]:
        found: list[Tensor] = []
        for first in range(some.start, some.stop, settings.batch_size):
            chosen = range(first, min(first + settings.batch_size, some.stop))
            batch = _on_device(rows.batch(chosen), workers.device)
            hidden = backbone.base_model(
                input_ids=batch.ids_BT, attention_mask=batch.mask_BT, use_cache=False, output_hidden_states=True
            ).hidden_states
            states_BTLD = torch.stack([hidden[layer] for layer in layers], 2)
            found += [states_BTLD[place, : rows.lengths[row]].cpu() for place, row in enumerate(chosen)]
        return found

    def make() -> HiddenStates:
        return hidden_states(folder, key, rows.lengths, compute, tell=lambda done: watchers.states(done, len(rows)))

    if workers.rank == 0:
        make()
    workers.wait()
    return make()


def _layers(settings: TrainSettings) -> tuple[int, ...]:
    """The hidden states that are kept: those that make x, and the last, which is the base."""
    features = settings.feature_layers
    return features if -1 in features else (*features, -1)


def run_within_memory(training: Training[Any], settings: TrainSettings) -> bool:
    """Run; where memory does not suffice, say which setting to lower.

    Raises: TrainingError.
    """
    try:
        return training.run()
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(settings) from error
    except RuntimeError as error:  # the CPU's allocator has no class of its own
        if "can't allocate memory" in str(error):
            raise _out_of_memory(settings) from error
        raise


def _out_of_memory(settings: TrainSettings) -> TrainingError:
    return TrainingError(
        f"out of memory at batch_size {settings.batch_size} and max_length {settings.max_length}: halve batch_size and "
        "double gradient_accumulation, which gives the same updates; then lower max_length"
    )


def _order(num_rows: int, seed: int, epoch: int) -> Any:
    digest = hashlib.sha256(f"{seed}/{epoch}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8])).permutation(num_rows)


def _on_device(batch: LanguageBatch, device: torch.device) -> LanguageBatch:
    return LanguageBatch(
        ids_BT=batch.ids_BT.to(device),
        columns_BK=batch.columns_BK.to(device),
        targets_BK=batch.targets_BK.to(device),
        mask_BT=None if batch.mask_BT is None else batch.mask_BT.to(device),
    )


def _on_cpu(settings: TrainSettings) -> bool:
    return settings.device == "cpu" or not torch.cuda.is_available()
