"""Batches over the cores of a process."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from models import cores


@pytest.mark.parametrize(
    ("sizes", "at_hand", "wanted"),
    [
        ([1], 2, [1]),  # too little for two: all cores work on it together
        ([2], 2, [1, 1]),
        ([5], 2, [3, 2]),
        ([32], 2, [8, 8, 8, 8]),
        ([9], 2, [5, 4]),
        ([17], 2, [6, 6, 5]),
        ([4, 1], 2, [2, 2, 1]),
        ([1, 1], 2, [1, 1]),
        ([32], 1, [32]),
        ([], 4, []),
    ],
)
def test_pieces(sizes: list[int], at_hand: int, wanted: list[int]) -> None:
    """Every core has work, items of different batches stay apart, and none is lost."""
    batches, begin = [], 0
    for size in sizes:
        batches.append(list(range(begin, begin + size)))
        begin += size
    cut = cores.pieces(batches, at_hand)
    assert [len(piece) for piece in cut] == wanted
    assert [position for piece in cut for position in piece] == list(range(begin))


def test_pieces_have_a_core_each_and_the_process_keeps_its_number() -> None:
    """Pieces run at the same time, with one thread of torch each; nobody else is slowed down."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        both = threading.Barrier(2, timeout=20)

        def run(piece: object) -> int:
            both.wait()
            torch.ones(200, 200) @ torch.ones(200, 200)
            return torch.get_num_threads()

        for _ in range(2):
            assert list(cores.each(run, [[0], [1]], 2)) == [1, 1]
            assert torch.get_num_threads() == 2
            with ThreadPoolExecutor(1) as other:
                assert other.submit(torch.get_num_threads).result() == 2
        assert list(cores.each(lambda piece: torch.get_num_threads(), [[0]], 2)) == [2]
    finally:
        torch.set_num_threads(before)


def test_a_gpu_gets_whole_batches() -> None:
    """The cores of the processor are not what does the work."""
    assert cores.at_hand("cuda") == 1
    assert cores.at_hand("cpu") == torch.get_num_threads()
