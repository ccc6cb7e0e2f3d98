"""One agent per storage: a lock file that the kernel lets go when its holder dies, however it dies.

The daemon holds it while it runs; the command line looks at it to tell "does not run" from "has not written lately".
A disk that cannot even hold the file does not keep the agent from running; a read-only one may have it from before.
"""

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gantry_agent.store.database import StoreFault
from gantry_agent.text import Text

log = logging.getLogger(__name__)

NAME: Final = "agent.lock"
PATIENCE_S: Final = 2.0  # somebody may just be looking, and an agent that was told to stop may be at its last write


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the storage; raise StoreFault when another agent does."""
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        descriptor = _opened(folder / NAME)
    except OSError as fault:
        log.warning("cannot make %s (%s); whether another agent runs is not checked", folder / NAME, fault.strerror)
        yield
        return
    try:
        _take(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError:
        with contextlib.suppress(OSError):
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # will do for the lock
        raise


def is_held(folder: Path) -> bool:
    """Tell whether an agent runs on this storage."""
    try:
        descriptor = os.open(folder / NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _take(descriptor: int, folder: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise StoreFault(
                    Text(f"无法使用 {folder}：另一个程序正在使用", f"cannot use {folder}: another agent runs on it")
                ) from None
            time.sleep(0.1)
        else:
            return
