"""Fixtures of the modeling room."""

from __future__ import annotations

import os

import pytest

from app.modeling.native.build import BuildError, build, find_compiler


@pytest.fixture(scope="session")
def kernel() -> None:
    """The native kernel, compiled from the sources as they are.

    Without a compiler its tests are skipped, except where ``CI`` is set: there they fail.
    """
    try:
        build(find_compiler())
    except BuildError as error:
        if os.environ.get("CI"):
            pytest.fail(f"the native kernel could not be built: {error}")
        pytest.skip(f"THE NATIVE KERNEL IS NOT TESTED: {error}")
