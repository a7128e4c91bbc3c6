"""Versions beside the one that is served: what is refused, what becomes of one that fails, and what is told."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from app.errors import CheckpointError, SettingsError
from app.process.succession import Generation, Succession, SuccessionError
from app.rollout import beside as room
from app.rollout.beside import Beside
from app.rollout.orders import Orders, RefusedError
from app.rollout.roster import Entry, Roster
from app.settings import Settings
from app.store import WEIGHTS_FILE, ModelStore, StoredModel
from app.supervisor_process import check_further
from tests.checkpoints import add_checkpoint


class WatchedRoster(Roster):
    """One that all workers have at once, with what is wrong with it."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[list[str]] = []
        self.settled = False
        self.faults: Mapping[str, str] | None = {}

    def publish(self, entries: object, *, settled: bool = True) -> int:
        assert isinstance(entries, list)
        self.published.append([entry["model"] for entry in entries])
        self.settled = settled
        return len(self.published)

    def wait(self, number: int, workers: object, seconds: float) -> Mapping[str, str] | None:
        return self.faults


class House:
    """Stands for the processes, which succeed or fail at once."""

    def __init__(self, store: ModelStore, most: int = 3) -> None:
        self.fault = ""
        self.left: list[str] = []
        succession = Succession(lambda child: None, 1.0, 1.0)
        succession.stand_beside = self._stand  # type: ignore[method-assign]
        succession.leave = self._leave  # type: ignore[method-assign]
        self.roster, self.orders, self.served = WatchedRoster(), Orders(), store.open("tiny/1")
        self.beside = Beside(store, succession, self._of, self.roster, self.orders, lambda: self.served, most, 1.0)

    @staticmethod
    def _of(model: StoredModel) -> tuple[Generation, Entry]:
        return Generation(model.reference), {"model": model.reference}

    def _stand(self, generation: Generation) -> None:
        if self.fault:
            generation.live.set_exception(SuccessionError(self.fault))
        else:
            generation.live.set_result(None)

    def _leave(self, generation: Generation) -> None:
        self.left.append(generation.name)

    @property
    def loaded(self) -> list[str]:
        return [f"{it['model']}/{it['version']}" for it in self.beside.document()["beside"]]

    def refused(self, order: str, reference: str) -> tuple[str, str]:
        """Why an order is refused."""
        with pytest.raises(RefusedError) as caught:
            getattr(self.beside, order)(reference, "op")
        assert self.orders.newest_first()[0]["reason"] == str(caught.value)
        return caught.value.code, str(caught.value)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    for seed in (0, 1):
        add_checkpoint(tmp_path, seed=seed)
    add_checkpoint(tmp_path, "other", labels=("bad", "good"))
    return ModelStore(tmp_path)


@pytest.fixture
def house(store: ModelStore) -> House:
    return House(store)


def test_versions_are_loaded_and_unloaded(store: ModelStore, house: House, caplog: pytest.LogCaptureFixture) -> None:
    """By number or label, also with other labels than those of what is served; each order is in the audit log."""
    store.relabel("tiny", lambda labels: labels.moved("candidate", 2, "label"))
    with caplog.at_level(logging.WARNING, "app.audit"):
        house.beside.load("tiny@candidate", "op")
        house.beside.load("other", "op")
        assert house.roster.published == [["tiny/2"], ["tiny/2", "other/1"]]
        assert house.loaded == ["tiny/2", "other/1"]
        assert house.beside.document()["beside"][0]["label"] == "candidate"
        house.beside.unload("tiny@candidate", "op")
    assert (house.loaded, house.left, house.roster.published[-1]) == (["other/1"], ["tiny/2"], ["other/1"])
    told = [(line.getMessage(), vars(line)["by"], vars(line)["from"], vars(line)["to"]) for line in caplog.records]
    assert told == [
        ("model load: loaded", "op", "tiny/1", "tiny/1, tiny/2"),
        ("model load: loaded", "op", "tiny/1, tiny/2", "tiny/1, tiny/2, other/1"),
        ("model unload: unloaded", "op", "tiny/1, tiny/2, other/1", "tiny/1, other/1"),
    ]


def test_what_is_loaded_already_is_not_loaded_again(house: House) -> None:
    house.beside.load("tiny/1", "op")
    house.beside.load("tiny/2", "op")
    house.beside.load("tiny/2", "op")
    assert house.roster.published == [["tiny/2"]]


def test_there_is_a_bound(store: ModelStore) -> None:
    """What is served counts."""
    house = House(store, most=2)
    house.beside.load("other", "op")
    assert house.refused("load", "tiny/2") == (
        "too_many_models",
        "2 versions are loaded, and the limit is 2; unload one first",
    )
    house.beside.unload("other/1", "op")
    house.beside.load("tiny/2", "op")
    assert house.loaded == ["tiny/2"]


def test_without_memory_nothing_is_started(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "free_memory", lambda: 0.0)
    code, why = house.refused("load", "tiny/2")
    assert (code, "0 MB are free" in why) == ("model_refused", True)
    assert house.roster.published == []


def test_what_is_not_right_is_refused(store: ModelStore, house: House) -> None:
    """Damaged, or not there; by messages that do not tell where the store is."""
    (store.root / "tiny" / "2" / WEIGHTS_FILE).write_bytes(b"damaged")
    code, why = house.refused("load", "tiny/2")
    assert (code, why.startswith(f"tiny/2/{WEIGHTS_FILE}: content differs")) == ("model_refused", True)
    assert house.refused("load", "nothing")[0] == "model_not_found"
    assert house.refused("load", "tiny@candidate")[0] == "model_not_found"
    assert house.refused("unload", "tiny@candidate")[0] == "model_not_found"
    assert house.refused("unload", "Tiny/0") == (
        "model_not_found",
        "model 'Tiny/0': must be NAME, NAME/VERSION or NAME@LABEL, in lower case",
    )
    assert (house.loaded, house.roster.published) == ([], [])


def test_what_its_engine_says_is_told(store: ModelStore, house: House) -> None:
    """Workers never hear of it."""
    house.fault = f"{store.root}/tiny/2/golden.json: the scores of text 1 are 0.2 off"
    assert house.refused("load", "tiny/2")[1] == "tiny/2: tiny/2/golden.json: the scores of text 1 are 0.2 off"
    assert house.roster.published == []


def test_what_the_system_refuses_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a folder on a full disk; the order is not under way for ever."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/somewhere")

    monkeypatch.setattr(house.beside, "_generation_of", full)
    why = "tiny/2: the system refuses what it needs (No space left on device)"
    assert house.refused("load", "tiny/2") == ("model_refused", why)
    assert house.orders.newest_first()[0]["outcome"] == "refused"


def test_an_order_that_fails_is_not_under_way(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house.beside, "_generation_of", lambda _: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        house.beside.load("tiny/2", "op")
    assert house.orders.newest_first()[0]["outcome"] == "refused"


@pytest.mark.parametrize(
    ("faults", "why"),
    [({"tiny/2": "vocabulary is damaged"}, "vocabulary is damaged"), (None, "not all HTTP workers have it")],
)
def test_what_workers_cannot_load_goes_again(house: House, faults: Mapping[str, str] | None, why: str) -> None:
    """From all of them, and its engine ends."""
    house.roster.faults = faults
    assert why in house.refused("load", "tiny/2")[1]
    assert (house.loaded, house.roster.published, house.left) == ([], [["tiny/2"], []], ["tiny/2"])


def test_what_is_served_is_not_unloaded(house: House) -> None:
    assert house.refused("unload", "tiny/1")[0] == "model_is_served"
    assert house.refused("unload", "tiny/2")[1] == "tiny/2 is not loaded; loaded are: tiny/1"


def test_one_that_comes_to_be_served_is_no_longer_beside(store: ModelStore, house: House) -> None:
    house.beside.load("tiny/2", "op")
    house.served = store.open("tiny/2")
    house.beside.forget(house.served)
    assert (house.loaded, house.left) == ([], ["tiny/2"])
    house.beside.forget(store.open("tiny/1"))


def test_workers_are_ready_when_all_was_tried(house: House) -> None:
    """One that is refused at the start keeps the others from nothing."""
    house.beside.begin(["nothing", "other"], "start")
    assert (house.loaded, house.roster.settled) == (["other/1"], True)
    assert [it["by"] for it in house.orders.newest_first()] == ["start", "start"]


def test_one_order_at_a_time(house: House) -> None:
    """Of all kinds."""
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with house.orders.one("model switch", "x", "op", "served", lambda: ""):
            inside.set()
            leave.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        inside.wait(60)
        with pytest.raises(RefusedError, match="another order is under way"):
            house.beside.load("tiny/2", "op")
    finally:
        leave.set()
        holder.join()


def test_what_the_settings_name_is_checked_before_the_start(store: ModelStore) -> None:
    """How many there are, each name, and each file; a label may name nothing, as after the candidate was promoted."""
    root = store.root
    check_further(Settings(model_store=root, further_models=" tiny/2, other,, "))
    with pytest.raises(SettingsError, match=r"SENTIMENT_MAX_MODELS: .* name 3 models, and the limit is 2"):
        check_further(Settings(model_store=root, further_models="tiny/2,other", max_models=2))
    check_further(Settings(model_store=root, further_models="tiny@candidate"))
    with pytest.raises(CheckpointError, match=r"SENTIMENT_FURTHER_MODELS: .*no model 'none'"):
        check_further(Settings(model_store=root, further_models="none@candidate"))
    with pytest.raises(CheckpointError, match=r"SENTIMENT_FURTHER_MODELS: .*no version 9"):
        check_further(Settings(model_store=root, further_models="tiny/9"))
    (root / "tiny" / "2" / WEIGHTS_FILE).write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"SENTIMENT_FURTHER_MODELS: .*content differs"):
        check_further(Settings(model_store=root, further_models="tiny/2"))
