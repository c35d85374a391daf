"""What a Kaggle Model will lack, told without a mount: from the listing that was taken when it was named.

In: the manifest's account of the model and the names of the dataset's own files for it. Out: findings. Of the files
only names are known, so what they hold is checked where they are mounted.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from kit.engines.text.model_folder import INDEX, SINGLE, TOKENIZER_FILES
from kit.kaggle.dataset.manifest import Manifest, ModelSource
from kit.kaggle.findings import Finding, error, warning

_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")
_ADD = "put it into the dataset: `kit build --model-file FILE`"


def check_listing(source: ModelSource, own: Collection[str]) -> Iterator[Finding]:
    """What the model will lack once it is joined with the dataset's own files. own: their names."""
    if not source.files:
        fix = "build where the credentials are, or with --model and a copy of it, to have it listed"
        yield warning(source.ref, "what it holds was not listed when it was named, so nothing can be told of it", fix)
        return
    if not source.is_listed:
        fix = "build where the credentials are, or see on its page that it holds these weights"
        yield warning(source.ref, "Kaggle never listed it: its weights are taken to be those of the copy", fix)
    names = {*own, *(file.file for file in source.files)}
    if "config.json" not in names:
        yield error(source.ref, "it has no config.json; a model in Hugging Face's layout is expected", _ADD)
    if not names & set(TOKENIZER_FILES):
        yield error(source.ref, f"it has no tokenizer, none of {', '.join(TOKENIZER_FILES)}", _ADD)
    if not names & {"chat_template.jinja", "chat_template.json", "tokenizer_config.json"}:
        yield warning(source.ref, "it has no chat template", _ADD)
    yield from _check_weights(source.ref, names)


def _check_weights(ref: str, names: Collection[str]) -> Iterator[Finding]:
    fix = "name a variation that is whole and in safetensors"
    if SINGLE not in names and INDEX not in names:
        others = sorted(name for name in names if name.endswith((".gguf", ".bin", ".pt", ".pth")))
        found = f", but {others[0]}" if others else ""
        yield error(ref, f"it has neither {SINGLE} nor {INDEX}{found}", fix)
    shards = [shard for name in names if (shard := _SHARD.fullmatch(name))]
    for stem, total in sorted({(shard[1], shard[3]) for shard in shards}):
        for number in range(1, int(total) + 1):
            name = f"{stem}-{number:05}-of-{total}.safetensors"
            if name not in names:
                yield error(ref, f"it has no {name}", fix)


def check_ref_built_for(manifest: Manifest, ref: str) -> Iterator[Finding]:
    """Whether the dataset was built for this very version of this Kaggle Model."""
    built = manifest.model_source
    if built is None:
        yield error(ref, "the dataset was built with a model of its own", f"`kit build --model-source {ref}`")
    elif built.ref != ref:
        yield error(ref, f"the dataset was built for {built.ref}", f"attach that, or `kit build --model-source {ref}`")
