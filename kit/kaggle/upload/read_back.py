"""A pushed notebook as Kaggle has it, compared with what was asked for.

Kaggle takes a push and leaves out what it does not know or does not give: a Kaggle Model, a GPU, with no word that the
client would print. In: what was asked, in the words of kernel-metadata.json, and what Kaggle says of the notebook. Out:
what differs. More than was asked for is no difference, and what Kaggle does not tell is none either.

Kaggle's `machine_shape` is that of the last session (kagglesdk 0.1.38, ApiKernelMetadata), which a push begins; so it
may lag for a while. Never tried against the live site.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from kit.kaggle.upload.asking import Asking
from kit.kaggle.upload.client import KaggleClient
from kit.kaggle.upload.faults import KaggleError
from kit.kaggle.upload.pushed import Pushed

_KINDS = ("dataset", "competition", "kernel", "model")
_SWITCHES = {
    "enable_internet": ("the internet is off", "the internet is on"),
    "enable_gpu": ("there is no GPU", "a GPU is on"),
    "is_private": ("it is public", "it is private"),
}
"""What Kaggle has where a switch is off, and where it is on."""


def differences(asked: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[str, ...]:
    """What Kaggle has otherwise than asked, a line each."""
    return tuple(_differences(asked, found))


def check_read_back(client: KaggleClient, pushed: Pushed, *, asking: Asking, settle_s: float) -> None:
    """Compare until they agree, for `settle_s` at most.

    Raises: KaggleError naming what Kaggle has otherwise; or that it cannot be reached.
    """
    if lines := read_back(client, pushed, asking=asking, settle_s=settle_s):
        listed = "".join(f"\n  {line}" for line in lines)
        raise KaggleError(
            f"{pushed.ref}: version {pushed.version} was pushed, but Kaggle has it otherwise than asked:{listed}\n"
            f"check the names, and that your account may use them, then `kit push` again; "
            f"`kit submit --version {pushed.version}` takes it as it is"
        )


def read_back(client: KaggleClient, pushed: Pushed, *, asking: Asking, settle_s: float) -> tuple[str, ...]:
    """What Kaggle has otherwise than asked even after `settle_s`, a line each.

    Raises: KaggleError if it cannot be reached.
    """
    deadline_s = time.monotonic() + settle_s
    while (lines := _read_back(client, pushed, asking)) and time.monotonic() < deadline_s:
        time.sleep(min(asking.retry_policy.poll_s, max(0.0, deadline_s - time.monotonic())))
    return lines


def _read_back(client: KaggleClient, pushed: Pushed, asking: Asking) -> tuple[str, ...]:
    found = asking.ask(pushed.ref, partial(client.attached, pushed.ref))
    return ("it is not to be seen",) if found is None else differences(pushed.asked, found)


def _differences(asked: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    for kind in _KINDS:
        there = {name.lower() for name in found[f"{kind}_sources"]}
        for name in asked[f"{kind}_sources"]:
            if name.lower() not in there:
                yield f"the {kind} {name} is not attached"
    for name, words in _SWITCHES.items():
        if found[name] is not None and found[name] != asked[name]:
            yield words[found[name]]
    shape, image = found["machine_shape"], found["docker_image"]
    if shape and asked["machine_shape"] and shape.lower() != asked["machine_shape"].lower():
        yield f"the machine is {shape}, not {asked['machine_shape']}"
    if image and "docker_image" in asked and image != asked["docker_image"]:
        yield f"the image is {image}, not {asked['docker_image']}"
