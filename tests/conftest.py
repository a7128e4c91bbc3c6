"""Fixtures that all rooms share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from app.native.compiler import KERNEL
from app.store import ModelStore, StoredModel
from tests import compiled
from tests.checkpoints import add_checkpoint

# Other processes share the machine, so a case that takes long proves nothing. `make fuzz` chooses the number of cases.
settings.register_profile("tests", max_examples=int(os.environ.get("FUZZ_CASES", "200")), deadline=None)
settings.load_profile("tests")


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with one tiny GRU, ``tiny/1``. Shared by all tests: do not write to it."""
    root = tmp_path_factory.mktemp("model_store")
    add_checkpoint(root)
    return root


@pytest.fixture(scope="session")
def tiny_model(tiny_store: Path) -> StoredModel:
    """The stored version in ``tiny_store``."""
    return ModelStore(tiny_store).open("tiny")


@pytest.fixture(scope="session")
def kernel() -> None:
    """The forward pass in C, compiled."""
    compiled.require(KERNEL)
