"""What a request may name, of what is loaded, and when a version is in use."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import UnknownModelError
from app.serving.versions import Canary, StoredLabels
from app.store import ModelStore, StoredModel
from tests.checkpoints import add_checkpoint
from tests.fakes import MODEL, FakeClassifier, versions_of


def model(name: str, version: int) -> StoredModel:
    return replace(MODEL, name=name, version=version)


SERVED = model("tiny", 1)
FURTHER = versions_of(
    *(FakeClassifier(model=model(*it)) for it in (("tiny", 2), ("tiny", 3), ("other", 4), ("other", 7)))
)


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ("tiny", None),
        ("tiny/1", None),
        ("tiny/2", "tiny/2"),
        ("tiny@candidate", "tiny/2"),
        ("other", "other/7"),
        ("other/4", "other/4"),
    ],
)
def test_a_request_names_what_is_loaded(named: str, found: str | None) -> None:
    """A name alone is the version that is served, or of another name the highest; None is what is served."""
    version = FURTHER.find(named, SERVED)
    assert (None if version is None else version.classifier.model.reference) == found


@pytest.mark.parametrize(
    "named", ["tiny/9", "tiny@champion", "nothing", "other@candidate", "Tiny", "", "tiny/1/2", "../x"]
)
def test_what_is_not_loaded_is_told(named: str) -> None:
    """With what is; however wrong the name."""
    with pytest.raises(UnknownModelError, match=r"not loaded; loaded are: tiny/1, tiny/2, tiny/3, other/4, other/7$"):
        FURTHER.find(named, SERVED)


def test_a_long_name_is_not_repeated() -> None:
    with pytest.raises(UnknownModelError) as caught:
        FURTHER.find("x" * 200, SERVED)
    assert "x" * 101 not in str(caught.value)


def test_a_version_is_idle_when_nobody_is_within() -> None:
    [version] = versions_of(FakeClassifier()).loaded.values()
    assert version.idle
    with version, version:
        assert not version.idle
    assert version.idle
    version.classifier._in_flight = 1
    assert not version.idle


def test_labels_are_read_from_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And again after a moment; malformed ones are as none, and nothing is remembered of names that are made up."""
    now = 100.0
    monkeypatch.setattr("app.serving.versions.time.monotonic", lambda: now)
    add_checkpoint(tmp_path)
    store, labels = ModelStore(tmp_path), StoredLabels(tmp_path)
    assert labels("tiny") == {}
    store.relabel("tiny", lambda found: found.moved("champion", 1, "label"))
    assert labels("tiny") == {"champion": 1}
    store.relabel("tiny", lambda found: found.moved("candidate", 1, "label"))
    assert labels("tiny") == {"champion": 1}
    now += 3.0
    assert labels("tiny") == {"champion": 1, "candidate": 1}
    (tmp_path / "tiny" / "labels.json").write_text("{")
    now += 3.0
    assert labels("tiny") == {"champion": 1, "candidate": 1}
    assert labels("nothing") == {}
    assert labels._read.keys() == {"tiny"}
    tmp_path.rename(f"{tmp_path}-away")
    now += 3.0
    assert labels("tiny") == {"champion": 1, "candidate": 1}


def test_a_store_that_hangs_makes_nobody_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels are what they were, and are read again when it answers; until then nobody else tries."""
    now = 100.0
    monkeypatch.setattr("app.serving.versions.time.monotonic", lambda: now)
    add_checkpoint(tmp_path)
    store, labels = ModelStore(tmp_path), StoredLabels(tmp_path)
    store.relabel("tiny", lambda found: found.moved("champion", 1, "label"))
    assert labels("tiny") == {"champion": 1}
    file = tmp_path / "tiny" / "labels.json"
    document = file.read_text().replace("champion", "candidate")
    file.unlink()
    os.mkfifo(file)
    now += 3.0
    before = threading.active_count()
    assert [labels("tiny") for _ in range(3)] == [{"champion": 1}] * 3
    assert threading.active_count() == before + 1
    file.write_text(document)  # to who hangs there
    assert labels._reader is not None
    labels._reader.join()
    assert labels("tiny") == {"candidate": 1}


def test_labels_of_what_is_not_loaded_are_not_looked_for() -> None:
    further, asked = versions_of(FakeClassifier(model=model("tiny", 2))), []
    further._labels = lambda name: asked.append(name) or {}  # type: ignore[func-returns-value]
    for named in ("tiny@candidate", "made-up@candidate"):
        with pytest.raises(UnknownModelError):
            further.find(named, SERVED)
    assert asked == ["tiny"]


def canary(percent: float, version: int = 2) -> Canary:
    [found] = versions_of(FakeClassifier(model=model("tiny", version))).loaded.values()
    return Canary(found, percent)


def taken(found: Canary) -> set[int]:
    """Which of 10,000 texts it answers."""
    return {number for number in range(10_000) if found.takes(b"text %d" % number)}


@pytest.mark.parametrize("percent", [0.5, 1, 10, 50, 90, 100])
def test_the_share_is_what_it_should_be(percent: float) -> None:
    """Within a point, of 10,000 texts; and the same ones each time."""
    found = taken(canary(percent))
    assert abs(len(found) / 100 - percent) < 1
    assert taken(canary(percent)) == found


def test_who_is_among_them_stays_so_while_the_share_grows() -> None:
    """Another version has others."""
    ten, fifty = taken(canary(10)), taken(canary(50))
    assert ten < fifty
    other = taken(canary(10, version=3))
    assert 50 < len(ten & other) < 150


def test_requests_are_told_apart_by_their_header() -> None:
    """Where they have it; else by the text, surrogates included."""
    further = versions_of(FakeClassifier(model=model("tiny", 2)))
    further._header = b"x-sticky-key"
    [version] = further.loaded.values()
    assert further.divided([], "text") is None
    further.canary = Canary(version, 50)
    by_text = {text: further.divided([], text) for text in map(str, range(100))}
    assert set(by_text.values()) == {None, version}
    assert {text: further.divided([(b"x-sticky-key", b"")], text) for text in by_text} == by_text
    for user in range(20):
        headers = [(b"accept", b"*/*"), (b"x-sticky-key", b"user %d" % user)]
        assert len({further.divided(headers, text) for text in by_text}) == 1
    further.divided([], "\ud800")


def test_a_canary_whose_engine_is_away_takes_nothing() -> None:
    """What is served answers its share."""
    for ready in (True, False):
        further = versions_of(FakeClassifier(model=model("tiny", 2), is_ready=ready))
        [version] = further.loaded.values()
        further.canary = Canary(version, 100)
        assert further.divided([], "text") is (version if ready else None)
