"""Records as a competition's journal has them."""

from typing import Any

Record = dict[str, Any]

RUN: Record = {"settings": {"budget": {"limit_s": 3600.0, "reserve_s": 600.0, "num_problems": 3}}}
HEAD: Record = {"kind": "run", **RUN}


def key_of(problem_id: str) -> str:
    return f"{problem_id}:0123456789ab"


def sample(problem_id: str, number: int, begun_s: float, ended_s: float, answer: int | None, **more: Any) -> Record:
    record = {"kind": "sample", "problem": key_of(problem_id), "number": number, "finish": "stop", "num_tokens": 100}
    return record | {"begun_s": begun_s, "ended_s": ended_s, "answer": answer, "weight": 1.0, "depth": None} | more


def cut(problem_id: str, number: int, begun_s: float, ended_s: float) -> Record:
    times = {"begun_s": begun_s, "ended_s": ended_s}
    return {"kind": "cancelled", "problem": key_of(problem_id), "number": number, **times}


def solution(problem_id: str, begun_s: float, ended_s: float, answer: int = 7, **more: Any) -> Record:
    record = {"kind": "solution", "problem": key_of(problem_id), "problem_id": problem_id, "answer": answer}
    record |= {"reason": "decided", "votes": [[answer, 2]], "num_samples": 2, "num_tokens": 200, "guess": ""}
    times = {"begun_s": begun_s, "ended_s": ended_s, "allotted_s": 300.0, "seconds": ended_s - begun_s}
    return record | times | more
