"""Stopping in order: the front answers what it has begun, and only then do its runners go.

The supervisor tells all processes to stop at the same time. The front holds a file lock for as
long as it lives; a runner that is told to stop waits for that lock. A process that has not ended
within the bound ends anyway. Processes whose supervisor was killed stop by themselves.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

SUPERVISED = "BENTOML_RUNNER_MAP"
"""Set for processes that BentoML's supervisor has started."""
STEP_S = 0.05
LOOK_S = 1.0
"""A process looks so often whether its supervisor lives."""
LAST_S = 5.0
"""Time that a runner has for itself when it has waited as long as it may."""
_HELD: list[int] = []


def lock_file(home: Path) -> Path:
    """The lock of the processes that one supervisor has started."""
    folder = home / "run"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{socket.gethostname()}-{os.getppid()}.lock"


def hold(lock: Path, most_s: float) -> None:
    """In the front: keep runners alive; end `most_s` after the signal to stop, whatever happens."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_SH)
    _HELD.append(handle)  # until the process ends, however it does
    _on_stop(None, most_s)


def follow(lock: Path, most_s: float) -> None:
    """In a runner: go when the front has gone, `most_s` after the signal to stop at the latest."""
    _on_stop(partial(_wait, lock), most_s)


def _wait(lock: Path, end: float) -> None:
    try:
        handle = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        while time.monotonic() < end - LAST_S:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(STEP_S)
            else:
                lock.unlink(missing_ok=True)
                return
    finally:
        os.close(handle)


def _outlive_nobody(supervisor: int) -> None:
    """Stop when the supervisor has died: nobody else would ever stop or replace this process."""
    while os.getppid() == supervisor:
        time.sleep(LOOK_S)
    os.kill(os.getpid(), signal.SIGTERM)


def _on_stop(wait: Callable[[float], None] | None, most_s: float) -> None:
    """Put something between a signal to stop and what the process does about it."""
    if SUPERVISED not in os.environ:
        return
    threading.Thread(target=_outlive_nobody, args=(os.getppid(),), daemon=True).start()
    begun = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        _replace(number, signal.getsignal(number), wait, most_s, begun)


def _replace(
    number: signal.Signals,
    usual: Any,
    wait: Callable[[float], None] | None,
    most_s: float,
    begun: threading.Event,
) -> None:
    if not callable(usual):
        return

    def stop(frame: FrameType | None) -> None:
        end = time.monotonic() + most_s
        if wait is not None:
            wait(end)
            usual(number, frame)
        time.sleep(max(0.0, end - time.monotonic()))
        os._exit(0)

    def handle(_: int, frame: FrameType | None) -> None:
        if wait is None:
            usual(number, frame)
        if not begun.is_set():
            begun.set()
            threading.Thread(target=stop, args=(frame,), daemon=True).start()

    signal.signal(number, handle)
