"""Golden texts: a version that would answer otherwise than when it was written is refused, in either half of it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from app import models
from app.checksums import write_sums
from app.errors import CheckpointError
from app.golden import GOLDEN_FILE, TEXTS, read_golden, write_golden
from app.model.runtimes import load_predictor
from app.model.torch_predictor import TorchPredictor
from app.store import ModelStore, StoredModel
from app.text.tokenizer import load_tokenizer
from tests.checkpoints import add_checkpoint, tiny_network


@pytest.fixture
def golden(tmp_path: Path) -> StoredModel:
    """A version with golden texts and a rating."""
    model = add_checkpoint(tmp_path, rating=True)
    tokenizer = load_tokenizer(model)
    write_golden(model.path, TorchPredictor(tiny_network(model.config)), lambda text: tokenizer.encode(text).ids)
    write_sums(model.path)
    return ModelStore(tmp_path).open("tiny")


def change(model: StoredModel, number: int, **fields: object) -> None:
    path = model.path / GOLDEN_FILE
    document = json.loads(path.read_text())
    document["texts"][number] |= fields
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(("runtime", "precision"), [("torch", "float32"), ("native", "float32"), ("auto", "auto")])
def test_what_was_written_is_what_is_computed(golden: StoredModel, runtime: str, precision: str) -> None:
    """By every runtime of this machine; the last text is longer than the network reads."""
    found = read_golden(golden.path)
    assert [one.text for one in found] == list(TEXTS)
    assert len(found[-1].ids) == golden.config.max_tokens
    load_tokenizer(golden)
    load_predictor(golden, "cpu", runtime, precision)


def test_other_scores_are_refused(golden: StoredModel) -> None:
    """Of one text alone, with its number, the difference and what may be."""
    stored = read_golden(golden.path)[2].probabilities
    change(golden, 2, probabilities=[stored[0] - 0.05, stored[1] + 0.05])
    with pytest.raises(CheckpointError, match=r"golden.json: the scores of text 3 are 0.05 off those stored"):
        load_predictor(golden, "cpu")
    load_tokenizer(golden)


def test_another_rating_is_refused(golden: StoredModel) -> None:
    change(golden, 0, rating=(read_golden(golden.path)[0].rating or 0) + 0.5)
    with pytest.raises(CheckpointError, match="the scores of text 1"):
        load_predictor(golden, "cpu")


def test_other_token_ids_are_refused(golden: StoredModel) -> None:
    """By who loads the tokenizer, who has the text."""
    change(golden, 1, text="lovely")
    with pytest.raises(CheckpointError, match="text 2 has other token ids"):
        load_tokenizer(golden)
    load_predictor(golden, "cpu")


@pytest.mark.parametrize("fields", [{"probabilities": [1.0]}, {"rating": None}])
def test_scores_of_another_shape_are_refused(golden: StoredModel, fields: dict[str, object]) -> None:
    change(golden, 0, **fields)
    with pytest.raises(CheckpointError, match="the scores of text 1 are inf off"):
        load_predictor(golden, "cpu")


@pytest.mark.parametrize("ids", [[999_999], [2] * 33])
def test_ids_that_the_network_does_not_take_are_refused(golden: StoredModel, ids: list[int]) -> None:
    """Before anything is computed of them."""
    change(golden, 0, ids=ids)
    with pytest.raises(CheckpointError, match="token ids that the network does not take"):
        load_predictor(golden, "cpu")


@pytest.mark.parametrize(
    ("content", "field"),
    [(b"", "document"), (b"\xff", "document"), (b"{}", "texts"), (b'{"texts": []}', "texts")],
)
def test_a_malformed_file_is_named(tmp_path: Path, content: bytes, field: str) -> None:
    (tmp_path / GOLDEN_FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{GOLDEN_FILE}: {field}"):
        read_golden(tmp_path)


def test_a_version_without_them_is_not_compared(tiny_model: StoredModel, tmp_path: Path) -> None:
    assert read_golden(tmp_path) == ()
    assert not (tiny_model.path / GOLDEN_FILE).exists()
    load_predictor(tiny_model, "cpu")


def test_verifying_compares_them(golden: StoredModel, capsys: pytest.CaptureFixture[str]) -> None:
    """So that it is known before a version is served."""
    change(golden, 0, probabilities=[0.0, 0.0])
    write_sums(golden.path)
    parser = argparse.ArgumentParser()
    models.add_arguments(parser)
    assert models.run(parser.parse_args(["verify", "tiny", "--store", str(golden.path.parent.parent)])) == 1
    assert "golden.json" in capsys.readouterr().err
