"""Which model comes to be served: what is refused before any process is started, what is told, and labels followed."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from app.process.succession import Generation, Succession, SuccessionError
from app.rollout import orders, switching
from app.rollout.orders import Orders, RefusedError
from app.rollout.switching import Served, Switching
from app.store import WEIGHTS_FILE, ModelStore, StoredModel
from tests.checkpoints import add_checkpoint
from tests.waiting import wait_until


class Prepared:
    """Stands for the processes: what was to be prepared, which succeeds or fails at once."""

    def __init__(self, store: ModelStore) -> None:
        self.asked: list[str] = []
        self.fault = ""
        self.hold: threading.Event | None = None
        self.succession = Succession(lambda child: None, 1.0, 1.0)
        self.succession.take_over = self._take_over  # type: ignore[method-assign]
        served = Served(store.open("tiny/1"), None, "then")
        self.orders = Orders()
        self.switching = Switching(store, self.succession, self._generation, served, self.orders)

    def _generation(self, model: StoredModel) -> Generation:
        self.asked.append(model.reference)
        return Generation(model.reference)

    def _take_over(self, generation: Generation) -> None:
        if self.hold is not None:
            self.hold.wait(60)
        if self.fault:
            generation.live.set_exception(SuccessionError(self.fault))
        else:
            generation.live.set_result(None)

    def load(self, reference: str) -> dict[str, Any]:
        """What a client is told of it."""
        try:
            self.switching.load(reference, "op")
        except RefusedError as error:
            return {"error": {"code": error.code, "detail": str(error)}}
        return self.document()

    def document(self) -> dict[str, Any]:
        return self.switching.document() | {"attempts": self.orders.newest_first()}


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    for seed in (0, 1):
        add_checkpoint(tmp_path, seed=seed)
    add_checkpoint(tmp_path, "other", seed=2)
    return ModelStore(tmp_path)


@pytest.fixture
def prepared(store: ModelStore) -> Prepared:
    return Prepared(store)


def test_a_model_is_served_by_version_or_label(
    store: ModelStore, prepared: Prepared, caplog: pytest.LogCaptureFixture
) -> None:
    """Who asked, when, from which to which, is told, and stands in the audit log."""
    store.relabel("tiny", lambda labels: labels.moved("champion", 2, "label"))
    with caplog.at_level(logging.WARNING, "app.audit"):
        told = prepared.load("tiny@champion")
    assert prepared.asked == ["tiny/2"]
    served = told["served"]
    assert (served["model"], served["version"], served["label"]) == ("tiny", 2, "champion")
    assert served["since"] != "then"
    attempts = told["attempts"]
    assert {**attempts[0], "at": "", "seconds": 0} == {
        "order": "model switch",
        "asked": "tiny@champion",
        "by": "op",
        "at": "",
        "outcome": "served",
        "version": "tiny/2",
        "seconds": 0,
    }
    [line] = caplog.records
    assert (vars(line)["by"], vars(line)["from"], vars(line)["to"]) == ("op", "tiny/1", "tiny/2")


def test_another_name_with_the_same_labels_may_be_served(prepared: Prepared) -> None:
    prepared.load("other")
    assert prepared.asked == ["other/1"]


def test_what_is_served_already_is_not_prepared_again(prepared: Prepared) -> None:
    """Only the label by which it is served is another one."""
    told = prepared.load("tiny/1")
    assert prepared.asked == []
    assert told["served"] == {**told["served"], "version": 1, "since": "then"}


def refused(prepared: Prepared, reference: str, code: str) -> str:
    """Why a model is refused; the one before is still served, and the attempt is told."""
    error = prepared.load(reference)["error"]
    assert error["code"] == code
    told = prepared.document()
    assert told["served"]["version"] == 1
    assert (told["attempts"][0]["outcome"], told["attempts"][0]["reason"]) == ("refused", error["detail"])
    return str(error["detail"])


def test_a_damaged_version_is_refused(store: ModelStore, prepared: Prepared) -> None:
    """Before a process is started, by a message that does not tell where the store is."""
    (store.root / "tiny" / "2" / WEIGHTS_FILE).write_bytes(b"damaged")
    assert refused(prepared, "tiny/2", "model_refused").startswith(f"tiny/2/{WEIGHTS_FILE}: content differs")
    assert prepared.asked == []


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("tiny/7", "tiny: no version 7; there are: [1, 2]"),
        ("tiny@champion", "tiny: no label 'champion'; there are: none"),
        ("none", "no model 'none'; there are: other, tiny"),
    ],
)
def test_what_is_not_there_is_not_found(prepared: Prepared, reference: str, told: str) -> None:
    assert refused(prepared, reference, "model_not_found") == told


@pytest.mark.parametrize("changes", [{"labels": ("bad", "good")}, {"rating": True}])
def test_a_model_that_answers_otherwise_is_refused(
    store: ModelStore, prepared: Prepared, changes: dict[str, Any]
) -> None:
    """Clients rely on labels, and on there being a rating or none."""
    add_checkpoint(store.root, **changes)
    assert "tiny/3 answers otherwise than tiny/1" in refused(prepared, "tiny/3", "model_refused")
    assert prepared.asked == []


def test_without_memory_for_both_nothing_is_started(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switching, "free_memory", lambda: -1.0)
    assert "raise the memory limit" in refused(prepared, "tiny/2", "model_refused")
    assert prepared.asked == []


def test_what_its_processes_say_is_told(store: ModelStore, prepared: Prepared) -> None:
    prepared.fault = f"{store.root}/tiny/2/golden.json: the scores of text 1 are 0.2 off"
    assert (
        refused(prepared, "tiny/2", "model_refused") == "tiny/2: tiny/2/golden.json: the scores of text 1 are 0.2 off"
    )


def test_one_at_a_time(prepared: Prepared) -> None:
    """A second one meanwhile is refused, and the first one goes on."""
    prepared.hold = threading.Event()
    first = threading.Thread(target=prepared.load, args=("tiny/2",))
    first.start()
    try:
        wait_until(lambda: prepared.asked, "never begun")
        assert prepared.load("other")["error"] == {
            "code": "load_under_way",
            "detail": "another order is under way; GET /admin/models tells",
        }
        assert prepared.document()["attempts"][0]["outcome"] == "under way"
    finally:
        prepared.hold.set()
        first.join()
    assert prepared.document()["served"]["version"] == 2


def test_attempts_are_bounded(prepared: Prepared) -> None:
    for _ in range(orders.ATTEMPTS + 5):
        prepared.load("none")
    assert len(prepared.document()["attempts"]) == orders.ATTEMPTS


def test_a_label_is_followed(store: ModelStore, prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it moves, and only then; labels that cannot be read change nothing."""
    monkeypatch.setattr(switching, "FOLLOW_SECONDS", 0.01)
    store.relabel("tiny", lambda labels: labels.moved("champion", 1, "label"))
    stop = threading.Event()
    thread = threading.Thread(target=prepared.switching.follow, args=("tiny@champion", stop))
    thread.start()
    try:
        store.relabel("tiny", lambda labels: labels.moved("candidate", 2, "label"))
        (store.root / "tiny" / "labels.json").write_text("{")
        (store.root / "tiny" / "labels.json").unlink()
        store.relabel("tiny", lambda labels: labels.moved("champion", 2, "label"))
        wait_until(lambda: prepared.document()["served"]["version"] == 2, "never followed")
    finally:
        stop.set()
        thread.join()
    assert prepared.document()["attempts"][0]["by"] == "label"
    assert prepared.asked == ["tiny/2"]
