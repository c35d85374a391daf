"""How deep a server recurses, for servers that do (kit.engines.vllm.plugin), and who decides it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kit.errors import EngineError
from kit.sampling import SamplingParams


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedDepth:
    """default: T of a request without depth. argument: in which a request names its depth; None: it cannot."""

    default: int
    argument: str | None

    def of(self, params: SamplingParams) -> int:
        """The depth of a call.

        Raises: EngineError where the server cannot serve it.
        """
        depth = self.default if params.depth is None else params.depth
        if self.argument is None and depth != self.default:
            raise EngineError(
                f"depth {depth}: this server recurses to depth {self.default} only, as form='states' needs one "
                "depth for all; start it at the depth wanted, or use form='anchor'"
            )
        return depth

    def arguments(self, params: SamplingParams) -> dict[str, Any]:
        """What a request adds for its depth."""
        return {} if self.argument is None else {"vllm_xargs": {self.argument: self.of(params)}}
