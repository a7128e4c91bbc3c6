"""Sockets that children inherit, and the folder they meet in."""

from __future__ import annotations

import os
import socket
import tempfile

import pytest

from app.errors import SettingsError
from app.process.sockets import bind, runtime_folder, take_no_more


def test_bind_picks_a_free_port_and_refuses_a_taken_one() -> None:
    """Port 0 is a free one; a second service on the same port is an error."""
    with bind("127.0.0.1", 0) as listener:
        with pytest.raises(OSError, match="in use"):
            bind("127.0.0.1", listener.getsockname()[1])
        assert os.get_inheritable(listener.fileno())


def test_where_nothing_can_be_written_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only root without a temporary folder: what to set, and what to mount."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    with pytest.raises(SettingsError, match=r"TMPDIR.*--tmpfs /tmp"), runtime_folder():
        pass


def test_a_listener_that_takes_no_more_keeps_what_has_begun() -> None:
    """Connections that wait to be accepted, and their data, are still there; those that begin now are refused."""
    with bind("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()) as early:
        take_no_more(listener)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(listener.getsockname())
        early.sendall(b"early")
        with listener.accept()[0] as accepted:
            assert accepted.recv(5) == b"early"
