"""Does recursion pay on a real pretrained model, where depth is known? The toy's chain in plain English.

    python -m benchmarks.real_model out/real-model
    python -m benchmarks.recursion_names --model out/real-model --folder out/names
    python -m benchmarks.recursion_toy_report --folder out/names --target benchmarks/results/NAME

The model is frozen, and asked at once, so that only depth can help; see benchmarks.recursion_names_rows for a row. The
arms train on questions of up to TRAINED steps, with benchmarks.recursion_toy's stages, and are tested on unseen chains
with more. All read their answer from the model's own head at the names alone, as in multiple choice. Trained parameters
are as many as the model's last layer has. Each arm and seed is one line of JSON; a run that was killed goes on.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.recursion_names_rows import WordedRows, name_tokens, worded_rows
from benchmarks.recursion_toy import SEEDS, Arms, run_arms
from benchmarks.recursion_toy_arms import eased, language_recipe, one_step, trm, trm_step_labels
from benchmarks.recursion_toy_backbone import NUM_ROWS, train
from benchmarks.recursion_toy_training import Run, Trained, count, run_stages, stages_of
from kit.training.batches import StatesPlace
from kit.training.cut_backbone import cut
from kit.training.depth_task import Tables, seeded
from kit.training.language import LanguageBatch, LanguageObjective
from kit.training.objective import at_columns
from kit.training.recursive import RecursiveBatch
from kit.trm.checkpoint import weights_sha256
from kit.trm.config import TRMConfig
from kit.trm.model import TinyRecursiveModel

FEATURE_LAYERS = (0, 4, 22)  # see the probe in benchmarks.recursion_names_rows
NUM_WHITENED = 256  # rows, from which the whitening is made
NUM_ASKED = 16  # questions of a row and update: 128 in all, as in the toy
NUM_UPDATES = 1500  # of a baseline
RATES = (1e-4, 3e-4, 1e-3)
TRM_RATE = 3e-4  # at 1e-3 the first step takes twice as long


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnRows(Tables):
    """Some rows of a split, by their numbers in it."""

    split: str
    rows_B: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class NamesBench:
    """A frozen model, of which nothing but its head runs once the states are kept: see Bench."""

    model: Any
    model_sha256: str
    tokenizer: Any
    folder: Path
    opened: dict[str, WordedRows] = field(default_factory=dict)

    @property
    def layers(self) -> tuple[int, ...]:
        """The hidden states that are kept: what a TRM reads, and what goes into the layer that baselines train."""
        return (*FEATURE_LAYERS, self.model.config.num_hidden_layers - 1, -1)

    def rows(self, split: str) -> WordedRows:
        """Of one split; computed where they are not there yet."""
        if split not in self.opened:
            place = StatesPlace(
                backbone_sha256=self.model_sha256,
                folder=self.folder / "states" / split,
                tell=lambda done: print(f"hidden states, {split}: {done} rows", flush=True),
            )
            self.opened[split] = worded_rows(split, self.model, self.tokenizer, layers=self.layers, place=place)
        return self.opened[split]

    @cached_property
    def lm_head(self) -> nn.Linear:
        """Of the names alone, in NAMES' order."""
        return names_head(self.model, self.tokenizer)

    def draw(self, name: str, *, most_steps: int, is_small: bool = False) -> DrawnRows:
        split = "small" if is_small else "train"
        tables = self.rows(split).tables
        generator = seeded(name)
        rows_B = torch.randperm(len(tables.ids_BT), generator=generator)[:NUM_ROWS]
        may_BK = (tables.num_steps_BK[rows_B] <= most_steps).float() + 1e-9  # a row without any asks what it has
        asked_BK = torch.multinomial(may_BK, NUM_ASKED, replacement=True, generator=generator)
        return _chosen(tables, split, rows_B, asked_BK)

    def held_out(self, *, test: bool) -> DrawnRows:
        split = "test" if test else "validation"
        tables = self.rows(split).tables
        rows_B = torch.arange(len(tables.ids_BT))
        return _chosen(tables, split, rows_B, torch.arange(tables.columns_BK.shape[1]).expand(len(rows_B), -1))

    def recursive_batch(self, tables: Tables, targets_SBK: Tensor) -> RecursiveBatch:
        by_layer = self.hidden(tables)
        batch = tables.batch([by_layer[layer] for layer in FEATURE_LAYERS], targets_SBK)
        return replace(batch, base_BTD=by_layer[-1])

    def features_to_fit(self) -> list[Tensor]:
        """The hidden states that make x, of the short rows' own columns, [N, D] each."""
        rows = self.rows("small")
        chosen = range(min(NUM_WHITENED, len(rows.tables.ids_BT)))
        by_layer = dict(zip(self.layers, rows.hidden(chosen), strict=True))
        return [by_layer[layer][:, rows.num_common :].flatten(0, 1) for layer in FEATURE_LAYERS]

    def hidden(self, tables: Tables) -> Mapping[int, Tensor]:
        """The kept states of drawn rows, by layer."""
        assert isinstance(tables, DrawnRows)
        return dict(zip(self.layers, self.rows(tables.split).hidden(tables.rows_B), strict=True))

    def new_trm(self, seed: int, **changes: Any) -> TinyRecursiveModel:
        torch.manual_seed(seed)
        backbone = self.model.config
        narrower = backbone.hidden_size // 3  # by what its output layer has: as many parameters as a layer of the model
        sizes = {
            "num_layers": 1,
            "num_latent": 1,
            "feature_layers": FEATURE_LAYERS,
            "whitened": True,
            "intermediate_size": backbone.intermediate_size - narrower,
        }
        trm = TinyRecursiveModel(TRMConfig.for_backbone(backbone, **{**sizes, **changes}))
        if trm.whitening is not None:
            trm.whitening.fit(self.features_to_fit())
        return trm


def _chosen(tables: Tables, split: str, rows_B: Tensor, asked_BK: Tensor) -> DrawnRows:
    index_SBK = asked_BK.expand(len(tables.images_SBK), -1, -1)
    return DrawnRows(
        ids_BT=tables.ids_BT[rows_B],
        columns_BK=tables.columns_BK[rows_B].gather(1, asked_BK),
        num_steps_BK=tables.num_steps_BK[rows_B].gather(1, asked_BK),
        images_SBK=tables.images_SBK[:, rows_B].gather(2, index_SBK),
        split=split,
        rows_B=tuple(rows_B.tolist()),
    )


def names_head(model: Any, tokenizer: Any) -> nn.Linear:
    """The model's own head, of the names alone."""
    weight_ND = model.get_output_embeddings().weight.detach()[name_tokens(tokenizer)].clone()
    head = nn.Linear(weight_ND.shape[1], len(weight_ND), bias=False).requires_grad_(False)
    head.weight.copy_(weight_ND)
    return head


# --- arms --------------------------------------------------------------------------------


def fine_tune(bench: NamesBench, run: Run) -> Trained:
    model = _copied(bench)
    model.base_model.layers[-1].requires_grad_(True)
    return _train_language(bench, model, model, run)


def lora(bench: NamesBench, run: Run) -> Trained:
    """Of the last layer; its rank makes as many parameters as the layer itself has."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(run.seed)
    model = _copied(bench)
    last = model.base_model.layers[-1]
    linear = {name.rpartition(".")[2]: each for name, each in last.named_modules() if isinstance(each, nn.Linear)}
    per_rank = sum(each.in_features + each.out_features for each in linear.values())
    rank = sum(parameter.numel() for parameter in last.parameters()) // per_rank
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=sorted(linear),
        layers_to_transform=[len(model.base_model.layers) - 1],
        task_type="CAUSAL_LM",
    )
    wrapped = get_peft_model(model, config)
    return _train_language(bench, wrapped, wrapped.get_base_model(), run)


def _copied(bench: NamesBench) -> Any:
    """The model with the names' head in place of its own."""
    model = copy.deepcopy(bench.model)
    model.set_output_embeddings(bench.lm_head)
    return model


def _train_language(bench: NamesBench, module: nn.Module, model: Any, run: Run) -> Trained:
    in_two = cut(model.base_model, 1)
    assert in_two is not None
    objective = LanguageObjective(module=module, language_model=model, cut=in_two)

    def batch(tables: Tables) -> LanguageBatch:
        return LanguageBatch(
            ids_BT=tables.ids_BT,
            columns_BK=tables.columns_BK,
            targets_BK=tables.answers,
            below_BTD=bench.hidden(tables)[in_two.num_lower],
        )

    def batches(number: int) -> list[LanguageBatch]:
        return [batch(eased(bench, run, number))]

    train(objective, batches, language_recipe(run), run.folder / "model.pt")

    @torch.no_grad()
    def logits(tables: Tables) -> dict[int, Tensor]:
        return {-1: objective.logits(batch(tables))}

    return Trained(logits=logits, num_parameters=count(module), num_updates=run.num_updates)


def not_whitened(bench: NamesBench, run: Run) -> Trained:
    return run_stages(bench, bench.new_trm(run.seed, whitened=False), run, stages_of(run))


ARMS: Arms[NamesBench] = {
    "TRM": (trm, (TRM_RATE,)),
    "TRM's block, T = 1": (one_step, RATES),
    "last layer fine-tuned": (fine_tune, RATES),
    "LoRA": (lora, RATES),
    "TRM, all step labels": (trm_step_labels, (TRM_RATE,)),
    "TRM, not whitened": (not_whitened, (TRM_RATE,)),
}


def backbone_alone(bench: NamesBench) -> Trained:
    def logits(tables: Tables) -> dict[int, Tensor]:
        batch = bench.recursive_batch(tables, tables.images_SBK)
        return {-1: bench.lm_head(at_columns(batch.base_BTD, batch.columns_BK))}

    return Trained(logits=logits, num_parameters=0, num_updates=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a language model with a chat template")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--updates", type=int, default=NUM_UPDATES)
    args = parser.parse_args()
    bench = opened(args.model, args.folder)
    arms = {name: ARMS[name] for name in args.arms}
    run_arms(bench, arms, args.folder, base=backbone_alone(bench), seeds=args.seeds, num_updates=args.updates)


def opened(model_folder: Path, folder: Path) -> NamesBench:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32).eval().requires_grad_(False)
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    return NamesBench(model=model, model_sha256=weights_sha256(model_folder), tokenizer=tokenizer, folder=folder)


if __name__ == "__main__":
    main()
