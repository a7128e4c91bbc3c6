"""Clients that ask without a pause until they are refused a connection, and account for every request."""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter

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
