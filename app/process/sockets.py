"""Sockets that children inherit, and the folder in which the processes of one service meet."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.errors import SettingsError

_BACKLOG = 2048
_BIND_TO_INTERFACE = 62
"""Linux' ``SO_BINDTOIFINDEX``, which Python has no name for."""
_NO_INTERFACE = 2**31 - 1
_LONGEST_NAME = len("/engine-9999.255.sock")
_LONGEST_PATH = 107
"""Bytes of a Unix socket's path that Linux takes (``man 7 unix``)."""


def bind(host: str, port: int) -> socket.socket:
    """A listening TCP socket that children inherit.

    Raises:
        OSError: the address is not to be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.set_inheritable(True)
    return listener


def take_no_more(listener: socket.socket) -> None:
    """Have new connections refused on a listening TCP socket, in whatever process; those that have begun go on.

    When the last process closes such a socket, the kernel resets what is between its handshake and ``accept``, and
    something may be there at any moment. So it is first bound to a network interface that does not exist: what begins
    then is refused as if the socket were closed, and what had begun can be accepted. Needs no privileges; on a system
    that does not know how (Linux before 5.1) nothing changes.
    """
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _BIND_TO_INTERFACE, _NO_INTERFACE)


def fault_file(engine: Path) -> Path:
    """Where a process that cannot serve says why, by the Unix socket of its engine."""
    return engine.with_suffix(".fault")


def bind_local(path: Path) -> socket.socket:
    """A listening Unix socket that a child inherits."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(_BACKLOG)
    return listener


@contextmanager
def runtime_folder() -> Iterator[Path]:
    """A private folder for the sockets between the processes and the metrics' files, removed at the end.

    Raises:
        SettingsError: no temporary folder can be written, or its path is too long for a socket.
    """
    try:
        temporary = tempfile.TemporaryDirectory(prefix="sentiment-")
    except OSError as error:
        raise SettingsError(
            f"TMPDIR: no temporary folder can be written ({error.strerror or error}); set it to one that can, "
            "or mount one, as `docker run --tmpfs /tmp` does"
        ) from error
    with temporary as name:
        if len(os.fsencode(name)) + _LONGEST_NAME > _LONGEST_PATH:
            raise SettingsError(
                f"TMPDIR: {tempfile.gettempdir()} is too long, since sockets in it may have paths of "
                f"{_LONGEST_PATH} bytes; set it to a shorter one, such as /tmp"
            )
        yield Path(name)
