"""Clients that account for every request: without a pause until they are refused a connection, or at a rate."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

import httpx

_WORDS = "a the film story cast was not but very good bad great dull lovely awful zebra".split()


class Load:
    """Posts texts of chance to ``/classify`` from several threads.

    Attributes:
        outcomes: requests by status, or by the name of the error where there was no answer. A refused connection is no
            request: it ends its client.
    """

    def __init__(self, url: str, clients: int, kept: bool, texts: int = 5) -> None:
        self.outcomes: Counter[str] = Counter()
        self._url = url
        self._texts = texts
        self._limits = httpx.Limits(max_keepalive_connections=None if kept else 0)
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(seed,)) for seed in range(clients)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait for the clients; fails where one is left without an answer."""
        for thread in self._threads:
            thread.join(90)
            assert not thread.is_alive(), "a request without an answer"

    def _ask(self, seed: int) -> None:
        chance = random.Random(seed)
        with httpx.Client(timeout=60, limits=self._limits) as client:
            for number in itertools.count():
                texts = [f"{seed} {number} {' '.join(chance.choices(_WORDS, k=60))}" for _ in range(self._texts)]
                # In turns, as the service answers a single text on another path.
                body = {"text": texts[0]} if number % 2 else {"texts": texts}
                try:
                    outcome = str(client.post(f"{self._url}/classify", json=body).status_code)
                except httpx.ConnectError:
                    return
                except httpx.TransportError as error:
                    outcome = type(error).__name__
                with self._lock:
                    self.outcomes[outcome] += 1


class Paced:
    """Asks for one text so many times a second, whatever becomes of the requests before, each on a new connection.

    Attributes:
        outcomes: requests by status and the version that answered, or by the error where there was no answer.
    """

    def __init__(self, url: str, rate: float) -> None:
        self.outcomes: Counter[str] = Counter()
        self._url = url
        self._rate = rate
        self._client = httpx.Client(timeout=60, limits=httpx.Limits(max_connections=None, max_keepalive_connections=0))
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._clock = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._clock.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def wait(self, more: int) -> None:
        """Wait until so many more requests have their outcome."""
        until = self.outcomes.total() + more
        deadline = time.monotonic() + 120
        while self.outcomes.total() < until:
            assert time.monotonic() < deadline, "nobody is answered any more"
            time.sleep(0.05)

    def stop(self) -> None:
        """Send no more, and wait until all that were sent have their outcome."""
        self._ending.set()
        self._clock.join()
        self._client.close()

    def _run(self) -> None:
        started = time.monotonic()
        asked: list[threading.Thread] = []
        while not self._ending.wait(max(0.0, started + len(asked) / self._rate - time.monotonic())):
            thread = threading.Thread(target=self._ask, args=(len(asked),))
            asked.append(thread)
            thread.start()
        for thread in asked:
            thread.join()

    def _ask(self, number: int) -> None:
        try:
            answer = self._client.post(f"{self._url}/classify", json={"text": f"A lovely film, {number}."})
            found = answer.json() if answer.status_code == 200 else {}
            outcome = f"{answer.status_code} {found.get('model', '')}/{found.get('version', answer.text)}"
        except httpx.TransportError as error:
            outcome = repr(error)
        with self._lock:
            self.outcomes[outcome] += 1
