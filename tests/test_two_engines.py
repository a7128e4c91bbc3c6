"""Two engines of one model in real processes: load shared, right answers whichever dies, each seen in the metrics."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.keys import ADMIN, CLASSIFY, new_key
from app.process.groups import groups
from tests.chaos.parts import answers, chaotic, reviews
from tests.checkpoints import add_checkpoint
from tests.service import Service, serving
from tests.test_switch import PATIENCE
from tests.waiting import LIMIT, wait_until

ENGINES = ("0", "1")
CLIENTS, TEXTS = 8, 40
"""Of the load: so many requests at a time, of so many texts each."""
RATE = 400.0
"""Texts that an engine computes in a second at most, so that the engines are what everybody waits for."""


class Clients:
    """Ask for known texts again and again.

    Attributes:
        right: texts that were answered as they should be.
        faults: what was not.
    """

    def __init__(self, service: Service, known: dict[str, float]) -> None:
        self.right = 0
        self.faults: list[str] = []
        self._url = f"{service.url}/classify"
        self._known = list(known.items())
        self._stop = threading.Event()

    @contextmanager
    def going_on(self) -> Iterator[None]:
        with ThreadPoolExecutor(CLIENTS) as threads:
            try:
                for number in range(CLIENTS):
                    threads.submit(self._run, number)
                yield
            finally:
                self._stop.set()

    def wait_for(self, texts: int) -> None:
        """Until so many more texts were answered."""
        goal = self.right + texts
        wait_until(lambda: self.right >= goal or self.faults, "nothing is answered")
        assert not self.faults

    def _run(self, number: int) -> None:
        with httpx.Client(timeout=LIMIT) as client:
            for turn in range(10**9):
                if self._stop.is_set():
                    break
                first = (number * 7 + turn * 13) * TEXTS % len(self._known)
                wanted = [*self._known, *self._known][first : first + TEXTS]
                try:
                    self._check(client.post(self._url, json={"texts": [text for text, _ in wanted]}), wanted)
                except Exception as error:
                    self.faults.append(repr(error))

    def _check(self, answer: httpx.Response, wanted: Sequence[tuple[str, float]]) -> None:
        assert answer.status_code == 200, answer.text
        found = [result["scores"]["positive"] for result in answer.json()["results"]]
        assert found == pytest.approx([score for _, score in wanted], abs=1e-6)
        self.right += len(wanted)


def by_number(service: Service, role: str, flag: Callable[[str], str]) -> list[int]:
    """Process ids, in the order of what a flag of their commands says."""
    return sorted(service.children(role), key=lambda pid: flag(Path(f"/proc/{pid}/cmdline").read_text()))


def engines_of(service: Service) -> list[int]:
    return by_number(service, "engine", lambda command: command.partition("--socket\0")[2])


def computed(service: Service) -> list[float]:
    found = service.metrics()
    return [found[f'sentiment_computed_texts_total{{engine="{engine}"}}'] for engine in ENGINES]


def test_two_engines_under_load(tiny_store: Path) -> None:
    """Each has cores of its own, and both as much to do; either may be killed, and every text is answered right."""
    known = answers(tiny_store, "tiny", reviews(400))
    with chaotic(tiny_store, "tiny", RATE, cache="off", engines="2", workers="2") as service:
        workers = by_number(service, "worker", lambda command: command.partition("--group\0")[2])
        bound = [group.cores or os.sched_getaffinity(0) for group in groups(2)]
        assert [os.sched_getaffinity(pid) for pid in engines_of(service)] == bound
        assert [os.sched_getaffinity(pid) for pid in workers] == bound

        clients = Clients(service, known)
        with clients.going_on():
            clients.wait_for(TEXTS * CLIENTS)
            before = computed(service)
            clients.wait_for(10 * TEXTS * CLIENTS)
            shares = [after - start for start, after in zip(before, computed(service), strict=True)]
            assert min(shares) > 0.8 * sum(shares) / 2, shares
            for place in (0, 1):
                killed = engines_of(service)
                os.kill(killed[place], signal.SIGKILL)
                clients.wait_for(TEXTS * CLIENTS)
                wait_until(lambda killed=killed: len({*engines_of(service)} - {*killed}) == 1, "never replaced")  # type: ignore[misc]
                assert engines_of(service)[1 - place] == killed[1 - place], "the other one was left alone"
                ready = f'sentiment_engine_ready{{engine="{place}"}}'
                wait_until(lambda ready=ready: service.metrics().get(ready) == 1, "never ready again")  # type: ignore[misc]
                again = computed(service)[place]
                wait_until(lambda place=place, again=again: computed(service)[place] > again, "gets no texts")  # type: ignore[misc]
        assert not clients.faults

        found = service.metrics()
        for engine in ENGINES:
            assert found[f'sentiment_process_restarts_total{{engine="{engine}",role="engine"}}'] == 1
            assert found[f'sentiment_engine_ready{{engine="{engine}"}}'] == 1
            assert found[f'sentiment_queue_limit{{engine="{engine}"}}'] == 5000
            assert f'sentiment_queue_depth{{engine="{engine}"}}' in found
        assert 'sentiment_process_restarts_total{role="worker"}' in found
        assert service.stop() == 0


def test_a_spare_engine_takes_the_place_of_the_only_one(tiny_store: Path) -> None:
    """It computes nothing before. Nobody waits for the one that is started again, which computes as soon as it is
    there."""
    with chaotic(tiny_store, "tiny", cache="off", engines="1", spare_engine="true", workers="2") as service:
        says = 'sentiment_engine_ready{{engine="{}"}}'.format
        known = answers(tiny_store, "tiny", reviews(400))
        clients = Clients(service, known)
        wait_until(lambda: service.metrics().get(says(1)) == 1, "the spare one never came")
        with clients.going_on():
            clients.wait_for(TEXTS * CLIENTS)
            assert computed(service)[1] == 0
            # Nobody starts it again while the supervisor stands still.
            os.kill(service.process.pid, signal.SIGSTOP)
            try:
                os.kill(engines_of(service)[0], signal.SIGKILL)
                wait_until(lambda: service.metrics()[says(0)] == 0, "never noticed")
                clients.wait_for(TEXTS * CLIENTS)
                assert httpx.get(f"{service.url}/health/ready").status_code == 200
            finally:
                os.kill(service.process.pid, signal.SIGCONT)
            wait_until(lambda: service.metrics()[says(0)] == 1, "never replaced")
            first, second = computed(service)
            clients.wait_for(TEXTS * CLIENTS)
            wait_until(lambda: computed(service)[0] > first, "gets no texts")
        assert not clients.faults
        assert second > 0
        assert service.stop() == 0


def test_while_one_is_away_the_other_answers(tiny_store: Path) -> None:
    """The service is ready all the time, and the metrics say which engine is not; the one that takes its place leaves
    the cores to the other while it starts."""
    with chaotic(tiny_store, "tiny", cache="off", engines="2", workers="2") as service:
        # Nobody starts it again while the supervisor stands still.
        os.kill(service.process.pid, signal.SIGSTOP)
        try:
            os.kill(engines_of(service)[1], signal.SIGKILL)
            says = 'sentiment_engine_ready{engine="1"}'
            wait_until(lambda: service.metrics()[says] == 0, "never noticed")
            answer = httpx.post(f"{service.url}/classify", json={"text": "a good film"}, timeout=LIMIT)
            assert answer.status_code == 200, "the other one answers"
            assert httpx.get(f"{service.url}/health/ready").status_code == 200
        finally:
            os.kill(service.process.pid, signal.SIGCONT)
        wait_until(lambda: service.metrics()[says] == 1, "never replaced")
        first, second = engines_of(service)
        lines = service.commands("engine")
        assert ["--gently" in lines[engine] for engine in (first, second)] == [False, True]


def test_another_model_has_as_many_and_a_further_one_has_one(tmp_path: Path) -> None:
    """A version that takes the place of the one before has two engines; one beside it has one, and its label."""
    for seed in (0, 1):
        add_checkpoint(tmp_path, seed=seed)
    add_checkpoint(tmp_path, "other", seed=2)
    key, kept = new_key("operator", (ADMIN, CLASSIFY))
    keys = tmp_path / "keys"
    keys.write_text(kept.line + "\n")
    headers = {"Authorization": f"Bearer {key}"}
    with (
        serving(
            tmp_path, "tiny/1", engines="2", workers="2", api_keys=str(keys), further_models="other", metrics="public"
        ) as service,
        httpx.Client(base_url=service.url, headers=headers, timeout=PATIENCE) as client,
    ):
        before = service.children("engine")
        assert len(before) == 3
        assert client.post("/admin/models/tiny/2/load").json()["served"]["version"] == 2
        wait_until(lambda: len(service.children("engine")) == 3, "the engines before never ended")
        [kept_one] = {*service.children("engine")} & {*before}
        assert "engine-2." in Path(f"/proc/{kept_one}/cmdline").read_text(), "the further model's"
        for model, version in (("tiny", 2), ("other", 1)):
            found = client.post("/classify", json={"text": "a good film", "model": model}).json()
            assert (found["model"], found["version"]) == (model, version)
        counted = service.metrics()
        assert counted['sentiment_computed_texts_total{engine="further"}'] == 1
        assert sum(counted[f'sentiment_computed_texts_total{{engine="{engine}"}}'] for engine in ENGINES) == 1
