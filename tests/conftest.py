"""Fixtures that all rooms share."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from collections.abc import Generator
from functools import cache
from pathlib import Path

import httpx
import pytest
from hypothesis import settings

from app.native.compiler import KERNEL
from app.process.pulse import collect_seldom
from app.store import ModelStore, StoredModel
from tests import compiled

# Other processes share the machine, so a case that takes long proves nothing. `make fuzz` chooses the number of cases.
settings.register_profile("tests", max_examples=int(os.environ.get("FUZZ_CASES", "200")), deadline=None)
settings.load_profile("tests")

# Nor is a service broken that takes longer than the 5 s for which clients wait of themselves.
httpx._config.DEFAULT_TIMEOUT_CONFIG.read = httpx._config.DEFAULT_TIMEOUT_CONFIG.connect = 60.0

# Each client of its own reads all certificates, which takes longer than most requests here, and none uses them.
httpx._transports.default.create_ssl_context = cache(httpx.create_ssl_context)  # type: ignore[attr-defined]

# Nor is there a plugin of pydantic's: each process would look for some in all packages that are installed.
os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"

_FAILED = pytest.StashKey[bool]()
_MADE_KEY = "sk-sentiment-"


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name cases the same in every process: compressed bytes have the time in them, and keys are made by chance."""
    unlike = isinstance(val, bytes) or (isinstance(val, str) and _MADE_KEY in val.lower())
    return argname if unlike else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run whole services and trainings first: a long file at the end would leave the other process without work."""
    items.sort(key=lambda item: item.path.parent.name not in ("tests", "training", "reviews"))


def pytest_collection_finish() -> None:
    """Look for garbage as seldom as the service does: among all that tests share it took a seventh of their time."""
    collect_seldom()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember which tests failed."""
    report = yield
    item.stash[_FAILED] = report.failed or item.stash.get(_FAILED, False)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """What a failed test left open fails no other: it is closed here, not where it happens to be collected."""
    yield
    if item.stash.get(_FAILED, False):
        # Where it failed is kept for a debugger, with all that was open there.
        for name in ("last_value", "last_traceback", "last_exc"):
            vars(sys).pop(name, None)
        with warnings.catch_warnings(action="ignore"):
            gc.collect()


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with one tiny GRU, ``tiny/1``. Shared by all tests: do not write to it."""
    from tests.checkpoints import add_checkpoint  # imports torch, which not every run needs

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
