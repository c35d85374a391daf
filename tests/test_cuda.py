"""Which GPUs there are and which of them a program sees."""

from __future__ import annotations

import pytest

from kit.cuda import UNTOLD_GPU, Gpu, chosen_gpus, parsed_gpus, visible_gpus

L4X4 = tuple(Gpu("NVIDIA L4", 23034 << 20, (8, 9), f"GPU-{digit * 4}-aa") for digit in "1234")


def test_the_machines_gpus_are_read_from_what_nvidia_says() -> None:
    text = (
        "NVIDIA H100 80GB HBM3, 81559, 9.0, GPU-5ad2\nTesla T4, 15360, 7.5\n"
        "NVIDIA-SMI has failed\nGPU, [N/A], 8.0, GPU-1\n"
    )
    assert [(gpu.name, gpu.memory_bytes >> 30, gpu.capability, gpu.uuid) for gpu in parsed_gpus(text)] == [
        ("NVIDIA H100 80GB HBM3", 79, (9, 0), "GPU-5ad2"),
        ("Tesla T4", 15, (7, 5), ""),
    ]
    assert parsed_gpus("No devices were found\n") == ()


@pytest.mark.parametrize(
    ("told", "places"),
    [
        (None, [0, 1, 2, 3]),
        ("0,1,2,3", [0, 1, 2, 3]),
        ("2, 0", [2, 0]),
        ("GPU-3333,1", [2, 1]),
        ("1,9,2", [1]),
        ("-1", []),
        ("0,-1,1", [0]),
        ("", []),
        ("1,1", [1]),
        ("NoDevFiles", []),
    ],
)
def test_cuda_shows_those_that_the_variable_names_up_to_the_first_that_is_none(
    told: str | None, places: list[int]
) -> None:
    assert chosen_gpus(L4X4, told) == tuple(L4X4[place] for place in places)


def test_parts_of_a_gpu_count_as_gpus_of_unknown_memory() -> None:
    assert chosen_gpus(L4X4[:1], "MIG-1,MIG-2") == (UNTOLD_GPU, UNTOLD_GPU)


def test_gpus_need_a_driver_and_one_is_believed_in_where_nvidia_smi_is_missing() -> None:
    def seen(told: str | None, *, listed: tuple[Gpu, ...], driver: tuple[int, int] | None) -> tuple[Gpu, ...]:
        environ = {} if told is None else {"CUDA_VISIBLE_DEVICES": told}
        return visible_gpus(environ, listed=lambda: listed, driver=lambda: driver)

    assert seen(None, listed=L4X4, driver=(12, 8)) == L4X4
    assert seen("3", listed=L4X4, driver=(12, 8)) == L4X4[3:]
    assert seen(None, listed=(), driver=(12, 8)) == (UNTOLD_GPU,)
    assert seen("", listed=(), driver=(12, 8)) == ()
    assert seen(None, listed=L4X4, driver=None) == ()
