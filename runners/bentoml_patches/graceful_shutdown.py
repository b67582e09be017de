"""Patch: the API server finishes its requests before its runners stop.

Upstream signals all processes at the same time, so that requests lose their runners. The API server
holds a shared file lock while it lives; a runner that gets the signal waits for that lock. A
process that does not end in time is ended. A process whose supervisor was killed stops by itself.

Written for BentoML 1.4.39 and 1.4.40: its workers have the variable BENTOML_RUNNER_MAP, and install
their signal handlers before the start-up hooks run.
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

SUPERVISED_VARIABLE = "BENTOML_RUNNER_MAP"
"""Set in processes that BentoML's supervisor has started."""
LOCK_POLL_S = 0.05
PARENT_POLL_S = 1.0
"""Seconds between two checks for the supervisor."""
EXIT_MARGIN_S = 5.0
"""Time that a runner keeps for its own stop, seconds."""
_LOCK_HANDLES: list[int] = []


def lock_file(data_dir: Path) -> Path:
    """The lock of the processes that one supervisor has started."""
    folder = data_dir / "run"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{socket.gethostname()}-{os.getppid()}.lock"


def hold_shutdown(lock: Path, timeout_s: float) -> None:
    """In the API server: keep runners alive; end `timeout_s` after the stop signal at latest."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_SH)
    _LOCK_HANDLES.append(handle)  # until the process ends, however it does
    _install_stop_handlers(None, timeout_s)


def wait_for_server(lock: Path, timeout_s: float) -> None:
    """In a runner: stop after the API server, `timeout_s` after the stop signal at the latest."""
    _install_stop_handlers(partial(_wait_for_lock, lock), timeout_s)


def _wait_for_lock(lock: Path, end: float) -> None:
    try:
        handle = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        while time.monotonic() < end - EXIT_MARGIN_S:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(LOCK_POLL_S)
            else:
                lock.unlink(missing_ok=True)
                return
    finally:
        os.close(handle)


def _exit_if_orphaned(supervisor: int) -> None:
    """Stop when the supervisor has died: it can no longer stop or replace this process."""
    while os.getppid() == supervisor:
        time.sleep(PARENT_POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)


def _install_stop_handlers(wait: Callable[[float], None] | None, timeout_s: float) -> None:
    """Wrap the handlers of the stop signals."""
    if SUPERVISED_VARIABLE not in os.environ:
        return
    threading.Thread(target=_exit_if_orphaned, args=(os.getppid(),), daemon=True).start()
    begun = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        _wrap_handler(number, signal.getsignal(number), wait, timeout_s, begun)


def _wrap_handler(
    signum: signal.Signals,
    previous_handler: Any,
    wait: Callable[[float], None] | None,
    timeout_s: float,
    stopping: threading.Event,
) -> None:
    if not callable(previous_handler):
        return

    def stop(frame: FrameType | None) -> None:
        end = time.monotonic() + timeout_s
        if wait is not None:
            wait(end)
            previous_handler(signum, frame)
        time.sleep(max(0.0, end - time.monotonic()))
        os._exit(0)

    def handle(_: int, frame: FrameType | None) -> None:
        if wait is None:
            previous_handler(signum, frame)
        if not stopping.is_set():
            stopping.set()
            threading.Thread(target=stop, args=(frame,), daemon=True).start()

    signal.signal(signum, handle)
