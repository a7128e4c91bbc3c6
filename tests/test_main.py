"""What the composition root does beside composing."""

from __future__ import annotations

import resource

import pytest

from app.main import _connection_limits
from app.settings import Settings


@pytest.mark.parametrize(
    ("soft", "hard", "raised_to", "connections"),
    [
        (100_000, 100_000, None, 2000),
        (1024, 100_000, 2506, 2000),
        (1024, resource.RLIM_INFINITY, 2506, 2000),
        (1024, 1024, 1024, 682),
        (100, 100, 100, 1),
    ],
)
def test_connections_fit_into_the_open_files(
    soft: int, hard: int, raised_to: int | None, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit on open files is raised as far as it must and may be; where that is too little, fewer are kept."""
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    assert _connection_limits(Settings()).connections == connections
    assert raised == ([] if raised_to is None else [(raised_to, hard)])
