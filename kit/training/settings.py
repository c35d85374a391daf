"""What `kit train` is asked for: one dataclass, whose fields are the command's flags and the run's settings file.

Checks ranges and reads and writes JSON; opens no model and no data.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from kit.assets import TINY_MODEL
from kit.data.examples import DataSet
from kit.data.provenance import Provenance
from kit.errors import InputError, MissingError, SettingError, check_fields
from kit.json_text import read_json
from kit.sampling import MAX_DEPTH
from kit.whole_file import written_whole

Method = Literal["trm", "finetune", "lora"]
Answers = Literal["worked", "at_once"]
"""The set's own solutions, or the boxed answers alone."""
Spread = Literal["random", "curriculum", "fixed"]
Form = Literal["anchor", "states", "token"]

SETTINGS = "settings.json"

LEARNING_RATES: dict[str, float] = {"trm": 1e-4, "finetune": 1e-5, "lora": 1e-4}
"""Where none is given. TRM: the paper's. LoRA's is ten times a fine-tune's: a common rule."""


MAY_DIFFER = frozenset({"model", "output_dir", "dataset", "device", "save_every"})
"""Settings that decide no weight by their own text: where things lie, and how often a run is saved."""

MAY_CHANGE = frozenset({"lr", "batch_size", "gradient_accumulation"})
"""What a run that could not go on may go on with: another rate, and the rows of an update in other batches."""

_CHOICES = {
    name: get_args(kind)
    for name, kind in (("method", Method), ("answers", Answers), ("T_spread", Spread), ("form", Form))
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """One run of training.

    dataset: as kit.data.sets.load takes it. num_samples: so many examples, drawn by the seed; None: all. answers:
    the set's worked solutions, or the boxed answer at once. batch_size: rows of a batch over all processes.
    gradient_accumulation: batches of an update. lr: its peak; None: the method's own. N_supervision, T_recursion,
    num_latent: N_sup, T and n of the paper. T_spread: "random" draws T uniform on 1…2T - 1, whose mean is T, without
    which no other T works later; "curriculum" begins at 1, goes one deeper whenever a step is learned up to T, and then
    draws from T…2T - 1, for examples whose steps are known; "fixed" is the paper's. whiten: the hidden states that make
    x, by those of the first rows. with_grad: the last recursions with a gradient; None: all.
    n_layers: of the fine-tune, the backbone's last. rank: LoRA's. lora_layers: the backbone's last so many get one;
    None: all.
    """

    method: Method
    model: Path
    output_dir: Path
    dataset: str = "gsm8k"
    num_samples: int | None = None
    answers: Answers = "worked"
    epochs: int = 1
    batch_size: int = 8
    gradient_accumulation: int = 1
    lr: float | None = None
    warmup: int = 50
    weight_decay: float = 0.1
    max_length: int = 512
    freeze_lm_head: bool = True
    ema: float = 0.999
    seed: int = 0
    bf16: bool = False
    device: str = "auto"
    save_every: int = 50
    N_supervision: int = 16
    T_recursion: int = 3
    T_spread: Spread = "random"
    num_latent: int = 6
    form: Form = "anchor"
    feature_layers: tuple[int, ...] = (-1,)
    whiten: bool = True
    with_grad: int | None = None
    kl: float = 0.1
    halting: float = 0.5
    n_layers: int = 1
    rank: int = 64
    lora_layers: int | None = None

    def __post_init__(self) -> None:
        deepest = self.T_recursion if self.T_spread == "fixed" else 2 * self.T_recursion - 1
        checks = [
            ("num_samples", self.num_samples is None or self.num_samples >= 1, ">= 1"),
            ("lr", self.lr is None or 0 < self.lr < math.inf, "> 0 and finite"),
            ("kl", 0 <= self.kl < math.inf, ">= 0 and finite"),
            ("halting", 0 <= self.halting < math.inf, ">= 0 and finite"),
            ("with_grad", self.with_grad is None or self.with_grad >= 1, ">= 1"),
            ("feature_layers", len(self.feature_layers) >= 1, "at least one"),
            ("warmup", self.warmup >= 0, ">= 0"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, ">= 0 and finite"),
            ("seed", 0 <= self.seed < 2**63, "in [0, 2^63)"),  # torch takes 64 bits
            ("ema", 0 <= self.ema < 1, "in [0, 1)"),
            ("T_recursion", self.T_recursion >= 1 and deepest <= MAX_DEPTH, f">= 1, its draws <= {MAX_DEPTH}"),
            ("lora_layers", self.lora_layers is None or self.lora_layers >= 1, ">= 1"),
            *((name, getattr(self, name) in choices, " or ".join(choices)) for name, choices in _CHOICES.items()),
            ("answers", self.T_spread != "curriculum" or self.answers == "at_once",
             "at_once for T_spread curriculum, which needs the results of steps"),
            ("freeze_lm_head", self.freeze_lm_head or self.method == "finetune",
             "true for a TRM or a LoRA, which are saved without the backbone's head"),
        ]  # fmt: skip
        counts = ("epochs", "batch_size", "gradient_accumulation", "max_length", "save_every", "N_supervision",
                  "num_latent", "n_layers", "rank")  # fmt: skip
        check_fields(self, [*((name, getattr(self, name) >= 1, ">= 1") for name in counts), *checks])

    @property
    def learning_rate(self) -> float:
        """The peak of the learning rate."""
        return self.lr if self.lr is not None else LEARNING_RATES[self.method]

    @property
    def rows_of_update(self) -> int:
        """Over all its batches."""
        return self.batch_size * self.gradient_accumulation

    @property
    def depths(self) -> tuple[int, int]:
        """The least and the most T of an update."""
        return (self.T_recursion, self.T_recursion) if self.T_spread == "fixed" else (1, 2 * self.T_recursion - 1)

    def provenance(self, data: DataSet, num_parameters: int, backbone_sha256: str) -> Provenance:
        """What is told of the weights, beside them, of a run on these examples."""
        kind = "answers at once" if self.answers == "at_once" else "worked solutions"
        return Provenance(
            training_data=f"{data.label}: {len(data.examples):,} {kind}",
            data_sha256=data.sha256,
            trainable_parameters=num_parameters,
            backbone_sha256=backbone_sha256,
            note=f"{self._in_words}, {self.epochs} epochs, lr {self.learning_rate:g}, seed {self.seed}",
        )

    @property
    def _in_words(self) -> str:
        """The method and what is its own."""
        match self.method:
            case "trm":
                depth = f"T = {self.T_recursion} {self.T_spread}"
                return f"TRM {self.form}, {depth}, n = {self.num_latent}, N_sup = {self.N_supervision}"
            case "finetune":
                head = "" if self.freeze_lm_head else " and the head"
                return f"last {self.n_layers} layers{head}"
            case "lora":
                where = "" if self.lora_layers is None else f" in the last {self.lora_layers} layers"
                return f"LoRA of rank {self.rank}{where}"

    def write(self) -> None:
        """Write the settings into the run's folder.

        Raises: StorageError.
        """
        with written_whole(self.output_dir / SETTINGS) as part:
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(self.plain(), indent=1) + "\n", encoding="utf-8")

    def plain(self) -> dict[str, Any]:
        """For JSON: paths as texts, tuples as lists."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()} | {
            "feature_layers": list(self.feature_layers)
        }


def settings_of(method: Method, given: Mapping[str, Any], *, resume: Path | None) -> TrainSettings:
    """The settings of a new run with the fields among `given`, or of the run in `resume` that goes on.

    Raises: SettingError for a value outside its range; MissingError, or InputError for a run that cannot go on so.
    """
    known = {field.name for field in dataclasses.fields(TrainSettings)}
    fields = {name: value for name, value in given.items() if name in known and name != "method"}
    if "feature_layers" in fields:
        fields["feature_layers"] = tuple(fields["feature_layers"])
    if resume is None:
        defaults = {"model": TINY_MODEL, "output_dir": Path("out/train") / method}
        return TrainSettings(method=method, **{**defaults, **fields})
    if others := sorted(fields.keys() - MAY_DIFFER - MAY_CHANGE):
        raise InputError(f"--resume goes on with the settings in {resume}; leave out --{others[0]}, or begin a new run")
    before = read_settings(resume)
    if before.method != method:
        raise InputError(f"{resume} is a run of {before.method}; go on with `kit train {before.method} --resume`")
    settings = dataclasses.replace(before, **fields)
    if settings.rows_of_update != before.rows_of_update:
        raise InputError(
            f"--resume goes on with updates of {before.rows_of_update} rows, and --batch_size {settings.batch_size} x "
            f"--gradient_accumulation {settings.gradient_accumulation} is {settings.rows_of_update}"
        )
    return settings


def read_settings(folder: Path) -> TrainSettings:
    """The settings of a run, to go on with it in its own folder.

    Raises: MissingError, InputError.
    """
    path = folder / SETTINGS
    try:
        found = read_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingError(f"{path} is missing; --resume takes the folder of a run of `kit train`") from None
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}") from error
    known = {field.name for field in dataclasses.fields(TrainSettings)}
    if not isinstance(found, dict) or not found.keys() <= known:
        raise InputError(f"{path} holds settings of another version; begin a new run")
    paths = {name: Path(found[name]) for name in ("model", "output_dir") if name in found}
    layers = {"feature_layers": tuple(found.get("feature_layers", (-1,)))}
    try:
        return TrainSettings(**{**found, **layers, **paths, "output_dir": folder})
    except (SettingError, TypeError) as error:  # a value is missing, or of another kind
        raise InputError(f"{path}: {error}") from error
