"""The local server and gateway: the real one's behaviour, and the faults that it would only show on Kaggle."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from kit.errors import EngineError, InputError, KitError, MissingError
from kit.kaggle.evaluation_double.answer_sheet import GatewayError, GatewayErrorType
from kit.kaggle.evaluation_double.gateway import (
    GatewaySettings,
    LocalGateway,
    Progress,
    main,
)
from kit.kaggle.evaluation_double.protocol import StaleServerError
from kit.kaggle.evaluation_double.server import LocalInferenceServer
from kit.kaggle.facts import RERUN_VARIABLE
from tests.waiting import PATIENCE_S, block_until, longer_and_longer

IDS = [f"q{number:02}" for number in range(12)]
Predict = Callable[..., Any]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # submission.parquet is written where one stands
    monkeypatch.delenv(RERUN_VARIABLE, raising=False)
    return tmp_path


@pytest.fixture
def questions(folder: Path) -> Path:
    """Twelve questions; the answer to q07 is 7. One problem has a comma and a line break, as LaTeX does."""
    rows = [f'{id_},"What is ${int(id_[1:])}, exactly\nthat$?"' for id_ in IDS]
    csv = folder / "test.csv"
    csv.write_text("\n".join(["id,problem", *rows]) + "\n")
    return csv


def number_in(id_: pl.Series) -> int:
    return int(id_[0][1:])


def right(id_: pl.Series, problem: pl.Series, answer: pl.Series | None = None) -> pl.DataFrame:
    return pl.DataFrame({"id": id_, "answer": number_in(id_)})


def answering(make: Callable[[pl.Series], Any]) -> Predict:
    """A `predict` around a lambda: the server takes plain named functions only."""

    def predict(id_: pl.Series, problem: pl.Series) -> Any:
        return make(id_)

    return predict


def run(
    predict: Predict, csv: Path, *, on_answer: Callable[[Progress], None] | None = None, **settings: Any
) -> pl.DataFrame:
    """A dry run on any free port, with a clock that says the server starts in time."""
    predict.__name__ = "predict"
    server = LocalInferenceServer(predict, ports=(0,), started_at_s=time.monotonic())
    return server.run_local_gateway((csv,), settings=GatewaySettings(**settings), on_answer=on_answer)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- The happy path ---------------------------------------------------------------------------------


def test_a_run_writes_every_answer_once_beside_its_id(questions: Path, folder: Path) -> None:
    submission = run(right, questions)
    assert submission.schema == {"id": pl.String, "answer": pl.Int64}
    assert dict(submission.iter_rows()) == {id_: int(id_[1:]) for id_ in IDS}
    assert submission.equals(pl.read_parquet(folder / "submission.parquet"))
    assert [path.name for path in folder.iterdir() if "unfinished" in path.name] == []


def test_predict_gets_one_polars_series_of_one_row_per_column(questions: Path) -> None:
    seen: list[tuple[pl.Series, ...]] = []

    def predict(id_: pl.Series, problem: pl.Series) -> pl.DataFrame:
        seen.append((id_, problem))
        return right(id_, problem)

    run(predict, questions)
    assert len(seen) == len(IDS)
    assert {tuple((s.name, s.dtype, len(s)) for s in row) for row in seen} == {
        (("id", pl.String, 1), ("problem", pl.String, 1))
    }
    assert "What is $7, exactly\nthat$?" in [problem[0] for _, problem in seen]


def test_with_an_answer_column_predict_gets_a_third_series(folder: Path) -> None:
    csv = folder / "reference.csv"
    csv.write_text("id,problem,answer\nq01,one,1\nq02,two,2\n")
    golds: list[int] = []

    def predict(id_: pl.Series, problem: pl.Series, answer: pl.Series | None = None) -> pl.DataFrame:
        assert answer is not None
        assert answer.dtype == pl.Int64
        golds.append(answer[0])
        return pl.DataFrame({"answer": answer})

    assert dict(run(predict, csv).iter_rows()) == {"q01": 1, "q02": 2}
    assert sorted(golds) == [1, 2]


def test_with_an_answer_column_a_predict_of_two_parameters_fails_as_on_kaggle(folder: Path) -> None:
    csv = folder / "reference.csv"
    csv.write_text("id,problem,answer\nq01,one,1\n")
    with pytest.raises(GatewayError, match="takes 2 positional arguments but 3 were given"):
        run(answering(number_in), csv)


@pytest.mark.parametrize(
    "make",
    [
        lambda id_: pl.DataFrame({"id": id_, "answer": number_in(id_)}),
        lambda id_: pl.DataFrame({"answer": [number_in(id_)]}),
        lambda id_: pl.DataFrame({"answer": [number_in(id_)], "id": id_}),
        lambda id_: pl.DataFrame({"answer": [number_in(id_)]}, schema={"answer": pl.UInt8}),
    ],
    ids=["polars", "polars without id", "answer first", "polars UInt8"],
)
@pytest.mark.parametrize("strict", [True, False])
def test_frames_are_accepted(questions: Path, make: Callable[[pl.Series], Any], strict: bool) -> None:
    submission = run(answering(make), questions, strict=strict)
    assert submission.columns == ["id", "answer"]
    assert dict(submission.iter_rows()) == {id_: int(id_[1:]) for id_ in IDS}


def test_predict_runs_in_a_thread_that_is_not_the_main_one(questions: Path) -> None:
    threads: set[int] = set()
    run(answering(lambda id_: threads.add(threading.get_ident()) or right(id_, id_)), questions)
    assert len(threads) == 1
    assert threading.main_thread().ident not in threads


def test_progress_is_told_after_every_answer(questions: Path) -> None:
    told: list[Progress] = []
    submission = run(right, questions, on_answer=told.append)
    assert [progress.question_id for progress in told] == submission["id"].to_list()
    assert [progress.position for progress in told] == list(range(1, 13))
    assert {progress.num_questions for progress in told} == {12}


def test_two_runs_differ_in_order(questions: Path) -> None:
    orders = {tuple(run(right, questions)["id"].to_list()) for _ in range(3)}
    assert len(orders) > 1  # by chance once in 12!**2


# --- What predict may do wrong ----------------------------------------------------------------------


def raising(id_: pl.Series) -> Any:
    raise ZeroDivisionError("no “inverse”\nof 0")


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("make", "error_type"),
    [
        (lambda _: None, GatewayErrorType.INVALID_SUBMISSION),
        (lambda _: [7], GatewayErrorType.INVALID_SUBMISSION),
        (lambda _: {"answer": 7}, GatewayErrorType.INVALID_SUBMISSION),
        (lambda _: np.int32(7), GatewayErrorType.INVALID_SUBMISSION),
        (lambda _: pl.DataFrame({"answer": [7, 8]}), GatewayErrorType.INVALID_SUBMISSION),
        (lambda _: pl.DataFrame({"answer": []}), GatewayErrorType.INVALID_SUBMISSION),
        (raising, GatewayErrorType.SERVER_RAISED_EXCEPTION),
        (lambda _: 2**63, GatewayErrorType.SERVER_RAISED_EXCEPTION),
        (lambda _: object(), GatewayErrorType.SERVER_RAISED_EXCEPTION),
    ],
    ids=["None", "list", "dict", "np.int32", "two rows", "no row", "raises", "int 2**63", "object"],
)
def test_what_the_real_gateway_refuses_ends_the_run_at_the_first_question(
    questions: Path,
    folder: Path,
    make: Callable[[pl.Series], Any],
    error_type: GatewayErrorType,
    strict: bool,
) -> None:
    calls: list[int] = []
    with pytest.raises(GatewayError) as caught:
        run(answering(lambda id_: calls.append(1) or make(id_)), questions, strict=strict)
    assert caught.value.error_type is error_type
    assert len(calls) == 1
    assert not (folder / "submission.parquet").exists()


def test_the_message_of_what_predict_raised_is_told_whole(questions: Path) -> None:
    with pytest.raises(GatewayError) as caught:
        run(answering(raising), questions)
    assert caught.value.error_details == "no “inverse”\nof 0"


SILENT_FAULTS = {
    "wrong column": (lambda id_: pl.DataFrame({"id": id_, "prediction": 7}), "prediction"),
    "extra column": (lambda id_: pl.DataFrame({"answer": [7], "note": "x"}), "note"),
    "string": (lambda _: pl.DataFrame({"answer": "7"}), "'7'"),
    "null": (lambda _: pl.DataFrame({"answer": [None]}), "None"),
    "float": (lambda _: pl.DataFrame({"answer": 7.0}), "7.0"),
    "bool": (lambda _: pl.DataFrame({"answer": True}), "True"),
    "negative": (lambda _: pl.DataFrame({"answer": -1}), "-1"),
    "100000": (lambda _: pl.DataFrame({"answer": 100_000}), "100000"),
    "2**63": (lambda _: pl.DataFrame({"answer": [2**63]}), str(2**63)),
    "one string among ints": (
        lambda id_: pl.DataFrame({"answer": ["7"] if id_[0] == "q03" else [7]}),
        "q03",
    ),
}


@pytest.mark.parametrize(("make", "told"), SILENT_FAULTS.values(), ids=SILENT_FAULTS)
def test_what_kaggle_would_score_wrong_without_a_word_is_refused_by_the_strict_gateway(
    questions: Path, folder: Path, make: Callable[[pl.Series], Any], told: str
) -> None:
    with pytest.raises(GatewayError, match="INVALID_SUBMISSION") as caught:
        run(answering(make), questions)
    assert told in caught.value.error_details
    assert not (folder / "submission.parquet").exists()


@pytest.mark.parametrize(("make", "told"), SILENT_FAULTS.values(), ids=SILENT_FAULTS)
def test_the_lenient_gateway_lets_it_pass_as_the_real_one_does(
    questions: Path, make: Callable[[pl.Series], Any], told: str
) -> None:
    assert run(answering(make), questions, strict=False).height == len(IDS)


@pytest.mark.parametrize(
    "answer",
    [7, 7.0, "7", True, np.int64(7), pl.Series("answer", [7])],
    ids=["int", "float", "str", "bool", "np.int64", "pl.Series"],
)
def test_bare_values_fail_at_once_if_strict_and_only_at_the_end_if_lenient(questions: Path, answer: object) -> None:
    calls: list[int] = []
    predict = answering(lambda _: calls.append(1) or answer)
    with pytest.raises(GatewayError, match=r"INVALID_SUBMISSION.*bare"):
        run(predict, questions)
    assert len(calls) == 1
    with pytest.raises(GatewayError, match="GATEWAY_RAISED_EXCEPTION"):
        run(predict, questions, strict=False)
    assert len(calls) == 1 + len(IDS)


def test_a_wrong_id_is_refused_if_strict_and_overwritten_if_lenient(questions: Path) -> None:
    predict = answering(lambda id_: pl.DataFrame({"id": "q00", "answer": number_in(id_)}))
    with pytest.raises(GatewayError, match="bears the id 'q00'"):
        run(predict, questions)
    assert sorted(run(predict, questions, strict=False)["id"]) == IDS


@pytest.mark.parametrize(("strict", "num_asked"), [(True, 2), (False, 12)])
@pytest.mark.parametrize(
    "first",
    [
        lambda id_: pl.DataFrame({"id": id_, "answer": 0}),
        lambda id_: pl.DataFrame({"id": id_, "answer": 0}).select("answer", "id"),
    ],
    ids=["with id", "answer before id"],
)
def test_a_first_answer_of_another_make_than_the_rest_is_refused(
    questions: Path, first: Callable[[pl.Series], Any], strict: bool, num_asked: int
) -> None:
    """The real gateway joins the answers only after the last question, and fails then."""
    asked: list[str] = []

    def predict(id_: pl.Series, problem: pl.Series) -> Any:
        asked.append(id_[0])
        return first(id_) if len(asked) == 1 else pl.DataFrame({"answer": [0]})

    with pytest.raises(GatewayError, match=r"INVALID_SUBMISSION|GATEWAY_RAISED_EXCEPTION"):
        run(predict, questions, strict=strict)
    assert len(asked) == num_asked


def test_a_failed_run_leaves_no_submission_of_an_earlier_one(questions: Path, folder: Path) -> None:
    run(right, questions)
    with pytest.raises(GatewayError):
        run(answering(lambda _: None), questions)
    assert not (folder / "submission.parquet").exists()


def test_a_sys_exit_in_predict_is_told_instead_of_hanging(questions: Path) -> None:
    """The real pair hangs here until the nine-hour deadline: gRPC's worker dies without an answer."""
    with pytest.raises(GatewayError, match=r"SERVER_RAISED_EXCEPTION.*SystemExit\(3\)"):
        run(answering(lambda _: sys.exit(3)), questions)


def test_a_slow_first_answer_is_waited_for_and_a_slow_later_one_is_not(questions: Path) -> None:
    calls: list[int] = []
    release = threading.Event()
    deadline_s = 0.0

    def predict(id_: pl.Series, problem: pl.Series) -> pl.DataFrame:
        calls.append(1)
        if len(calls) == 1:
            time.sleep(deadline_s + 0.3)  # longer than the deadline of the others
        if len(calls) == 3:
            release.wait(PATIENCE_S)
        return right(id_, problem)

    for deadline_s in longer_and_longer(0.5):
        calls.clear()
        release.clear()
        try:
            with pytest.raises(GatewayError, match="GRPC_DEADLINE_EXCEEDED"):
                run(predict, questions, answer_deadline_s=deadline_s)
        finally:
            release.set()
        if len(calls) != 2:  # on a slow machine the second answer may be too late as well
            break
    assert len(calls) == 3


# --- The server -------------------------------------------------------------------------------------


class Model:
    def predict(self, id_: pl.Series, problem: pl.Series) -> pl.DataFrame:
        return right(id_, problem)

    __call__ = predict


@pytest.mark.parametrize(
    "function",
    [Model().predict, Model(), lambda id_, problem: None, partial(right), len],
    ids=["bound method", "callable object", "lambda", "partial", "builtin"],
)
def test_only_named_plain_functions_are_served(function: Predict) -> None:
    with pytest.raises(InputError, match="def predict"):
        LocalInferenceServer(function)


def test_a_server_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="pass predict"):
        LocalInferenceServer()


def test_a_function_of_another_name_is_a_missing_endpoint(questions: Path) -> None:
    def solve(id_: pl.Series, problem: pl.Series) -> pl.DataFrame:
        return right(id_, problem)

    server = LocalInferenceServer(solve, ports=(0,), started_at_s=time.monotonic())
    with pytest.raises(GatewayError, match=r"SERVER_MISSING_ENDPOINT.*predict"):
        server.run_local_gateway((questions,))


def test_outside_a_rerun_serve_returns_at_once_and_goes_on_serving(questions: Path) -> None:
    server = LocalInferenceServer(answering(lambda id_: right(id_, id_)), ports=(0,))
    server.serve()
    try:
        assert LocalGateway(questions, settings=GatewaySettings(ports=(server.port,))).run().height == 12
    finally:
        server.stop()


def test_a_server_serves_once(questions: Path) -> None:
    with LocalInferenceServer(answering(number_in), ports=(0,), started_at_s=time.monotonic()) as server:
        pass
    with pytest.raises(EngineError, match="once"):
        server.start()
    with pytest.raises(EngineError, match="once"):
        server.run_local_gateway((questions,))


def test_a_server_has_no_port_before_it_starts() -> None:
    with pytest.raises(EngineError, match="before it is started"):
        _ = LocalInferenceServer(answering(number_in)).port


def test_threads_and_port_are_free_after_a_run(questions: Path) -> None:
    before = set(threading.enumerate())
    port = free_port()
    for _ in range(2):
        server = LocalInferenceServer(
            answering(lambda id_: right(id_, id_)), ports=(port,), started_at_s=time.monotonic()
        )
        server.run_local_gateway((questions,))
    block_until(lambda: not set(threading.enumerate()) - before)


def test_runs_write_nothing_to_stderr(questions: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """gRPC's core logged "Got goaway ... Cancelling all calls" now and then when the server stopped at once."""
    for _ in range(30):
        run(right, questions)
    assert capfd.readouterr().err == ""


def test_a_stale_server_on_an_earlier_port_is_an_error(questions: Path) -> None:
    """The real gateway asks the first port that answers, so the function of an earlier cell would be scored."""
    with LocalInferenceServer(answering(number_in), ports=(0,)) as stale:
        new = LocalInferenceServer(answering(number_in), ports=(stale.port, 0))
        with pytest.raises(StaleServerError, match=f"port {stale.port} is taken"):
            new.start()
    assert issubclass(StaleServerError, KitError)


def test_two_listening_servers_are_an_error_to_the_gateway(questions: Path) -> None:
    def predict(id_: pl.Series, problem: pl.Series) -> None:
        raise AssertionError("nobody may be asked")

    with LocalInferenceServer(predict, ports=(0,)) as one, LocalInferenceServer(predict, ports=(0,)) as two:
        gateway = LocalGateway(questions, settings=GatewaySettings(ports=(one.port, two.port)))
        with pytest.raises(StaleServerError, match=str(two.port)):
            gateway.run()


def test_a_port_of_another_program_is_passed_over_with_a_warning(questions: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as jupyter:
        taken = jupyter.getsockname()[1]
        server = LocalInferenceServer(answering(lambda id_: right(id_, id_)), ports=(taken, 0))
        with pytest.warns(RuntimeWarning, match=f"port {taken} belongs to another program"):
            server.start()
        assert server.port != taken
        server.stop()


def test_no_free_port_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = LocalInferenceServer(answering(number_in), ports=(other.getsockname()[1],))
        with pytest.warns(RuntimeWarning, match="another program"), pytest.raises(EngineError, match="is free"):
            server.start()


def test_a_server_started_after_the_limit_is_warned_of(questions: Path) -> None:
    server = LocalInferenceServer(
        answering(lambda id_: right(id_, id_)), ports=(0,), started_at_s=time.monotonic() - 901
    )
    with pytest.warns(RuntimeWarning, match="gives up after 900 s"):
        server.run_local_gateway((questions,))


# --- The questions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,question\na,b\n", "expected id,problem"),
        ("problem,id\na,b\n", "in this order"),
        ("id,problem\n", "no question"),
        ("id,problem\na,b\na,c\n", "'a' stands more than once"),
        ("id,problem\na,\n", "row 1 has a blank id or problem"),
        ("id,problem\na,b\n,c\n", "row 2 has a blank id or problem"),
        ("id,problem\na,b\n\nc,d\n", "row 2 is a blank line"),
        ("id,problem\na,b\nc,d,e\n", "row 2 has 3 fields"),
        ("id,problem\n007,a\n008,b\n", "row 1: Kaggle's gateway reads '007' as '7'"),
        ("id,problem\n7,true\n8,false\n", "row 1: Kaggle's gateway reads 'true' as 'True'"),
        ("id,problem\n1e3,a\n", "row 1: Kaggle's gateway reads '1e3' as '1000.0'"),
        ("", "the file is empty"),
    ],
)
def test_a_bad_file_of_questions_is_told_before_anything_is_asked(folder: Path, text: str, told: str) -> None:
    csv = folder / "bad.csv"
    csv.write_text(text)
    with pytest.raises(InputError, match=told):
        run(answering(lambda _: pytest.fail("nobody may be asked")), csv)


def test_ids_that_all_look_like_numbers_arrive_as_numbers_as_on_kaggle(folder: Path) -> None:
    csv = folder / "numbers.csv"
    csv.write_text("id,problem\n7,a\n8,b\n")
    seen: list[Any] = []

    def predict(id_: pl.Series, problem: pl.Series) -> pl.DataFrame:
        seen.append(id_)
        return pl.DataFrame({"id": [str(id_[0])], "answer": [1]})

    submission = run(predict, csv)
    assert {series.dtype for series in seen} == {pl.Int64()}
    assert submission.schema == {"id": pl.Int64, "answer": pl.Int64}


def test_a_lenient_gateway_asks_blank_ids_and_numbers_with_zeros_as_the_real_one_does(folder: Path) -> None:
    csv = folder / "odd.csv"
    for text, ids in (("id,problem\n,a\nq8,b\n", {None, "q8"}), ("id,problem\n007,a\n008,b\n", {7, 8})):
        csv.write_text(text)
        submission = run(answering(lambda _: pl.DataFrame({"answer": [1]})), csv, strict=False)
        assert set(submission["id"]) == ids


def test_a_missing_file_is_told(folder: Path) -> None:
    with pytest.raises(MissingError, match=r"nowhere\.csv"):
        run(right, folder / "nowhere.csv")


def test_a_missing_folder_for_the_submission_is_told_before_anything_is_asked(questions: Path) -> None:
    with pytest.raises(MissingError, match="nowhere"):
        run(answering(lambda _: pytest.fail("nobody may be asked")), questions, out=Path("nowhere/out.parquet"))


# --- Processes of their own -------------------------------------------------------------------------

SERVER = """
import os, polars as pl
from kit.kaggle.evaluation_double.server import LocalInferenceServer
calls = []
def predict(id_, problem):
    calls.append(1)
    if len(calls) == {dies_at}: os._exit(1)
    return pl.DataFrame({{"id": id_, "answer": int(id_[0][1:])}})
LocalInferenceServer(predict, ports=({port},)).serve()
print("serve returned")
"""


@pytest.fixture
def start_server(repo: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a server as the rerun's kernel does: a process that serves and never returns."""
    started: list[subprocess.Popen[str]] = []

    def start(port: int, *, dies_at: int = 0) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", SERVER.format(port=port, dies_at=dies_at)],
            env={**os.environ, RERUN_VARIABLE: "", "PYTHONPATH": str(repo)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_gateway_process_asks_a_serving_process_that_starts_later(
    repo: Path, questions: Path, folder: Path, start_server: Callable[..., subprocess.Popen[str]]
) -> None:
    port = free_port()
    command = [sys.executable, "-W", "error", "-m", "kit.kaggle.evaluation_double.gateway", "--csv", str(questions)]
    gateway = subprocess.Popen(
        [*command, "--out", "out.parquet", "--ports", str(port), "--startup-limit-s", "600"],
        env={**os.environ, "PYTHONPATH": str(repo)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    server = start_server(port)
    told, complaints = gateway.communicate(timeout=600)
    assert (gateway.returncode, complaints) == (0, "")
    assert told.splitlines()[-1].startswith("12/12 q")
    assert dict(pl.read_parquet(folder / "out.parquet").iter_rows()) == {id_: int(id_[1:]) for id_ in IDS}
    assert json.loads((folder / "result.json").read_text()) == {"Succeeded": True}

    assert server.poll() is None  # after the last question it still serves
    server.send_signal(signal.SIGINT)
    output, complaints = server.communicate(timeout=600)
    assert complaints.rstrip().endswith("KeyboardInterrupt")
    assert "fork" not in complaints
    assert output == ""


def test_a_server_that_dies_midway_is_a_failed_connection(
    questions: Path, start_server: Callable[..., subprocess.Popen[str]]
) -> None:
    port = free_port()
    start_server(port, dies_at=3)
    told: list[Progress] = []
    gateway = LocalGateway(
        questions, settings=GatewaySettings(ports=(port,), startup_limit_s=600), on_answer=told.append
    )
    with pytest.raises(GatewayError, match="SERVER_CONNECTION_FAILED: UNAVAILABLE"):
        gateway.run()
    assert len(told) == 2


def test_a_server_that_never_starts_is_told_by_status_and_result_file(
    questions: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--csv", str(questions), "--ports", str(free_port()), "--startup-limit-s", "0"]
    assert main(arguments) == 1
    result = json.loads((folder / "result.json").read_text())
    assert (result["Succeeded"], result["ErrorType"], result["ErrorName"]) == (False, 1, "SERVER_NEVER_STARTED")
    assert "no server listened" in capsys.readouterr().err


def test_ctrl_c_ends_a_waiting_gateway_process(repo: Path, questions: Path, folder: Path) -> None:
    asked, release = threading.Event(), threading.Event()

    def predict(id_: pl.Series, problem: pl.Series) -> pl.DataFrame:
        asked.set()
        release.wait(600)  # longer than anything below waits: an answer would let the gateway end well
        return right(id_, problem)

    with LocalInferenceServer(predict, ports=(0,)) as server:
        command = [sys.executable, "-m", "kit.kaggle.evaluation_double.gateway", "--csv", str(questions)]
        gateway = subprocess.Popen(
            [*command, "--ports", str(server.port)],
            env={**os.environ, "PYTHONPATH": str(repo)},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert asked.wait(600)
            gateway.send_signal(signal.SIGINT)
            _, complaints = gateway.communicate(timeout=300)
        finally:
            gateway.kill()
            release.set()
    assert (gateway.returncode, complaints) == (130, "interrupted; no submission was written\n")
    assert not (folder / "submission.parquet").exists()


@pytest.mark.parametrize(
    "wrong", [{"ports": ()}, {"startup_limit_s": -1.0}, {"answer_deadline_s": 0.0}], ids=lambda wrong: str(wrong)
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        GatewaySettings(**wrong)


def test_the_codes_of_the_errors_are_those_of_the_real_gateway() -> None:
    assert [(kind.value, kind.name) for kind in GatewayErrorType] == [
        (0, "UNSPECIFIED"),
        (1, "SERVER_NEVER_STARTED"),
        (2, "SERVER_CONNECTION_FAILED"),
        (3, "SERVER_RAISED_EXCEPTION"),
        (4, "SERVER_MISSING_ENDPOINT"),
        (5, "GATEWAY_RAISED_EXCEPTION"),
        (6, "INVALID_SUBMISSION"),
        (7, "GRPC_DEADLINE_EXCEEDED"),
    ]
