"""Errors: what is raised in one process is the same in another."""

from __future__ import annotations

import copy
import pickle

import pytest

from app.errors import (
    DataError,
    EmptyCellError,
    MissingPackageError,
    OptionError,
    OverloadedError,
    RefusedError,
    SentimentError,
    TextError,
    TextTooLongError,
)

ERRORS = (
    TextError("not a text"),
    EmptyCellError(),
    TextTooLongError(3, 2),
    OverloadedError("full", 1.5),
    RefusedError("no", 403),
    MissingPackageError("x needs y", "files"),
    DataError("a.csv: no", "no_header", "format"),
    OptionError("out", "must be a folder"),
)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_go_to_other_processes(error: SentimentError) -> None:
    """With their message and all that they carry, as the results of a pool of processes do."""
    for other in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert vars(other) == vars(error)
