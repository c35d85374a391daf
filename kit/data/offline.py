"""What keeps the libraries of data, evaluation and training from calling home: their switches, all in this place.

Called before any of these libraries is imported; child processes inherit the switches. Whether the hub may be reached
is the user's own choice: HF_HUB_OFFLINE=1 forbids it, and it is left as it is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from types import MappingProxyType

SWITCHES: Mapping[str, str] = MappingProxyType(
    {
        "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub's send_telemetry, and the user agent's details
        "DO_NOT_TRACK": "1",  # the same, and what else keeps to the convention
        "RAY_USAGE_STATS_ENABLED": "0",  # Ray reports its usage unless it is told not to
        "WANDB_ERROR_REPORTING": "false",
        "TOKENIZERS_PARALLELISM": "false",  # calls nobody, but warns at every fork
    }
)


def forbid_telemetry(environ: MutableMapping[str, str] = os.environ) -> None:
    """Set the switches, except those that the user has set."""
    for name, value in SWITCHES.items():
        environ.setdefault(name, value)
