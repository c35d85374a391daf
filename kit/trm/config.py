"""What a Tiny Recursive Model is: sizes, form, depth, when it stops. Derived from the backbone's config.

In: the backbone's config and changes by name. Out: a TRMConfig, checked, that a checkpoint stores as
config.json. It opens no weights and holds no settings of training other than the paper's three levels.
Source: arXiv 2510.04871 section 4 and Figure 3; sizes as in its official layers.py.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any, Literal, Self

from transformers import PreTrainedConfig

from kit.errors import InputError, check_fields, did_you_mean
from kit.sampling import MAX_DEPTH

# As in the official code; learned gains start at 1.
EPS = 1e-5
EXPANSION = 4
WIDTH_MULTIPLE = 256

# What transformers itself adds to every config it reads.
_KEYS_OF_TRANSFORMERS = frozenset({"model_type", "transformers_version", "torch_dtype", "name_or_path"})


class TRMConfig(PreTrainedConfig):  # type: ignore[misc]  # transformers is untyped
    """The shape and the habits of one Tiny Recursive Model.

    form: what the recursion reads. "anchor": queries from the recursing states, keys and values from
        the backbone's features x. "states": causal self-attention over the recursing states, as in the
        paper. "token": nothing beside the token itself.
    cache: for the form "states". "exact" keeps a slot per (application, layer) of the net; "last_step"
        keeps those of the last deep recursion only and is an approximation.
    feature_layers: indices into the backbone's hidden states that make x; 0 is the embedding, -1 the
        last after its final norm. Several are mixed with learned weights.
    whitened: whether they are whitened first, see kit.trm.whitening.
    num_supervision, depth, num_latent: N_sup, T and n of the paper. `depth` is the default of T.
    damped: states move a learned share of the way to the net's output instead of all of it. None: True for
        "token", else False. Without attention's averaging a replaced state is chaotic: at T = 10 float32's
        rounding grew beyond 1e-4 of y in 9 of 30 random nets (up to 2e-3), in none with damped updates, and in
        none of the other forms either way (benchmarks/results/trm.md).
    halt_above: a token's recursion ends once its halting logit q exceeds this; None: never.
    converged_below: it ends once y moved by less than this share of its length; None: never.
    gate_entropy: recurse only on tokens whose backbone entropy (nats) exceeds this; None: on all.
    backbone_path, backbone_id, backbone_sha256: the backbone this was trained on, by folder, id on the hub and weights;
        see kit.trm.checkpoint.
    Raises: InputError for an unknown name or a value outside its range.
    """

    model_type = "tiny_recursive_model"

    hidden_size: int = 1536
    vocab_size: int = 151936
    num_attention_heads: int = 12
    num_key_value_heads: int = 2
    head_dim: int = 128
    intermediate_size: int = 4096
    num_layers: int = 2
    rope_base: float = 10000.0
    form: Literal["anchor", "states", "token"] = "anchor"
    cache: Literal["exact", "last_step"] = "exact"
    feature_layers: tuple[int, ...] | list[int] = (-1,)
    whitened: bool = False
    num_supervision: int = 16
    depth: int = 3
    num_latent: int = 6
    damped: bool | None = None
    halt_above: float | None = None
    converged_below: float | None = None
    gate_entropy: float | None = None
    backbone_path: str = ""
    backbone_id: str = ""
    backbone_sha256: str = ""

    def __post_init__(self, **kwargs: Any) -> None:
        check_names(name for name in kwargs.keys() - _KEYS_OF_TRANSFORMERS if not name.startswith("_"))
        super().__post_init__(**kwargs)
        self.feature_layers = tuple(self.feature_layers)  # JSON gives a list
        if self.damped is None:
            self.damped = self.form == "token"  # resolved here, so that a checkpoint stores what it was trained with
        self._check()

    @classmethod
    def for_backbone(cls, backbone: Any, **changes: Any) -> Self:
        """The config of a TRM as wide as `backbone`, a Hugging Face config, with `changes` by name."""
        check_names(changes)
        heads = backbone.num_attention_heads
        rope = getattr(backbone, "rope_parameters", None) or {}
        sizes = {
            "hidden_size": backbone.hidden_size,
            "vocab_size": backbone.vocab_size,
            "num_attention_heads": heads,
            "num_key_value_heads": getattr(backbone, "num_key_value_heads", None) or heads,
            "head_dim": getattr(backbone, "head_dim", None) or backbone.hidden_size // heads,
            "intermediate_size": default_intermediate_size(backbone.hidden_size),
            "rope_base": float(rope.get("rope_theta", 10000.0)),
        }
        return cls(**{**sizes, **changes})

    @property
    def num_applications(self) -> int:
        """How often one deep recursion applies the net: n latent updates and one of the answer."""
        return self.num_latent + 1

    @property
    def may_stop_early(self) -> bool:
        """Whether tokens of one sequence may end at different depths."""
        return any(value is not None for value in (self.halt_above, self.converged_below, self.gate_entropy))

    def _check(self) -> None:
        checks = (
            ("num_attention_heads", self.num_attention_heads % max(1, self.num_key_value_heads) == 0,
             f"a multiple of num_key_value_heads, {self.num_key_value_heads}"),
            ("head_dim", self.head_dim >= 2 and self.head_dim % 2 == 0, "even and >= 2"),
            ("depth", 0 <= self.depth <= MAX_DEPTH, f"in [0, {MAX_DEPTH}]"),
            ("form", self.form in ("anchor", "states", "token"), "anchor, states or token"),
            ("cache", self.cache in ("exact", "last_step"), "exact or last_step"),
            ("cache", self.cache == "exact" or self.form == "states", "exact unless form is 'states'"),
            ("feature_layers", len(self.feature_layers) >= 1, "at least one layer"),
            ("halt_above", self.halt_above is None or math.isfinite(self.halt_above), "finite"),
            ("converged_below", self.converged_below is None or self.converged_below > 0, "> 0"),
            ("gate_entropy", self.gate_entropy is None or self.gate_entropy >= 0, ">= 0 nats"),
        )  # fmt: skip
        sizes = ("hidden_size", "vocab_size", "num_key_value_heads", "intermediate_size", "num_layers")
        counts = tuple((name, getattr(self, name) >= 1, ">= 1") for name in (*sizes, "num_supervision", "num_latent"))
        check_fields(self, counts + checks)
        if self.form == "states" and self.may_stop_early:
            raise InputError(
                "form='states' cannot stop early or skip tokens: a later token attends to every state of every "
                "earlier one; leave halt_above, converged_below and gate_entropy unset, or use form='anchor'"
            )


def default_intermediate_size(hidden_size: int) -> int:
    """The official SwiGLU width: 2/3 of four times D, rounded up to a multiple of 256."""
    wanted = round(EXPANSION * hidden_size * 2 / 3)
    return -(-wanted // WIDTH_MULTIPLE) * WIDTH_MULTIPLE


def check_depth(depth: int) -> int:
    """Give back a number of deep recursions T that makes sense.

    Raises: InputError.
    """
    if isinstance(depth, bool) or not isinstance(depth, int) or not 0 <= depth <= MAX_DEPTH:
        raise InputError(f"depth must be an integer in [0, {MAX_DEPTH}], got {depth!r}")
    return depth


def check_names(names: Iterable[str]) -> None:
    """Raise InputError for a name that is no field of TRMConfig, with the nearest that is."""
    known = [field.name for field in dataclasses.fields(TRMConfig)]
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise InputError(f"TRMConfig has no setting {name!r}" + (f"; {hint}" if hint else ""))
