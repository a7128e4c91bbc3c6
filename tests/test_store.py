from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from app.checksums import SUMS_FILE
from app.errors import CheckpointError
from app.sentiment import Thresholds
from app.store import (
    CONFIG_FILE,
    REQUIRED_FILES,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    ModelStore,
    open_version,
    read_config,
    write_config,
)
from tests.checkpoints import add_checkpoint, tiny_config


def _fill(folder: Path, content: str = "x") -> None:
    write_config(tiny_config(), folder / CONFIG_FILE)
    for file in (WEIGHTS_FILE, TOKENIZER_FILE):
        (folder / file).write_text(content)


def _write(store: ModelStore, name: str, content: str = "x") -> None:
    with store.new_version(name) as folder:
        _fill(folder, content)


def test_versions_count_up_and_the_highest_is_opened(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "store")
    assert store.models() == {}
    for _ in range(11):
        _write(store, "one")
    _write(store, "two")
    assert store.models() == {"one": list(range(1, 12)), "two": [1]}
    assert store.open("one").reference == "one/11"
    assert store.open("one/2").version == 2


def test_a_version_that_is_not_what_it_was_is_refused(tmp_path: Path) -> None:
    """Whoever knows the digest of what is served notices that the folder has been changed in place."""
    store = ModelStore(tmp_path)
    _write(store, "m")
    digest = store.open("m").digest
    assert store.open("m/1", digest).digest == digest
    with pytest.raises(CheckpointError, match=r"m/1: changed since the service started"):
        store.open("m/1", "0" * 32)


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    versions = []

    def fail() -> None:
        with store.new_version("m") as folder:
            _fill(folder)
            versions.extend(store.versions("m"))
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail()
    assert versions == []
    assert list((tmp_path / "m").iterdir()) == []


def test_files_are_readable_by_everybody(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    with store.new_version("m") as folder:
        _fill(folder)
        (folder / WEIGHTS_FILE).chmod(0o600)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "m" / "1").iterdir()} == {0o644}


def test_concurrent_writers_get_different_versions(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    barrier = threading.Barrier(8)

    def write(number: int) -> None:
        with store.new_version("m") as folder:
            _fill(folder, str(number))
            barrier.wait(timeout=30)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.versions("m") == list(range(1, 9))
    assert {(tmp_path / "m" / str(v) / WEIGHTS_FILE).read_text() for v in range(1, 9)} == set("01234567")
    for version in range(1, 9):
        store.open(f"m/{version}")


@pytest.mark.parametrize("file", REQUIRED_FILES)
def test_a_changed_file_is_named(tmp_path: Path, file: str) -> None:
    _write(ModelStore(tmp_path), "m")
    path = tmp_path / "m" / "1" / file
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(CheckpointError, match=rf"{re.escape(str(path))}: content differs"):
        ModelStore(tmp_path).open("m")


@pytest.mark.parametrize("file", [*REQUIRED_FILES, SUMS_FILE])
def test_a_missing_file_is_named(tmp_path: Path, file: str) -> None:
    _write(ModelStore(tmp_path), "m")
    path = tmp_path / "m" / "1" / file
    path.unlink()
    with pytest.raises(CheckpointError, match=re.escape(str(path))):
        ModelStore(tmp_path).open("m")


@pytest.mark.parametrize("line", ["", "nonsense", f"{'0' * 64}  ../../etc/passwd", "\x00"])
def test_checksums_must_be_a_list_of_plain_names(tmp_path: Path, line: str) -> None:
    _write(ModelStore(tmp_path), "m")
    (tmp_path / "m" / "1" / SUMS_FILE).write_text(f"{line}\n")
    with pytest.raises(CheckpointError, match=SUMS_FILE):
        open_version(tmp_path / "m" / "1")


def test_the_checksum_of_an_unread_file_is_left_to_who_reads_it(tmp_path: Path) -> None:
    """Who does not read the weights opens a version whose weights are damaged; who reads them is told."""
    model = add_checkpoint(tmp_path)
    (model.path / WEIGHTS_FILE).write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="content differs"):
        open_version(model.path)
    opened = open_version(model.path, unread=(WEIGHTS_FILE,))
    assert opened.digest == model.digest
    opened.verify(TOKENIZER_FILE)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: content differs from its checksum in SHA256SUMS"):
        opened.verify(WEIGHTS_FILE)


def test_the_sums_are_what_sha256sum_checks(tmp_path: Path) -> None:
    _write(ModelStore(tmp_path), "m")
    result = subprocess.run(["sha256sum", "-c", SUMS_FILE], cwd=tmp_path / "m" / "1", capture_output=True, check=False)
    assert result.returncode == 0


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/../b",
        "/etc",
        "a/b/c",
        "A",
        "a b",
        "a\x00",
        "-a",
        ".new-x",
        "m/0",
        "m/01",
        "m/x",
        "m@",
        "m@1",
        "m@a/1",
    ],
)
def test_references_outside_the_store_are_refused(tmp_path: Path, name: str) -> None:
    store = ModelStore(tmp_path)
    with pytest.raises(CheckpointError):
        store.open(name)
    with pytest.raises(CheckpointError, match="model name"), store.new_version(name):
        pass


def test_an_unknown_model_or_version_says_what_there_is(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    _write(store, "m")
    with pytest.raises(CheckpointError, match=r"no model 'n'; there are: m"):
        store.open("n")
    with pytest.raises(CheckpointError, match=r"no version 2; there are: \[1\]"):
        store.open("m/2")


def test_a_label_stands_for_its_version(tmp_path: Path) -> None:
    """As long as it names it; where there is none, or none such, the message says what there is."""
    store = ModelStore(tmp_path)
    for _ in range(3):
        _write(store, "m")
    with pytest.raises(CheckpointError, match=r"no label 'champion'; there are: none"):
        store.open("m@champion")
    store.relabel("m", lambda labels: labels.moved("champion", 2, "label"))
    assert store.open("m@champion").reference == "m/2"
    assert store.open("m").reference == "m/3"
    with pytest.raises(CheckpointError, match=r"no label 'candidate'; there are: champion \(version 2\)"):
        store.open("m@candidate")
    store.relabel("m", lambda labels: labels.moved("champion", 9, "label"))
    with pytest.raises(CheckpointError, match=r"no version 9, which is 'champion'; there are: \[1, 2, 3\]"):
        store.open("m@champion")
    assert store.models() == {"m": [1, 2, 3]}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"architecture": "transformer"}, "architecture"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"hidden_size": "8"}, "hidden_size"),
        ({"temperature": 0}, "temperature"),
        ({"temperature": 1e-300}, "temperature"),
        ({"pooling": ["last", "last"]}, "pooling"),
        ({"pooling": ["median"]}, "pooling"),
        ({"labels": ["one"]}, "labels"),
        ({"labels": ["same", "same"]}, "labels"),
        ({"head_tokens": 99}, "head_tokens"),
        ({"output": "sigmoid", "labels": ["a", "b", "c"]}, "sigmoid"),
        ({"extra": 1}, "extra"),
        ({"unsure_below": 1.5}, "unsure_below"),
        ({"unreadable_above": -0.1}, "unreadable_above"),
        ({"unreadable_above": None}, "unreadable_above"),
        ({"format": 2}, "format"),
    ],
)
def test_a_bad_configuration_field_is_named(tmp_path: Path, change: dict[str, object], field: str) -> None:
    path = tmp_path / CONFIG_FILE
    path.write_text(json.dumps({**tiny_config().model_dump(), **change}))
    with pytest.raises(CheckpointError, match=rf"{CONFIG_FILE}: .*{field}"):
        read_config(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{"])
def test_a_configuration_that_is_no_document_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CONFIG_FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match=CONFIG_FILE):
        read_config(tmp_path / CONFIG_FILE)


def test_a_configuration_survives_the_file(tmp_path: Path) -> None:
    config = tiny_config(
        bidirectional=True, temperature=1.25, labels=("a", "ü", "c"), unsure_below=0.55, unreadable_above=0.3
    )
    write_config(config, tmp_path / CONFIG_FILE)
    assert read_config(tmp_path / CONFIG_FILE) == config
    assert config.thresholds == Thresholds(0.55, 0.3)


@pytest.mark.parametrize(("labels", "unsure_below"), [(("a", "b"), 0.6), (("a", "b", "c"), 0.4)])
def test_a_model_without_thresholds_has_usual_ones(
    tmp_path: Path, labels: tuple[str, ...], unsure_below: float
) -> None:
    """As models have that are older than thresholds."""
    document = tiny_config(labels=labels).model_dump()
    del document["unsure_below"], document["unreadable_above"]
    (tmp_path / CONFIG_FILE).write_text(json.dumps(document))
    assert read_config(tmp_path / CONFIG_FILE).thresholds == pytest.approx(Thresholds(unsure_below, 0.5))


def test_the_digest_depends_on_everything_that_decides_a_score(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    _write(store, "m")
    _write(store, "m")
    with store.new_version("m") as folder:
        _fill(folder)
        (folder / "README.md").write_text("a card changes no score")
    _write(store, "m", content="y")
    with store.new_version("m") as folder:
        _fill(folder)
        write_config(tiny_config(temperature=2.0), folder / CONFIG_FILE)
    first, second, carded, weights, calibrated = (store.open(f"m/{version}").digest for version in range(1, 6))
    assert first == second == carded
    assert len({first, weights, calibrated}) == 3


def test_metrics_are_empty_where_there_are_none(tmp_path: Path) -> None:
    model = add_checkpoint(tmp_path)
    assert model.metrics == {}
    assert model.size > 0


def test_reading_the_store_needs_no_torch(tiny_store: Path) -> None:
    imports = "import sys, pathlib, app.models, app.training.command, app.training.evaluate_command, app.store"
    code = f"{imports}; app.store.ModelStore(pathlib.Path({str(tiny_store)!r})).open('tiny'); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
