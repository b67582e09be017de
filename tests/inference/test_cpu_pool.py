"""Micro-batches over the cores of a process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from inference import cpu_pool, devices
from inference.cpu_pool import CpuPool


@pytest.mark.parametrize(
    ("sizes", "idle_cores", "expected"),
    [
        ([1], 2, [1]),
        ([3], 4, [1, 1, 1]),
        ([2], 2, [1, 1]),
        ([5], 2, [3, 2]),
        ([32], 2, [8, 8, 8, 8]),
        ([9], 2, [5, 4]),
        ([17], 2, [6, 6, 5]),
        ([4, 1], 2, [2, 2, 1]),
        ([1, 1], 2, [1, 1]),
        ([12], 1, [6, 6]),
        ([3], 1, [3]),
        ([], 4, []),
    ],
)
def test_micro_batches(sizes: list[int], idle_cores: int, expected: list[int]) -> None:
    """Every core has work, items of different batches stay apart, and none is lost."""
    batches, begin = [], 0
    for size in sizes:
        batches.append(list(range(begin, begin + size)))
        begin += size
    parts = cpu_pool.micro_batches(batches, idle_cores)
    assert [len(part) for part in parts] == expected
    assert [position for part in parts for position in part] == list(range(begin))


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Torch uses two in this process."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def threads(part: object) -> int:
    """Number of threads that torch uses for a part."""
    torch.ones(200, 200) @ torch.ones(200, 200)
    return torch.get_num_threads()


@pytest.mark.usefixtures("two_threads")
def test_micro_batches_have_a_core_each_and_the_process_keeps_its_threads() -> None:
    """Micro-batches run at the same time, with one torch thread each; other threads keep theirs."""
    both = threading.Barrier(2, timeout=20)

    def run(part: object) -> int:
        both.wait()
        return threads(part)

    pool = CpuPool(2)
    for _ in range(2):
        assert pool.run_batches(run, [[0, 1]]) == [([0], 1), ([1], 1)]
        assert torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as other:
            assert other.submit(torch.get_num_threads).result() == 2


@pytest.mark.usefixtures("two_threads")
def test_a_lone_batch_has_all_cores() -> None:
    """Beside another batch, or shortly after one, it has one core."""
    pool = CpuPool(2)
    assert pool.run_batches(threads, [[0]]) == [([0], 2)]

    begun, end = threading.Event(), threading.Event()

    def long(part: object) -> int:
        begun.set()
        assert end.wait(20)
        return threads(part)

    with ThreadPoolExecutor(1) as other:
        first = other.submit(pool.run_batches, long, [[0]])
        assert begun.wait(20)
        # One core is left: the batch stays whole on it.
        assert pool.run_batches(threads, [[0, 1]]) == [([0, 1], 1)]
        end.set()
        assert first.result() == [([0], 2)]
    assert pool.run_batches(threads, [[0]]) == [([0], 1)]
    assert pool.run_batches(threads, [[0]]) == [([0], 2)]


@pytest.mark.usefixtures("two_threads")
def test_more_micro_batches_than_cores_run_in_turn() -> None:
    """None is lost, and their order is that of the items."""
    done = CpuPool(2).run_batches(list, [list(range(40)), [40]])
    assert all(part == result for part, result in done)
    assert [position for part, _ in done for position in part] == list(range(41))
    assert max(len(part) for part, _ in done) <= cpu_pool.MICRO_BATCH_SIZE


def test_a_failure_frees_its_core() -> None:
    """Later batches still get all cores."""

    def fail(part: object) -> int:
        raise ValueError("bad")

    pool = CpuPool(2)
    with pytest.raises(ValueError, match="bad"):
        pool.run_batches(fail, [[0, 1]])
    assert pool.run_batches(len, [[0]]) == [([0], 1)]
    assert len(pool.run_batches(len, [[0, 1]])) == 2


def test_a_gpu_gets_whole_batches() -> None:
    """The cores of the processor are not what does the work."""
    assert cpu_pool.concurrent_batches("cuda", 1) == 1
    assert cpu_pool.max_items_per_call("cuda", 64) == 64
    assert cpu_pool.get_cpu_pool("cuda").run_batches(len, [list(range(64)), [64]]) == [
        (list(range(64)), 64),
        ([64], 1),
    ]


@pytest.mark.usefixtures("two_threads")
def test_one_thread_leads_torchs_team() -> None:
    """Whichever thread calls: a second team of torch's threads would slow the first."""

    def leader() -> tuple[int, int]:
        return threading.get_ident(), threads(None)

    pool = cpu_pool.get_cpu_pool("cpu")
    assert pool is cpu_pool.get_cpu_pool("cpu")
    own = pool.on_all_cores(leader)
    assert own[1] == 2
    with ThreadPoolExecutor(1) as other:
        assert other.submit(pool.on_all_cores, leader).result() == own
    assert pool.run_batches(lambda part: leader(), [[0]]) == [([0], own)]


def test_processes_share_the_cores() -> None:
    """One concurrent batch per core, and calls that fit one."""
    assert cpu_pool.concurrent_batches("cpu", 1) == devices.available_cores()
    assert cpu_pool.concurrent_batches("cpu", 10_000) == 1
    assert cpu_pool.max_items_per_call("cpu", 64) == cpu_pool.MICRO_BATCH_SIZE
    assert cpu_pool.max_items_per_call("cpu", 4) == 4
