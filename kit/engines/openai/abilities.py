"""What a server can do, found out before the first attempt by asking for single tokens.

In: its address and model. Out: which of the kit's wishes it takes, and a sentence on each that it does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kit.engines.vllm.client.faults import RefusedError
from kit.engines.vllm.client.http import HttpClient
from kit.sampling import CONFIDENCE_TOP_K

PROBE_TIMEOUT_S = 120.0  # the first token of a large model may compile something
_OPTIONAL: Mapping[str, Any] = {"seed": 1, "top_k": 1, "min_p": 0.1, "presence_penalty": 0.1}
_LOSSES = {
    "seed": "samples cannot be repeated",
    "top_k": "top_k is left out",
    "min_p": "min_p is left out",
    "presence_penalty": "the presence penalty is left out",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a chat endpoint takes. fields: optional ones of a request. num_logprobs: likeliest tokens told of each;
    0: none. counts_tokens: whether a stream ends with how many tokens it had. continues: whether it goes on with an
    assistant's turn when told to, as vLLM does.
    """

    fields: frozenset[str] = frozenset()
    num_logprobs: int = 0
    counts_tokens: bool = False
    continues: bool = False

    def takes(self, field: str) -> bool:
        """Whether a request may have this field."""
        return field in self.fields

    @property
    def lacks(self) -> tuple[str, ...]:
        """What is done without, a few words each."""
        missing = [f"{name}: {loss}" for name, loss in _LOSSES.items() if name not in self.fields]
        if not self.num_logprobs:
            missing.append("logprobs: votes are weighed by their count alone")
        if not self.continues:
            missing.append("continuing a turn: the last call for an answer is a turn of its own")
        return tuple(missing)


async def find_abilities(http: HttpClient, url: str, *, model: str, is_vllm: bool) -> Abilities:
    """Ask for one token with everything; where that is refused, with each wish alone.

    Raises: RefusedError for a server that refuses the plainest chat; BrokenError for one that does not answer.
    """

    async def answer(**extra: Any) -> Mapping[str, Any] | None:
        body = {"model": model, "messages": [{"role": "user", "content": "1"}], "max_tokens": 1, **extra}
        try:
            answered: Mapping[str, Any] = await http.post_json(
                f"{url}/v1/chat/completions", {**body, "temperature": 1.0}, timeout_s=PROBE_TIMEOUT_S
            )
        except RefusedError:
            return None
        return answered

    logprobs = {"logprobs": True, "top_logprobs": CONFIDENCE_TOP_K}
    everything = await answer(**_OPTIONAL, **logprobs)
    if everything is not None:
        fields = frozenset(_OPTIONAL)
    else:
        await http.post_json(  # what is wrong with the plainest chat is the user's to know
            f"{url}/v1/chat/completions",
            {"model": model, "messages": [{"role": "user", "content": "1"}], "max_tokens": 1},
            timeout_s=PROBE_TIMEOUT_S,
        )
        fields = frozenset([name for name, value in _OPTIONAL.items() if await answer(**{name: value}) is not None])
        everything = await answer(**logprobs)
    counts = await answer(stream=False, stream_options=None) is not None
    return Abilities(
        fields=fields,
        num_logprobs=CONFIDENCE_TOP_K if _tells_logprobs(everything) else 0,
        counts_tokens=counts,
        continues=is_vllm,
    )


def _tells_logprobs(answered: Mapping[str, Any] | None) -> bool:
    """Whether an answer holds log-probabilities: some servers take the wish and do not fulfil it."""
    match answered:
        case {"choices": [{"logprobs": {"content": [{"top_logprobs": [_, *_]}, *_]}}, *_]}:
            return True
    return False
