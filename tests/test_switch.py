"""Another model takes the place of the one that is served, under load, with the real processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.keys import ADMIN, CLASSIFY, new_key
from app.model.runtimes import load_predictor
from app.store import WEIGHTS_FILE, ModelStore, StoredModel
from app.text.tokenizer import load_tokenizer
from tests.checkpoints import WORDS, add_checkpoint
from tests.service import Service, serving
from tests.waiting import wait_until

TEXTS = [f"the {first} film was {second}" for first in WORDS[:8] for second in WORDS[8:16]]
PATIENCE = 240.0
"""Seconds that a generation may take to start on a busy machine."""


def scores_of(model: StoredModel) -> dict[str, tuple[float, ...]]:
    """What a version says of each text, on this machine."""
    tokenizer, predictor = load_tokenizer(model), load_predictor(model, "cpu")
    return {text: predictor.predict([tokenizer.encode(text).ids])[0].probabilities for text in TEXTS}


class Load:
    """Clients that ask for known texts again and again, on new and on kept connections.

    Attributes:
        answers: when each request began, whether on a kept connection, and which version answered.
        faults: what was not as it should be.
    """

    def __init__(self, service: Service, headers: dict[str, str], expected: dict[int, dict[str, tuple[float, ...]]]):
        self.answers: list[tuple[float, bool, int]] = []
        self.faults: list[str] = []
        self._url = f"{service.url}/classify"
        self._headers = headers
        self._expected = expected
        self._stop = threading.Event()

    def run(self, *, kept: bool) -> None:
        client = httpx.Client(headers=self._headers, timeout=60)
        try:
            for number in range(10**9):
                if self._stop.is_set():
                    break
                text = TEXTS[number % len(TEXTS)]
                began = time.monotonic()
                try:
                    if kept:
                        answer = client.post(self._url, json={"text": text})
                    else:
                        answer = httpx.post(self._url, json={"text": text}, headers=self._headers, timeout=60)
                    self._check(text, answer, began, kept)
                except httpx.HTTPError as error:
                    self.faults.append(f"{'kept' if kept else 'new'}: {error!r}")
                self._stop.wait(0.01)
        finally:
            client.close()

    def _check(self, text: str, answer: httpx.Response, began: float, kept: bool) -> None:
        if answer.status_code != 200:
            self.faults.append(f"{answer.status_code} {answer.text}")
            return
        found = answer.json()
        if tuple(found["scores"].values()) != pytest.approx(self._expected[found["version"]][text], abs=1e-6):
            self.faults.append(f"{text}: {found}")
        self.answers.append((began, kept, found["version"]))

    @contextmanager
    def going_on(self) -> Iterator[None]:
        threads = [threading.Thread(target=self.run, kwargs={"kept": kept}) for kept in (True, True, False, False)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def begun_after(self, moment: float, *, kept: bool) -> list[int]:
        """Versions that answered requests which began after a moment, of one kind of connections."""
        return [version for began, was_kept, version in list(self.answers) if began > moment and was_kept == kept]

    def wait_for_versions(self, versions: set[int]) -> None:
        """Until requests that begin from now on were answered by all of these."""
        moment = time.monotonic()

        def found() -> bool:
            return {version for began, _, version in list(self.answers) if began > moment} == versions

        wait_until(lambda: found() or bool(self.faults), "one of them answers nothing")

    def wait_for(self, count: int) -> None:
        """Until so many more requests were answered."""
        goal = len(self.answers) + count
        wait_until(lambda: len(self.answers) >= goal or bool(self.faults), "nothing is answered")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1 and 2, of which the first is the champion; 3 is damaged, 4 has other labels."""
    root = tmp_path_factory.mktemp("store")
    for seed in (0, 1, 2):
        add_checkpoint(root, seed=seed)
    add_checkpoint(root, labels=("bad", "good"))
    (root / "tiny" / "3" / WEIGHTS_FILE).write_bytes(b"damaged")
    labels = ModelStore(root)
    labels.relabel("tiny", lambda found: found.moved("champion", 1, "label").moved("candidate", 2, "label"))
    return root


def test_a_model_is_changed_under_load_and_back(store: Path, tmp_path: Path) -> None:
    """Every request is answered with the scores of a version that was served while it was under way; a candidate that
    is damaged, answers otherwise or whose engine is killed changes nothing and says why."""
    expected = {version: scores_of(ModelStore(store).open(f"tiny/{version}")) for version in (1, 2)}
    key, kept = new_key("operator", (ADMIN, CLASSIFY))
    keys = tmp_path / "keys"
    keys.write_text(kept.line + "\n")
    headers = {"Authorization": f"Bearer {key}"}
    with (
        serving(store, "tiny@champion", workers="2", api_keys=str(keys), cache="off") as service,
        httpx.Client(base_url=service.url, headers=headers, timeout=PATIENCE) as admin,
    ):
        load = Load(service, headers, expected)

        def ask(version: str) -> httpx.Response:
            return admin.post(f"/admin/models/tiny/{version}/load")

        def kill_the_new_engine() -> None:
            [old] = service.children("engine")
            wait_until(lambda: len(service.children("engine")) == 2, "no second engine")
            [new] = set(service.children("engine")) - {old}
            os.kill(new, signal.SIGKILL)

        def only_answers(version: int, live: float) -> None:
            """On new connections from that moment, on kept ones when those before have ended."""
            wait_until(lambda: len(service.children("engine")) == 1, "the engine before never ended")
            ended = time.monotonic()
            for kept, moment in ((False, live), (True, ended)):

                def answered(kept: bool = kept, moment: float = moment) -> bool:
                    return bool(load.faults) or len(load.begun_after(moment, kept=kept)) > 20

                wait_until(answered, "nothing is answered")
                assert set(load.begun_after(moment, kept=kept)) == {version}

        with load.going_on():
            load.wait_for(50)
            for version, code, why in (
                ("3", "model_refused", "content differs from its checksum"),
                ("4", "model_refused", "bad, good"),
                ("9", "model_not_found", "no version 9"),
                ("nothing", "model_not_found", "candidate (version 2)"),
            ):
                refused = ask(version).json()
                assert (refused["code"], why in refused["detail"]) == (code, True), refused
                assert str(store) not in refused["detail"]
            killer = threading.Thread(target=kill_the_new_engine)
            killer.start()
            refused = ask("candidate").json()
            killer.join()
            assert refused["detail"] == "tiny/2: engine-0 ended with status -9"
            load.wait_for(50)
            assert {version for _, _, version in load.answers} == {1}

            changed = ask("candidate")
            live = time.monotonic()
            assert changed.json()["served"]["version"] == 2, changed.text
            assert changed.json()["served"]["label"] == "candidate"
            only_answers(2, live)

            back = ask("1")
            live = time.monotonic()
            assert back.json()["served"]["version"] == 1, back.text
            only_answers(1, live)
        assert load.faults == []

        told = admin.get("/admin/models").json()["attempts"]
        assert [(one["asked"], one["outcome"]) for one in told[:3]] == [
            ("tiny/1", "served"),
            ("tiny@candidate", "served"),
            ("tiny@candidate", "refused"),
        ]
        metrics = admin.get("/metrics").text
        assert {line for line in metrics.splitlines() if line.startswith("sentiment_model_info{")} == {
            line for line in metrics.splitlines() if line.startswith("sentiment_model_info{") and 'version="1"' in line
        }
        for number in (1, 2):
            answered = sum(found == number for _, _, found in load.answers)
            label = f'model="tiny",version="{number}"'
            counted = sum(
                float(line.rpartition(" ")[2])
                for line in metrics.splitlines()
                if line.startswith("sentiment_predictions_total{") and label in line
            )
            assert counted == answered
        audit = [line for line in service.output.read_text().splitlines() if "model switch: served" in line]
        assert len(audit) == 2
        assert '"by": "operator"' in audit[0]
        assert service.stop() == 0
