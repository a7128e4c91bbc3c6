"""Joining a Ray cluster."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from app.errors import MissingPackageError, OptionError


def add_address_argument(parser: argparse._ActionsContainer) -> None:
    """Add the flag that says which cluster."""
    parser.add_argument(
        "--address", default="auto", help="HOST:PORT of the cluster's head (default: the cluster of this machine)"
    )


@contextmanager
def joined(address: str, environment: Mapping[str, str]) -> Iterator[None]:
    """Be one of the cluster's programs for a while.

    Args:
        address: see ``add_address_argument``.
        environment: variables of all processes that Ray starts for it.

    Raises:
        MissingPackageError: Ray is not installed.
        OptionError: there is no cluster at the address.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise MissingPackageError("a cluster is joined by Ray", "ray") from None
    try:
        variables = {"env_vars": dict(environment)}
        ray.init(address=address, runtime_env=variables, log_to_driver=False, logging_level=logging.WARNING)
    except ConnectionError as error:
        raise OptionError("address", f"no Ray cluster answers at {address} (see `ray start`)") from error
    try:
        yield
    finally:
        ray.shutdown()
