"""One run of `kit train`: data and backbone in, trained weights in the field's formats out.

    DIR/settings.json  checkpoint.pt  log.jsonl  tensorboard/  curves.png  trm/ | model/ | adapter/

Rows and hidden states are cached by content hash, apart from the run's folder, so that runs share them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kit.config import machine_facts
from kit.data.examples import DataSet
from kit.data.provenance import write_provenance
from kit.data.sets import load
from kit.engines.text.model_folder import read_facts
from kit.engines.text.tokenizer import load_tokenizer
from kit.engines.transformers.loading import load_model, resolve_device
from kit.errors import InputError, StorageError
from kit.lock import held
from kit.training.batches import (
    Batches,
    RecursiveBatches,
    StatesPlace,
    UpperBatches,
    fit_whitening,
    with_states,
    with_states_below,
)
from kit.training.checkpoint import CHECKPOINT
from kit.training.ema import averaged_weights
from kit.training.hidden_states import TooLargeError
from kit.training.launch import AcceleratedWorkers
from kit.training.loop import LoopRecipe, Objective, Training
from kit.training.memory import within_memory
from kit.training.methods import RESULTS, Prepared, objective_of, prepare
from kit.training.optimiser import OptimiserRecipe, trainable
from kit.training.records import RunRecord, draw_curves, take_over
from kit.training.rows import Rows, rows_of
from kit.training.settings import MAY_CHANGE, MAY_DIFFER, TrainSettings
from kit.training.update import Update
from kit.trm.checkpoint import weights_sha256

CACHE = Path("out/cache/training")
AnyBatches = Batches | RecursiveBatches | UpperBatches

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """result: the folder to load; is_whole: whether all groups are done; num_parameters: trained ones.

    writes: whether this process is the one, of several that train together, that writes and tells.
    """

    result: Path | None
    is_whole: bool
    num_parameters: int
    num_rows: int
    curves: Path | None = None
    writes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchers:
    """Who is told. states: rows whose hidden states are done, of how many; update: each one; should_stop: asked."""

    states: Callable[[int, int], None] = lambda done, of: None
    update: Callable[[Update], None] = lambda update: None
    should_stop: Callable[[], bool] = lambda: False

    def tell_states(self, done: int, *, of: int) -> None:
        """Raises: KeyboardInterrupt if asked to stop; what is done is on disk."""
        self.states(done, of)
        if self.should_stop():
            raise KeyboardInterrupt


def train(
    settings: TrainSettings, *, resume_from: Path | None = None, cache: Path = CACHE, watchers: Watchers | None = None
) -> Trained:
    """Train to the end, or until asked to stop, which saves.

    resume_from: go on from the checkpoint in that folder; without it an output folder that has one is refused.
    Raises: InputError, MissingError, StorageError, TrainingError; EngineError for a model that memory does not hold.
    """
    watchers = watchers or Watchers()
    path = settings.output_dir / CHECKPOINT
    source = path if resume_from is None else resume_from / CHECKPOINT
    begins_anew = not source.exists()
    if path.exists() and resume_from != settings.output_dir:
        raise InputError(f"{path.parent} holds a run; go on with --resume {path.parent}, or name another output_dir")
    workers = AcceleratedWorkers(resolve_device(settings.device), bf16=settings.bf16)
    if settings.batch_size % workers.number:
        raise InputError(f"batch_size must be a multiple of the {workers.number} processes, got {settings.batch_size}")
    writes = workers.rank == 0
    with held(settings.output_dir) if writes else nullcontext():
        if writes and begins_anew:
            settings.write()  # now, so that it may go on from here
        workers.wait()
        with within_memory(settings):
            run = _Run.opened(settings, workers, cache, watchers)
            training = run.training(path, source, watchers)
        if writes and not begins_anew:  # the checkpoint is seen to fit the settings
            settings.write()
            if source != path:
                take_over(source.parent, settings.output_dir)
        first_update = training.num_groups_done * run.objective.num_supervision
        head = {**run.head, "resumed_at": training.num_groups_done}
        record_of = partial(RunRecord, settings.output_dir, head, first_update, training.seconds)
        with record_of() if writes else nullcontext() as record:
            if record is not None:
                training.tell = partial(_tell, record, watchers)
            with within_memory(settings):
                is_whole = training.run()
        workers.wait()
        return run.finished(training, is_whole=is_whole, writes=writes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    settings: TrainSettings
    workers: AcceleratedWorkers
    prepared: Prepared
    objective: Objective[Any]
    rows: Rows
    batches: AnyBatches
    data: DataSet
    backbone_sha256: str

    @classmethod
    def opened(cls, settings: TrainSettings, workers: AcceleratedWorkers, cache: Path, watchers: Watchers) -> _Run:
        data = load(settings.dataset, split="train", limit=settings.num_samples, seed=settings.seed)
        dtype = "bfloat16" if settings.bf16 else "float32"
        backbone = load_model(settings.model, device=str(workers.device.type), dtype=dtype)
        prepared = prepare(backbone, settings)  # refuses layers that are not there before rows are made
        rows = _rows(settings, data, workers, cache)
        sha256 = weights_sha256(settings.model)
        objective = objective_of(settings, prepared, rows)  # refuses what it cannot do before hidden states are made
        tell = partial(watchers.tell_states, of=len(rows))
        place = StatesPlace(backbone_sha256=sha256, folder=cache / "hidden_states", tell=tell)
        batches = _with_frozen_states(settings, prepared, _batches(settings, workers, rows), workers, place)
        fit_whitening(prepared.module, batches)
        return cls(
            settings=settings,
            workers=workers,
            prepared=prepared,
            objective=objective,
            rows=rows,
            batches=batches,
            data=data,
            backbone_sha256=sha256,
        )

    @property
    def num_groups(self) -> int:
        """Groups that take every row `epochs` times; the last one is filled up from one more epoch."""
        return math.ceil(self.settings.epochs * len(self.rows) / self.settings.rows_of_update)

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
        free = MAY_DIFFER | MAY_CHANGE
        decides = {name: value for name, value in self.settings.plain().items() if name not in free}
        decides["rows_of_update"] = self.settings.rows_of_update
        told = [decides, self.rows.sha256, self.backbone_sha256, self.workers.number]
        if self.rows.steps is not None and self.settings.method == "trm":
            told.append(self.rows.steps.sha256)
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def training(self, path: Path, source: Path, watchers: Watchers) -> Training[Any]:
        """The loop, where the checkpoint at `source` left it; its own will be at `path`."""
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
            batches=self.batches.of_group,
            recipe=recipe,
            path=path,
            resume_from=source,
            should_stop=watchers.should_stop,
            workers=self.workers,
        )

    def finished(self, training: Training[Any], *, is_whole: bool, writes: bool) -> Trained:
        """Save the averaged weights of a run that is whole, and draw its curves."""
        result = curves = None
        if is_whole and writes:
            result = self.settings.output_dir / RESULTS[self.settings.method]
            with averaged_weights(trainable(self.prepared.module).values(), training.average):
                self.prepared.save(result)
            told = self.settings.provenance(self.data, self.num_parameters, self.backbone_sha256)
            write_provenance(result, told)
            title = f"{self.settings.method} on {Path(self.settings.dataset).name}"
            curves = draw_curves(self.settings.output_dir, title=title)
        return Trained(
            result=result,
            is_whole=is_whole,
            num_parameters=self.num_parameters,
            num_rows=len(self.rows),
            curves=curves,
            writes=writes,
        )


def _tell(record: RunRecord, watchers: Watchers, update: Update) -> None:
    record.tell(update)
    watchers.update(update)


def _rows(settings: TrainSettings, data: DataSet, workers: AcceleratedWorkers, cache: Path) -> Rows:
    make = partial(
        rows_of,
        data.examples,
        load_tokenizer(settings.model),
        name=settings.dataset,
        max_length=settings.max_length,
        style=settings.answers,
        cache=cache / "rows",
        stop_ids=read_facts(settings.model).stop_ids,
    )
    rows = workers.in_turn(make)
    if any(rows.left_out) and workers.rank == 0:
        told = rows.left_out.told(settings.max_length)
        log.warning("%s: of %d examples left out: %s", settings.dataset, len(data.examples), told)
    return rows


def _with_frozen_states(
    settings: TrainSettings, prepared: Prepared, batches: Batches, workers: AcceleratedWorkers, place: StatesPlace
) -> AnyBatches:
    """The batches with what never changes in this run: what the backbone's frozen layers make of them."""
    if settings.method == "trm":
        layers = settings.feature_layers
        return with_states(batches, prepared.backbone, feature_layers=layers, place=place, workers=workers)
    # one epoch reads each row once, and several processes share out the rows that one of them would compute alone
    if prepared.cut is None or settings.epochs == 1 or workers.number > 1:
        return batches
    try:
        return with_states_below(batches, prepared.cut, place=place)
    except (TooLargeError, StorageError) as error:
        log.warning("hidden states are not kept (%s), so the frozen layers run in each update", error)
        return batches


def _batches(settings: TrainSettings, workers: AcceleratedWorkers, rows: Rows) -> Batches:
    return Batches(
        rows=rows,
        batch_size=settings.batch_size,
        accumulated=settings.gradient_accumulation,
        seed=settings.seed,
        rank=workers.rank,
        number=workers.number,
        device=workers.device,
    )
