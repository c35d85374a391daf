"""The model card of a TRM: its config and what it was trained on in, Markdown with the hub's header out. Pure."""

from __future__ import annotations

from kit.data.provenance import Provenance
from kit.trm.config import TRMConfig

CARD = "README.md"

_HEADER = """\
---
library_name: transformers
pipeline_tag: text-generation
{base}tags:
- trm
- recursive-reasoning
---
"""

_BODY = """
# A Tiny Recursive Model on {backbone}

{num_parameters:,} parameters that recurse over the hidden states of a frozen backbone: {num_layers} layers, form
`{form}`, n = {num_latent} latent updates a recursion, T = {depth} recursions unless a call says otherwise. At T = 0 it
is the backbone, bit for bit. The backbone is not in this repository; its weights have the hash
`{sha256}`, and others are refused.

## Use

```python
from kit.engines.trm.sharing import register_auto_classes
from transformers import AutoModelForCausalLM, AutoTokenizer

register_auto_classes()
model = AutoModelForCausalLM.from_pretrained("{placeholder}")
tokenizer = AutoTokenizer.from_pretrained("{backbone}")
prompt = tokenizer("What is 3 + 4?", return_tensors="pt")
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=64, depth={depth})[0]))
```

## Training

{training}

## Limits

A recursion over the features of any other model is noise. Whether more recursions help has to be measured for each
task; `kit eval --depth` does so, with intervals. The licence is that of the backbone and of the data; name it above.

Source: Less is More: Recursive Reasoning with Tiny Networks (arXiv 2510.04871).
"""

_UNKNOWN = "Nothing is recorded of it; say here what it was trained on, and how it was measured."


def model_card(config: TRMConfig, provenance: Provenance | None, *, num_parameters: int) -> str:
    """The text of README.md."""
    backbone = config.backbone_id or "its backbone"
    base = f"base_model: {config.backbone_id}\n" if config.backbone_id else ""
    body = _BODY.format(
        backbone=backbone,
        num_parameters=num_parameters,
        num_layers=config.num_layers,
        form=config.form,
        num_latent=config.num_latent,
        depth=config.depth,
        sha256=config.backbone_sha256,
        placeholder="owner/name of this repository",
        training=_UNKNOWN if provenance is None else _training(provenance),
    )
    return _HEADER.format(base=base) + body


def _training(provenance: Provenance) -> str:
    return (
        f"On {provenance.training_data} (sha256 of the examples `{provenance.data_sha256}`): {provenance.note}, "
        f"{provenance.trainable_parameters:,} trained parameters."
    )
