"""A second model beside the one that is served, in real processes: loaded, named, killed and unloaded under load."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import httpx
import pytest

from app.keys import ADMIN, CLASSIFY, new_key
from app.store import WEIGHTS_FILE, ModelStore
from tests.checkpoints import add_checkpoint
from tests.service import Service, serving
from tests.test_switch import PATIENCE, TEXTS, Load, scores_of
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``tiny`` in versions that are sure of all, but the third, which is damaged, and the fourth, which is sure of
    nothing; and ``other`` with other labels."""
    root = tmp_path_factory.mktemp("store")
    for seed, unsure_below in ((0, 0.0), (1, 0.0), (2, 0.0), (0, 1.0)):
        add_checkpoint(root, seed=seed, unsure_below=unsure_below)
    add_checkpoint(root, "other", seed=3, labels=("bad", "good"))
    (root / "tiny" / "3" / WEIGHTS_FILE).write_bytes(b"damaged")
    return root


class Operator:
    """Asks as an operator does, of a service with two workers.

    Args:
        service: the service.
        client: with a key of all scopes.
    """

    def __init__(self, service: Service, client: httpx.Client) -> None:
        self.service = service
        self.client = client

    def order(self, order: str, model: str, **document: float) -> httpx.Response:
        return self.client.post(f"/admin/models/{model}/{order}", json=document or None)

    def ask(self, model: str, text: str = TEXTS[0]) -> list[httpx.Response]:
        """The same of both workers, if the kernel will have it so: every connection is a new one."""
        body, headers = {"text": text, "model": model}, {**self.client.headers, "Connection": "close"}
        return [httpx.post(f"{self.service.url}/classify", json=body, headers=headers, timeout=60) for _ in range(12)]

    def sample(self, series: str) -> float:
        """A series of the metrics; 0 where there is none."""
        lines = self.client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == series)

    def engine_of(self, model: str) -> int:
        """Process id of the engine that computes a model."""
        digest = next(
            it["digest"]
            for it in self.client.get("/admin/models").json()["beside"]
            if f"{it['model']}/{it['version']}" == model
        )
        [found] = [pid for pid in self.service.children("engine") if digest in Path(f"/proc/{pid}/cmdline").read_text()]
        return found


def test_two_models_under_load(store: Path, tmp_path: Path) -> None:
    """Requests that name no model are all answered, by what is served or by a canary while that has a share, whatever
    becomes of the other models and their engines."""
    expected = {version: scores_of(ModelStore(store).open(f"tiny/{version}")) for version in (1, 2, 4)}
    other = scores_of(ModelStore(store).open("other/1"))
    key, kept = new_key("operator", (ADMIN, CLASSIFY))
    keys = tmp_path / "keys"
    keys.write_text(kept.line + "\n")
    headers = {"Authorization": f"Bearer {key}"}
    with (
        serving(
            store,
            "tiny/1",
            workers="2",
            api_keys=str(keys),
            cache="off",
            further_models="other",
            max_models="3",
            guard_errors="1",
            guard_change="0.9",
            guard_latency="100",
            shadow_folder=str(tmp_path),
        ) as service,
        httpx.Client(base_url=service.url, headers=headers, timeout=PATIENCE) as client,
    ):
        operator, load = Operator(service, client), Load(service, headers, expected)

        def other_answers() -> None:
            for answer in operator.ask("other/1"):
                found = answer.json()
                assert (answer.status_code, found["model"], found["version"]) == (200, "other", 1), found
                assert list(found["scores"]) == ["bad", "good"]
                assert tuple(found["scores"].values()) == pytest.approx(other[TEXTS[0]], abs=1e-6)

        with load.going_on():
            # It was loaded before the service said that it is ready.
            other_answers()
            assert {answer.status_code for answer in operator.ask("tiny/2")} == {404}
            for reference, status, why in (
                ("tiny/3", 422, "content differs from its checksum"),
                ("tiny/9", 404, "no version 9"),
            ):
                refused = operator.order("load-beside", reference)
                assert (refused.status_code, why in refused.json()["detail"]) == (status, True), refused.text
            assert operator.order("unload", "tiny/1").status_code == 409

            loaded = operator.order("load-beside", "tiny/2")
            assert [it["version"] for it in loaded.json()["beside"]] == [1, 2], loaded.text
            assert {answer.json()["version"] for answer in operator.ask("tiny/2")} == {2}
            assert operator.order("load-beside", "tiny/2").status_code == 200

            # A shadow judges the same texts; what has nothing in common with what is served is refused.
            shadow = operator.order("shadow", "tiny/2", percent=100).json()["shadow"]
            assert shadow == {"model": "tiny/2", "percent": 100, "compares": "the labels negative, positive"}
            pair = 'against="tiny/1",model="tiny",outcome="compared",version="2"'
            compared = f"sentiment_shadow_texts_total{{{pair}}}"
            wait_until(lambda: operator.sample(compared) > 20, "nothing is compared")
            refused = operator.order("shadow", "other/1", percent=100)
            assert (refused.status_code, "can be compared" in refused.text) == (422, True), refused.text
            assert operator.order("unload", "tiny/2").json()["code"] == "model_has_share"
            assert operator.order("shadow", "tiny/2", percent=0).json()["shadow"] is None
            files = list(tmp_path.glob("shadow.tiny-2.tiny-1.worker-*.jsonl"))
            assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
            assert all(
                line["text"] in TEXTS for path in files for line in map(json.loads, path.read_text().splitlines())
            )

            assert {version for _, _, version in load.answers} == {1}
            assert operator.order("canary", "other/1", percent=10).status_code == 422
            assert operator.order("canary", "tiny/2", percent=50).json()["canary"]["percent"] == 50
            load.wait_for_versions({1, 2})
            os.kill(operator.engine_of("tiny/2"), signal.SIGKILL)
            load.wait_for(50)
            load.wait_for_versions({1, 2})
            assert operator.order("unload", "tiny/2").json()["code"] == "model_has_share"
            assert operator.order("canary", "tiny/2", percent=0).json()["canary"] is None
            ended = time.monotonic()
            load.wait_for(50)
            assert {version for began, _, version in load.answers if began > ended} == {1}

            os.kill(operator.engine_of("other/1"), signal.SIGKILL)
            wait_until(lambda: all(answer.status_code == 200 for answer in operator.ask("other/1")), "never came back")
            other_answers()

            assert operator.order("unload", "other/1").status_code == 200
            gone = operator.ask("other/1")
            assert {answer.status_code for answer in gone} == {404}
            assert "loaded are: tiny/1, tiny/2" in gone[0].json()["detail"]
            wait_until(lambda: len(service.children("engine")) == 2, "its engine never ended")

            # A canary that is worse is taken back by itself.
            assert operator.order("load-beside", "tiny/4").status_code == 200
            assert operator.order("canary", "tiny/4", percent=50).status_code == 200
            wait_until(lambda: client.get("/admin/models").json()["canary"] is None, "never taken back")
            load.wait_for_versions({1})
            order = client.get("/admin/models").json()["attempts"][0]
            assert (order["order"], order["by"], order["outcome"]) == ("canary", "guard", "taken back")
            assert "100% of its texts are unsure, 0% of others" in order["reason"]
            wait_until(lambda: "\nsentiment_canary_taken_back 1.0\n" in client.get("/metrics").text, "never told")
            assert operator.order("unload", "tiny/4").status_code == 200
            load.wait_for(50)
        assert load.faults == []

        # A worker that is started again has at once what the others have.
        killed = service.children("worker")[0]
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: killed not in service.children("worker"), "never ended")
        wait_until(lambda: len(service.children("worker")) == 2, "never started again")
        assert {answer.json()["version"] for answer in operator.ask("tiny/2")} == {2}

        # One that comes to be served is beside no more.
        changed = operator.order("load", "tiny/2").json()
        assert (changed["served"]["version"], changed["beside"]) == (2, []), changed
        wait_until(lambda: len(service.children("engine")) == 1, "an engine never ended")
        assert {answer.status_code for answer in operator.ask("tiny/1")} == {404}

        found = client.get("/metrics").text.splitlines()
        series = [line.rpartition(" ")[0] for line in found if not line.startswith("#")]
        assert len(series) == len(set(series))
        counted = [line for line in found if line.startswith("sentiment_predictions_total{")]
        assert any('model="other"' in line and 'label="bad"' in line for line in counted)
        assert not any('model="tiny"' in line and ('"bad"' in line or '"good"' in line) for line in counted)
        served = [line for line in found if line.startswith("sentiment_model_info{")]
        assert len(served) == 1
        assert 'version="2"' in served[0]
        assert service.stop() == 0
