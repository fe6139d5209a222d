"""Ports that must be known before anybody listens on them, each given to one process of the tests on this machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

__all__ = ["reserved"]

_LOOPBACK = "127.0.0.1"
_FIRST, _END, _BLOCK = 15_000, 32_000, 20
"""Below the range from which systems take the ports of outgoing connections: one of that range could be gone by the time a
killed node is started again."""
_held: list[int] = []
"""Descriptors of locked files: the kernel gives the locks back with the process, however it ends."""


def reserved(count: int) -> list[int]:
    """Return so many ports that nobody listens on, and that no other process is given while this one runs."""
    assert count <= _BLOCK
    blocks = list(range(_FIRST, _END, _BLOCK))
    random.shuffle(blocks)
    return next(ports[:count] for block in blocks if len(ports := _free_of(block)) >= count)


def _free_of(block: int) -> list[int]:
    """Take a block of ports, if nobody has it; return those of it that are free."""
    directory = Path(tempfile.gettempdir()) / f"connector-test-ports-{os.getuid()}"
    directory.mkdir(exist_ok=True)
    lock = os.open(directory / str(block), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return []
    _held.append(lock)
    return [port for port in range(block, block + _BLOCK) if _is_free(port)]


def _is_free(port: int) -> bool:
    with socket.socket() as attempt:
        attempt.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as those who listen do: what lingers is in nobody's way
        with contextlib.suppress(OSError):
            attempt.bind((_LOOPBACK, port))
            return True
    return False
