"""vLLM's own LLM.generate in a process of its own, told by lines of JSON; run by vLLM's interpreter.

    .venv-vllm/bin/python -m benchmarks.vllm_offline MODEL JOB own|inside

JOB: a JSON file with `arguments`, of `LLM`, and `requests`, as kit.engines.vllm.client.wire writes them. Each line on
standard input is a number of log-probabilities; each line on standard output tells of one run: seconds, texts, and
tokens. `own`: the engine core has a process of its own, as in the server; `inside`: it runs in this one.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any


def open_llm(model: str, arguments: dict[str, Any], *, has_own_process: bool) -> Any:
    """An LLM without a worker process, whatever its engine core runs in."""
    from vllm import LLM
    from vllm.v1.engine.llm_engine import LLMEngine

    if has_own_process:
        # VLLM_ENABLE_V1_MULTIPROCESSING=1 would do it on a GPU; the CPU build then insists on a worker that spins
        LLMEngine.from_engine_args = partial(LLMEngine.from_engine_args, enable_multiprocessing=True)
    return LLM(model=model, **arguments)


def generate(llm: Any, requests: list[dict[str, Any]], num_logprobs: int) -> dict[str, Any]:
    """All requests in one call."""
    from vllm import SamplingParams

    names = ("max_tokens", "seed", "temperature", "top_p", "top_k", "min_p", "skip_special_tokens")
    params = [
        SamplingParams(logprobs=num_logprobs or None, **{name: request[name] for name in names if name in request})
        for request in requests
    ]
    prompts = [{"prompt_token_ids": request["prompt"]} for request in requests]
    begun_s = time.perf_counter()
    outputs = llm.generate(prompts, params, use_tqdm=False)
    seconds = time.perf_counter() - begun_s
    drawn = [output.outputs[0] for output in outputs]
    return {
        "seconds": seconds,
        "num_tokens": sum(len(each.token_ids) for each in drawn),
        "texts": [each.text for each in drawn],
    }


def main() -> None:
    model, job_path, place = sys.argv[1:]
    job = json.loads(Path(job_path).read_text(encoding="utf-8"))
    llm = open_llm(model, job["arguments"], has_own_process=place == "own")
    print("READY", flush=True)
    for line in sys.stdin:
        print("RUN " + json.dumps(generate(llm, job["requests"], int(line))), flush=True)


if __name__ == "__main__":
    main()
