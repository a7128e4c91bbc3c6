"""Compiled code, built from the sources as they are."""

from __future__ import annotations

import os

import pytest

from app.native.compiler import BuildError, Library, build, find_compiler


def require(library: Library) -> None:
    """Build a library where needed. Without a compiler its tests are skipped, except where ``CI`` is set: they fail."""
    try:
        build(library, find_compiler())
    except BuildError as error:
        if os.environ.get("CI"):
            pytest.fail(f"{library.path.name} could not be built: {error}")
        pytest.skip(f"{library.path.name} IS NOT TESTED: {error}")
