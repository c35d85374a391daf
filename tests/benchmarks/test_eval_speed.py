from pathlib import Path

from benchmarks.eval_speed import Speed, Timed, Workload, order_of, speed_of, task_of


def test_every_second_round_is_in_reverse() -> None:
    assert order_of(["a", "b"], 3) == ["a", "b", "b", "a", "a", "b"]


def test_a_speed_is_the_median_less_the_tare() -> None:
    runs = [Timed(wall_s=wall_s, cpu_s=2 * wall_s, texts=("a b c", "d")) for wall_s in (9.0, 12.0, 10.0)]
    tare = Timed(wall_s=4, cpu_s=5, texts=("a",))
    assert speed_of(runs, tare, lambda text: len(text.split())) == Speed(num_tokens=3, wall_s=6, cpu_s=15)


def test_a_run_no_longer_than_its_tare_has_no_speed() -> None:
    tare, run = Timed(wall_s=4, cpu_s=5, texts=("a",)), Timed(wall_s=6, cpu_s=5, texts=("a b",))
    assert speed_of([run], tare, lambda text: len(text.split())) is None


def test_the_harness_is_asked_with_the_kits_prompt_and_limit() -> None:
    load = Workload(model=Path("m"), problems=Path("p"), num_problems=4, batch_size=2, max_new_tokens=32, num_threads=1)
    task = task_of(load)
    assert task["doc_to_text"].endswith("put your final answer within \\boxed{}.")
    assert task["generation_kwargs"]["max_gen_toks"] == 32
