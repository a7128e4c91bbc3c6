"""Packed weights that several engines hold once."""

from __future__ import annotations

import multiprocessing
import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

from app.memory_file import memory_file
from app.model.native_predictor import NativePredictor, choose_variant
from app.model.weights import read_weights
from app.native import binding
from app.native.packed_model import PackedModel
from app.sentiment import Scores
from app.store import ModelConfig, StoredModel
from tests.checkpoints import add_checkpoint

pytestmark = pytest.mark.usefixtures("kernel")

TEXTS = [array("i", [1, 2, 3]), array("i", [4])]


@pytest.fixture
def file() -> Iterator[int]:
    made = memory_file("test")
    yield made
    os.close(made)


@pytest.fixture
def stored(tmp_path: Path) -> StoredModel:
    return add_checkpoint(tmp_path, rating=True, layers=2, bidirectional=True)


def scores(packed: PackedModel, config: ModelConfig) -> list[Scores]:
    return NativePredictor(packed, config).predict(TEXTS)


def never() -> NoReturn:
    raise AssertionError("the weights are read again")


def test_the_second_reads_nothing_and_scores_the_same(file: int, stored: StoredModel) -> None:
    """Who comes second maps what the first one packed, which stays when that is gone."""
    config = stored.config
    alone = scores(PackedModel(config, read_weights(stored.path, config), choose_variant("auto")), config)
    first = PackedModel.shared(file, "a", config, choose_variant("auto"), lambda: read_weights(stored.path, config))
    assert scores(first, config) == alone
    del first
    assert scores(PackedModel.shared(file, "a", config, choose_variant("auto"), never), config) == alone


def test_nobody_can_change_what_all_read(file: int, stored: StoredModel) -> None:
    """The memory is mapped for reading."""
    packed = PackedModel.shared(
        file, "a", stored.config, choose_variant("auto"), lambda: read_weights(stored.path, stored.config)
    )
    with pytest.raises(TypeError):
        packed._memory[0] = 1


def test_other_weights_and_another_kernel_leave_it_alone(file: int, stored: StoredModel) -> None:
    """What was packed for others is neither taken nor overwritten."""
    config = stored.config
    *_, portable = variants = binding.variants()

    def read() -> dict[str, NDArray[np.float32]]:
        return read_weights(stored.path, config)

    first = PackedModel.shared(file, "a", config, variants[0], read)
    before, size = scores(first, config), os.fstat(file).st_size
    other = {name: values * 0 for name, values in read().items()}
    zeros = PackedModel.shared(file, "b", config, variants[0], lambda: other)
    assert {result.probabilities for result in scores(zeros, config)} == {(0.5, 0.5)}
    if portable != variants[0]:
        assert PackedModel.shared(file, "a", config, portable, read).variant == portable
    assert (scores(first, config), os.fstat(file).st_size) == (before, size)
    assert scores(PackedModel.shared(file, "a", config, variants[0], never), config) == before


def test_what_somebody_began_is_packed_again(file: int, stored: StoredModel) -> None:
    """One that died while it packed leaves no mark, and the lock goes with it."""
    config = stored.config

    def dies() -> NoReturn:
        os.pwrite(file, b"\xff" * 4096, 64)
        os._exit(9)

    child = multiprocessing.get_context("fork").Process(
        target=PackedModel.shared, args=(file, "a", config, choose_variant("auto"), dies)
    )
    child.start()
    child.join(60)
    assert child.exitcode == 9
    packed = PackedModel.shared(file, "a", config, choose_variant("auto"), lambda: read_weights(stored.path, config))
    alone = PackedModel(config, read_weights(stored.path, config), choose_variant("auto"))
    assert scores(packed, config) == scores(alone, config)
