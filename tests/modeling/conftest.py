"""Fixtures of the modeling room."""

from __future__ import annotations

import os

import pytest

from app.compiler import KERNEL
from tests import native

# Triton's kernels run on the CPU; it looks at this when they are defined.
os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(scope="session")
def kernel() -> None:
    """The native kernel."""
    native.require(KERNEL)
