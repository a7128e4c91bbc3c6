"""Fixtures of the modeling room."""

from __future__ import annotations

import pytest

from app.compiler import KERNEL
from tests import native


@pytest.fixture(scope="session")
def kernel() -> None:
    """The native kernel."""
    native.require(KERNEL)
