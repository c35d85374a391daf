"""The head of a run, all that its completions follow from; and what else a session is recorded with.

In: the model's folders, how it is run, and the plan. Out: JSON objects. Weights are told by their hash, so a folder may
be moved; of paths only the last part is kept. A run goes on only under the same head. The kit's commit, the packages
and the machine belong to a session: another session of the same run may have others.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit import __version__
from kit.config import machine_facts
from kit.cuda import visible_gpus
from kit.data.provenance import Provenance, read_provenance
from kit.engines.text.model_folder import auto_dtype, num_parameters, read_chat_template
from kit.evaluation.plan import EvalPlan
from kit.solver.journal import Record

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalModel:
    """What is evaluated, and how it is run.

    name: as the report calls it: the hub's id, the folder's name, or what a server calls it. folder: the model's own;
    None where only a server has it. trm, adapter: folders of what lies on top. engine: as `kit eval --engine` names it.
    device, dtype, num_threads: as engines take them.
    """

    name: str
    folder: Path | None
    trm: Path | None = None
    adapter: Path | None = None
    engine: str = "transformers"
    device: str = "auto"
    dtype: str = "auto"
    num_threads: int | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """The model's share of a head; reads all of the weights.

        Raises: MissingError or InputError for folders without whole weights.
        """
        if self.folder is None:
            return {"model": {"name": self.name}, "engine": {"kind": "server", "dtype": None}}
        trm, adapter = (None if part is None else _weights(part, part.name) for part in (self.trm, self.adapter))
        on_top = trm or adapter
        provenances = filter(None, map(read_provenance, filter(None, (self.folder, self.trm, self.adapter))))
        model = _weights(self.folder, self.name)
        if self.adapter is not None:
            _warn_of_another_model(self.adapter, model["sha256"], self.folder)
        template = hashlib.sha256(read_chat_template(self.folder).encode()).hexdigest()
        return {
            "model": {
                **model,
                "adapter": adapter,
                "trm": trm,
                "trainable_parameters": None if on_top is None else on_top["num_parameters"],
                "chat_template_sha256": template,
                **_training(tuple(provenances)),
            },
            "engine": {
                # not the address, which may change between two sessions
                "kind": "server" if "://" in self.engine else self.engine,
                "dtype": self._dtype,
            },
        }

    @property
    def _dtype(self) -> str:
        """What `auto` stands for is told; texts depend on it."""
        if self.dtype != "auto" or self.folder is None:
            return self.dtype
        is_on_cpu = self.device == "cpu" or (self.device == "auto" and not visible_gpus())
        return auto_dtype(self.folder, device="cpu" if is_on_cpu else "cuda")


def make_head(model: EvalModel, plan: EvalPlan) -> Record:
    """The head of the run of this plan with this model. Raises: as `EvalModel.facts`."""
    return {**model.facts, **plan.facts}


def session_facts(model: EvalModel, *, commit: str | None) -> Record:
    """Where and by what a session draws. commit: of the kit's checkout, if it runs from one."""
    return {
        "kit": {"version": __version__, "commit": commit},
        "machine": machine_facts(),
        "device": model.device,
        "num_threads": model.num_threads,
    }


def _training(stages: Sequence[Provenance]) -> dict[str, Any]:
    """What the weights were trained on, stage by stage; nothing where nothing tells it, as of a published model."""
    if not stages:
        return {}
    return {
        "training_data": "; ".join(stage.training_data for stage in stages),
        "trainable_parameters": sum(stage.trainable_parameters for stage in stages),
        "note": "; ".join(stage.note for stage in stages),
    }


def _warn_of_another_model(adapter: Path, sha256: str, folder: Path) -> None:
    """Layers of another model may have the same shapes; one in other numbers, as where it is quantised, is no fault."""
    trained = read_provenance(adapter)
    if trained is not None and trained.backbone_sha256 not in ("", sha256):
        log.warning(
            "the adapter in %s was trained on weights of hash %s…, and those in %s have %s…: figures are of the two as "
            "they are", adapter, trained.backbone_sha256[:12], folder, sha256[:12],
        )  # fmt: skip


def _weights(folder: Path, name: str) -> dict[str, Any]:
    from kit.trm.checkpoint import weights_sha256  # imports torch

    return {"name": name, "sha256": weights_sha256(folder), "num_parameters": num_parameters(folder)}
