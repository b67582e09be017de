"""The folder of cached patches: bounds, damage, crashes, several processes."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from imagery.cache.codec import CacheEntry, encode
from imagery.cache.single_flight import WaitTimeout
from imagery.cache.store import EVICTION_FRACTION, PATCH_SUFFIX, PatchStore
from tests.imagery.patches import sample_of

MIB = 2**20
SIZE = len(encode(CacheEntry(sample_of(0)), "0" * 64))
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])
LONG_S = 60


def key(number: int) -> str:
    return f"{number:02x}" * 32


def put(store: PatchStore, number: int, side: int = 24) -> None:
    store.write(key(number), CacheEntry(sample_of(number, side)))


def is_stored(store: PatchStore, number: int) -> bool:
    """Whether an entry is there; if it is, it has to be the right one."""
    entry = store.read(key(number))
    if entry is None:
        return False
    side = entry.sample.pixels.shape[-1]
    assert entry.sample.pixels.tobytes() == sample_of(number, side).pixels.tobytes()
    return True


def begun(work: Callable[..., None], folder: Path, *arguments: Any) -> BaseProcess:
    """Work in a process of its own."""
    process = PROCESSES.Process(target=work, args=(folder, *arguments), daemon=True)
    process.start()
    return process


def write_for_ever(folder: Path) -> None:
    store = PatchStore(folder, 8 * MIB)
    while True:
        for number in range(12):
            put(store, number, 200)


def write_and_read(folder: Path, first: int, bound: int) -> None:
    store = PatchStore(folder, bound)
    for number in [*range(first, 60)] * 4:
        put(store, number)
        is_stored(store, number)
        is_stored(store, number * 7 % 60)


def hold_turn(folder: Path, held: Event) -> None:
    with PatchStore(folder, MIB).lock(key(5), time.monotonic() + LONG_S):
        held.set()
        time.sleep(LONG_S)


@pytest.fixture
def store(tmp_path: Path) -> PatchStore:
    return PatchStore(tmp_path / "patches", MIB)


def test_written_entries_are_read(store: PatchStore, tmp_path: Path) -> None:
    """By this object and by another one; nothing else is there, and nothing was before."""
    assert not is_stored(store, 1)
    assert not (tmp_path / "patches").exists()
    put(store, 1)
    assert is_stored(store, 1)
    assert is_stored(PatchStore(tmp_path / "patches", MIB), 1)
    assert not is_stored(store, 2)


def test_entries_expire(store: PatchStore) -> None:
    """What has expired is not there, until it is written anew."""
    now = datetime.now(UTC)
    store.write(key(1), CacheEntry(sample_of(1), now + timedelta(hours=1)))
    store.write(key(2), CacheEntry(sample_of(2), now - timedelta(microseconds=1)))
    assert is_stored(store, 1)
    assert not is_stored(store, 2)
    store.write(key(2), CacheEntry(sample_of(2), now + timedelta(hours=1)))
    assert is_stored(store, 2)


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "foreign", "unfinished"])
def test_a_damaged_file_is_a_miss_and_removed(
    store: PatchStore, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is fetched again, and the new entry replaces it."""
    put(store, 1)
    put(store, 2)
    (file,) = (held.path for held in store.list_files() if held.path.stem == key(1))
    data = file.read_bytes()
    file.write_bytes(
        {
            "cut": data[:-10],
            "changed": data[:500] + bytes([data[500] ^ 255]) + data[501:],
            "empty": b"",
            "foreign": file.with_name(key(2) + PATCH_SUFFIX).read_bytes(),
            "unfinished": data[:100] + bytes(len(data) - 100),
        }[damage]
    )
    assert not is_stored(store, 1)
    assert not file.exists()
    assert "damaged" in caplog.text
    assert str(file.parent) not in caplog.text
    put(store, 1)
    assert is_stored(store, 1)
    assert is_stored(store, 2)


def test_least_recently_used_entries_go_first(tmp_path: Path) -> None:
    """Reading is use."""
    store = PatchStore(tmp_path, 4 * SIZE + SIZE // 2)
    for number in range(4):
        put(store, number)
        os.utime(tmp_path / (key(number) + PATCH_SUFFIX), (number, number))
    assert is_stored(store, 0)
    put(store, 4)
    assert [is_stored(store, number) for number in range(5)] == [True, False, True, True, True]


@pytest.mark.parametrize("bound", [SIZE // 2, SIZE, 3 * SIZE, 100 * SIZE + 1])
def test_one_process_never_exceeds_the_bound(tmp_path: Path, bound: int) -> None:
    """Nor does it hold much less than the bound. What is larger than all of it is not kept."""
    store = PatchStore(tmp_path, bound)
    peak = 0
    for number in range(150):
        put(store, number)
        sizes = [file.stat().st_size for file in tmp_path.iterdir()]
        assert sum(sizes) <= bound
        peak = max(peak, sum(sizes))
    assert peak > bound - 2 * SIZE
    assert sum(sizes) >= bound * (1 - EVICTION_FRACTION) - 2 * SIZE


def test_nothing_else_is_removed(tmp_path: Path) -> None:
    """Neither by the bound nor by `clear`: other files, folders, what links point to."""
    folder = tmp_path / "patches"
    outside = tmp_path / (key(7) + PATCH_SUFFIX)
    outside.write_bytes(bytes(SIZE))
    folder.mkdir()
    foreign = folder / "notes.txt"
    foreign.write_text("mine")
    (folder / (key(8) + PATCH_SUFFIX)).symlink_to(outside)
    (folder / (key(9) + PATCH_SUFFIX)).mkdir()
    store = PatchStore(folder, 2 * SIZE)
    for number in (*range(5), 9):
        put(store, number)
    assert not is_stored(store, 9)
    store.clear()
    assert outside.read_bytes() == bytes(SIZE)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["notes.txt", key(8) + PATCH_SUFFIX, key(9) + PATCH_SUFFIX]
    )


def test_clearing_says_what_was_there(store: PatchStore) -> None:
    """Of entries; a file that is being written stays."""
    assert store.clear() == (0, 0)
    for number in range(3):
        put(store, number)
    unfinished = store.list_files()[0].path.with_name("tmpabc.part")
    unfinished.write_bytes(b"half")
    assert store.clear() == (3, 3 * SIZE)
    assert [held.path for held in store.list_files()] == [unfinished]


def test_leftovers_of_a_crash_are_removed_later(tmp_path: Path) -> None:
    """An unfinished file of an hour ago; not one that may still be written."""
    store = PatchStore(tmp_path, MIB)
    old, young = tmp_path / "tmpold.part", tmp_path / "tmpnew.part"
    for file in (old, young):
        file.write_bytes(b"half")
    hour_ago = time.time() - 3700
    os.utime(old, (hour_ago, hour_ago))
    put(store, 1)
    assert (old.exists(), young.exists()) == (False, True)


@pytest.mark.parametrize("problem", ["read-only", "a file", "full"])
def test_a_folder_that_cannot_be_used_is_no_cache(
    tmp_path: Path, problem: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One warning without a path, and no error; nothing half-written is left."""
    folder = tmp_path / "patches"
    if problem == "a file":
        folder.write_text("")
    elif problem == "read-only":
        if os.geteuid() == 0:
            monkeypatch.setattr("tempfile.mkstemp", _refused)
        folder.mkdir(mode=0o500)
    else:
        folder.mkdir()
        monkeypatch.setattr("os.fdopen", _Full)
    store = PatchStore(folder, MIB)
    with caplog.at_level(logging.INFO):
        for number in range(3):
            put(store, number)
            assert not is_stored(store, number)
            with store.lock(key(number), time.monotonic() + 1):
                pass
    assert len(caplog.records) == 1
    assert str(tmp_path) not in caplog.text
    assert folder.is_file() or not list(folder.glob("*.part"))


def _refused(*args: object, **kwargs: object) -> None:
    raise PermissionError(errno.EACCES, "read-only")


class _Full:
    """A file on a full disk."""

    def __init__(self, number: int, mode: str) -> None:
        self._number = number

    def __enter__(self) -> _Full:
        return self

    def __exit__(self, *args: object) -> None:
        os.close(self._number)

    def write(self, data: bytes) -> None:
        os.write(self._number, data[:100])
        raise OSError(errno.ENOSPC, "full")


def test_a_folder_that_can_only_be_read_is_read(tmp_path: Path) -> None:
    """Entries that are there are used."""
    store = PatchStore(tmp_path, MIB)
    put(store, 1)
    (tmp_path / (key(1) + PATCH_SUFFIX)).chmod(0o400)
    tmp_path.chmod(0o500)
    try:
        assert is_stored(PatchStore(tmp_path, MIB), 1)
    finally:
        tmp_path.chmod(0o700)


def test_a_killed_writer_leaves_no_half_entry(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Killed at any moment, while others read: an entry is the right one or none."""
    chance = random.Random(1)
    store = PatchStore(tmp_path, 8 * MIB)
    result = 0
    for _ in range(20):
        writer = begun(write_for_ever, tmp_path)
        end = time.monotonic() + chance.uniform(0.02, 0.2)
        while time.monotonic() < end:
            result += sum(is_stored(store, number) for number in range(12))
        writer.kill()
        writer.join(LONG_S)
        result += sum(is_stored(store, number) for number in range(12))
    assert result > 20
    assert not caplog.records


def test_several_processes_share_a_small_folder(tmp_path: Path) -> None:
    """They overwrite and remove each other's entries; the bound holds to a sixteenth each."""
    bound = 40 * SIZE
    processes = [begun(write_and_read, tmp_path, first, bound) for first in (0, 15, 30)]
    for process in processes:
        process.join(LONG_S)
    assert [process.exitcode for process in processes] == [0] * 3
    store = PatchStore(tmp_path, bound)
    assert sum(held.size for held in store.list_files()) <= bound * (1 + 3 * EVICTION_FRACTION)
    assert sum(is_stored(store, number) for number in range(60)) == len(store.list_files()) > 30


def test_one_process_at_a_time_fetches_for_a_key(tmp_path: Path) -> None:
    """Others wait until it is done or dead, or their time is over."""
    store, held = PatchStore(tmp_path, MIB), PROCESSES.Event()
    holder = begun(hold_turn, tmp_path, held)
    assert held.wait(LONG_S)
    with store.lock(key(6), time.monotonic() + 0.1):
        pass
    with pytest.raises(WaitTimeout), store.lock(key(5), time.monotonic() + 0.1):
        pass
    holder.kill()
    holder.join(LONG_S)
    with store.lock(key(5), time.monotonic() + 5):
        pass
