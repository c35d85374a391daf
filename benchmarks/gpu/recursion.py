"""The TRM on one device in one precision: T = 0 against the backbone alone, cached decoding against recomputing.

    python -m benchmarks.gpu.recursion --device cuda --dtype bfloat16

In: nothing but the device; backbones and recursions are random. Out: a JSON object on the last line: `identity`, how
many nets there were and how many gave the backbone's logits bit for bit at T = 0; `error`, the largest relative error
of y and logits by depth over forms and nets; `wrong_argmax`, tokens with another argmax.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch

from kit.trm.language_model import RecursiveLM
from tests.trm import tiny_trm
from tests.trm.decoding_error import decoding_error

DEPTHS = (0, 3, 10)
NUM_SEEDS = 2


class Moved:
    """A model that takes its inputs from the CPU."""

    def __init__(self, model: RecursiveLM, device: str) -> None:
        self.model, self.device = model.to(device), device

    def __call__(self, ids: torch.Tensor, *, attention_mask: torch.Tensor | None = None, **more: Any) -> Any:
        mask = None if attention_mask is None else attention_mask.to(self.device)
        return self.model(ids.to(self.device), attention_mask=mask, **more)


def build(form: str, seed: int, device: str, dtype: torch.dtype) -> Moved:
    """A random backbone with a random recursion."""
    backbone = tiny_trm.backbone(dtype=dtype, seed=seed)
    return Moved(RecursiveLM(backbone, tiny_trm.trm_for(backbone, seed=100 + seed, form=form)).eval(), device)


@torch.no_grad()
def is_identity(moved: Moved) -> bool:
    """Whether T = 0 gives the backbone's own logits bit for bit, and T = 3 gives others."""
    ids = tiny_trm.ids(3, 17)
    plain = moved.model.backbone(ids.to(moved.device)).logits
    return torch.equal(moved(ids, depth=0).logits, plain) and not torch.equal(moved(ids, depth=3).logits, plain)


def measured(device: str, dtype: torch.dtype) -> dict[str, Any]:
    """The whole report."""
    nets = [build(form, seed, device, dtype) for form in tiny_trm.FORMS for seed in range(NUM_SEEDS)]
    error, num_wrong = {}, 0
    for depth in DEPTHS:
        errors = [decoding_error(net, [depth] * 3) for net in nets]  # type: ignore[arg-type]
        error[str(depth)] = max(max(each.y, each.logits) for each in errors)
        num_wrong += sum(len(each.wrong_argmax) for each in errors)
    same = sum(map(is_identity, nets))
    return {"identity": {"nets": len(nets), "same": same}, "error": error, "wrong_argmax": num_wrong}


def main() -> None:
    """Measure, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    args = parser.parse_args()
    print(json.dumps(measured(args.device, getattr(torch, args.dtype))))


if __name__ == "__main__":
    main()
