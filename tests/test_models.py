from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch

from app import models
from app.errors import CheckpointError
from app.store import WEIGHTS_FILE, ModelStore, write_config
from app.text.word_ids import PAD_TOKEN, UNKNOWN_TOKEN
from tests.checkpoints import WORDS, add_checkpoint, tiny_config, tiny_network


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    models.add_arguments(parser)
    return models.run(parser.parse_args(arguments))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    add_checkpoint(tmp_path)
    add_checkpoint(tmp_path, architecture="lstm")
    return tmp_path


def test_list_shows_every_version_and_what_is_served(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Store and served model are those that ``serve`` would take from the environment."""
    monkeypatch.setenv("SENTIMENT_MODEL_STORE", str(store))
    monkeypatch.setenv("SENTIMENT_MODEL", "tiny")
    assert run("list") == 0
    _, first, second = capsys.readouterr().out.splitlines()
    count = sum(tensor.numel() for tensor in tiny_network(tiny_config()).state_dict().values())
    assert first.split()[:4] == ["tiny", "1", "gru", f"{count:,}"]
    assert "served" not in first
    assert second.endswith("served by default")


def test_a_program_reads_the_list(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same as people see, in plain numbers; a damaged version says why, and an empty store is an empty list."""
    run("label", "tiny", "2", "candidate", "--store", str(store))
    (store / "tiny" / "1" / WEIGHTS_FILE).write_bytes(b"")
    capsys.readouterr()
    assert run("list", "--json", "--store", str(store)) == 0
    damaged, whole = json.loads(capsys.readouterr().out)
    count = sum(tensor.numel() for tensor in tiny_network(tiny_config(architecture="lstm")).state_dict().values())
    assert WEIGHTS_FILE in damaged["error"]
    assert (damaged["version"], damaged["parameters"]) == (1, None)
    assert (whole["model"], whole["version"], whole["called"]) == ("tiny", 2, ["candidate"])
    assert (whole["parameters"], whole["served"], whole["error"]) == (count, False, None)
    assert whole["bytes"] > count
    assert run("list", "--json", "--store", str(store / "none")) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_list_goes_on_past_a_damaged_version(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (store / "tiny" / "1" / WEIGHTS_FILE).write_bytes(b"")
    assert run("list", "--store", str(store)) == 0
    _, first, second = capsys.readouterr().out.splitlines()
    assert "damaged" in first
    assert WEIGHTS_FILE in first
    assert "lstm" in second


def test_list_of_an_empty_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "--store", str(tmp_path / "none")) == 0
    assert "no models" in capsys.readouterr().out


def test_show(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "tiny/1", "--store", str(store)) == 0
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert shown["model"] == "tiny/1"
    assert shown["architecture"] == "gru"
    assert shown["labels"] == "negative, positive"


def test_labels_are_set_moved_and_shown(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole way of a candidate to champion and back, as an operator goes it."""
    in_store = ("--store", str(store))
    assert run("label", "tiny/1", "champion", *in_store) == 0
    assert run("label", "tiny/2", "candidate", *in_store) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["tiny@candidate: version 2", "tiny@champion: version 1"]
    assert run("promote", "tiny", *in_store) == 0
    assert ModelStore(store).open("tiny@champion").version == 2
    assert run("roll-back", "tiny", *in_store) == 0
    assert ModelStore(store).open("tiny@champion").version == 1
    capsys.readouterr()
    assert run("list", *in_store) == 0
    assert "champion" in capsys.readouterr().out.splitlines()[1]
    assert run("show", "tiny@champion", *in_store) == 0
    shown = capsys.readouterr().out
    assert "champion from 2 to 1 (roll-back)" in shown
    assert run("label", "tiny/1", "champion", "--remove", *in_store) == 0
    assert ModelStore(store).labels("tiny").labels == {}


def test_what_is_served_by_a_label_is_listed(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTIMENT_MODEL", "tiny@champion")
    run("label", "tiny", "1", "champion", "--store", str(store))
    capsys.readouterr()
    run("list", "--store", str(store))
    _, first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("served by default")
    assert "served" not in second


def test_only_a_version_that_passes_its_checks_gets_a_label(store: Path) -> None:
    """And one that was damaged since is not promoted."""
    in_store = ("--store", str(store))
    with pytest.raises(CheckpointError, match="no version 7"):
        run("label", "tiny/7", "candidate", *in_store)
    run("label", "tiny", "2", "candidate", *in_store)
    (store / "tiny" / "2" / WEIGHTS_FILE).write_bytes(b"damaged")
    for arguments in (("promote", "tiny"), ("label", "tiny", "2", "champion")):
        with pytest.raises(CheckpointError, match=WEIGHTS_FILE):
            run(*arguments, *in_store)
    with pytest.raises(CheckpointError, match=r"tiny/1: does not have the label 'candidate'; it names version 2"):
        run("label", "tiny/1", "candidate", "--remove", *in_store)
    with pytest.raises(CheckpointError, match="there is no such label"):
        run("label", "tiny", "1", "other", "--remove", *in_store)
    assert ModelStore(store).labels("tiny").labels == {"candidate": 2}


def test_verify_passes_and_names_what_fails(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", "--store", str(store)) == 0
    (store / "tiny" / "2" / WEIGHTS_FILE).write_bytes(b"damaged")
    assert run("verify", "--store", str(store)) == 1
    captured = capsys.readouterr()
    assert "tiny/1: ok" in captured.out
    assert "tiny/2: FAILED" in captured.err
    assert WEIGHTS_FILE in captured.err
    assert run("verify", "tiny/1", "--store", str(store)) == 0


def test_verify_of_an_empty_store_fails(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no models"):
        run("verify", "--store", str(tmp_path))


def test_import(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny_config()
    torch.save(tiny_network(config).state_dict(), tmp_path / "w.pt")
    write_config(config, tmp_path / "c.json")
    (tmp_path / "v.txt").write_text("\n".join([PAD_TOKEN, UNKNOWN_TOKEN, *WORDS]))
    files = ["--weights", tmp_path / "w.pt", "--config", tmp_path / "c.json", "--vocabulary", tmp_path / "v.txt"]
    assert run("import", "mine", "--store", str(tmp_path / "s"), *map(str, files)) == 0
    assert "mine/1" in capsys.readouterr().out
    assert run("verify", "mine", "--store", str(tmp_path / "s")) == 0
