"""A model that is attached as a Kaggle Model: what it holds, and what of the builder's own copy has to travel besides.

In: the files of the builder's copy, if there is one, and Kaggle's own listing, if it could be taken. Out: the
manifest's account of the model, and the files that the Kaggle Model lacks. Nothing is written.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from kit.errors import InputError
from kit.kaggle.dataset.contents import Source
from kit.kaggle.dataset.manifest import ListedFile, ModelSource
from kit.kaggle.transfer import sha256_of

_WEIGHTS = (".safetensors", ".safetensors.index.json")


def files_besides(sources: Sequence[Source], listing: Sequence[ListedFile]) -> tuple[Source, ...]:
    """The files of the builder's copy that Kaggle does not list; where its listing is not known, all but the weights.

    Raises: InputError for a copy of another model: one whose weights Kaggle does not have, or has in another size.
    """
    if not listing:  # the Kaggle Model may lack any of them
        return tuple(source for source in sources if not source.file.name.endswith(_WEIGHTS))
    listed = {each.file: each.size_bytes for each in listing}
    besides = []
    for source in sources:
        name, expected_bytes = source.file.name, listed.get(source.file.name)
        if name.endswith(_WEIGHTS) and expected_bytes != source.size_bytes:
            there = "has no such file" if expected_bytes is None else f"has {expected_bytes:,} bytes there"
            fix = "name the folder of that very version, or leave --model out"
            raise InputError(f"{source.file}: {source.size_bytes:,} bytes, the Kaggle Model {there}; {fix}")
        if expected_bytes != source.size_bytes:
            besides.append(source)
    return tuple(besides)


def model_source_of(
    ref: str, sources: Sequence[Source], listing: Sequence[ListedFile], *, without: Collection[str]
) -> ModelSource:
    """What the Kaggle Model `ref` holds: Kaggle's listing, else the weights of the builder's copy, hashed in parallel.

    without: names of files that the dataset holds itself.
    """
    own = {source.file.name: source for source in sources}
    weights = {name: each.size_bytes for name, each in own.items() if name.endswith(_WEIGHTS)}
    sizes = {each.file: each.size_bytes for each in listing} or weights
    names = sorted(name for name in sizes if name not in without)
    known = [name for name in names if name in own and own[name].size_bytes == sizes[name]]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        hashes = dict(zip(known, pool.map(lambda name: sha256_of(own[name].file), known), strict=True))
    return ModelSource(
        ref=ref,
        files=tuple(ListedFile(file=name, size_bytes=sizes[name], sha256=hashes.get(name)) for name in names),
        is_listed=bool(listing),
    )
