"""One cluster for all tests here, as it takes a while to start."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec

import pytest

from benchmarks.ray_cluster import RayCluster, ray_cluster

with warnings.catch_warnings(action="ignore"), suppress(ModuleNotFoundError):
    import ray.serve  # noqa: F401 - it warns of what it does itself


def need_ray() -> None:
    """Skip without Ray, but fail in CI."""
    if find_spec("ray") is None:
        if os.environ.get("CI"):
            pytest.fail("there is no Ray")
        pytest.skip("NOTHING IS TESTED ON A CLUSTER: there is no Ray")


@pytest.fixture(scope="session")
def cluster() -> Iterator[RayCluster]:
    """Two nodes of two cores. Who kills one adds another."""
    need_ray()
    with ray_cluster(2) as running:
        yield running
