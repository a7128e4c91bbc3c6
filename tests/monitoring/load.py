"""Clients that keep a service busy with texts of all kinds."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from tests.test_service import reviews

Ask = Callable[[httpx.Client, random.Random], object]
KNOWN = reviews(40, seed=1)


def ordinary(client: httpx.Client, chance: random.Random) -> None:
    """The usual mixture: new texts and known ones, one and several, now and then one that is refused; and what people
    say of answers."""
    new = reviews(3, seed=chance.randrange(10**9))
    texts = chance.choice([[chance.choice(KNOWN)], new[:1], new, [*new, chance.choice(KNOWN)], [" "], [new[0] * 20]])
    body = {"text": texts[0]} if len(texts) == 1 else {"texts": texts}
    client.post("/classify", json=body, headers={"X-Timeout-Seconds": "2"})
    other_protocols(client, chance.choice(KNOWN))
    said = {"answered": chance.choice(("negative", "positive")), "label": "positive"}
    client.post("/feedback", json={"text": texts[0] + " .", **said})
    time.sleep(0.2)


def other_protocols(client: httpx.Client, text: str) -> None:
    """The same text by every other route of inference."""
    client.post("/predict", json={"inputs": text})
    client.post("/", json={"inputs": text})
    for path in ("/models/tiny", "/models/tiny/1"):
        client.post(path, json={"inputs": text})
        client.post(f"{path}/predict", json={"inputs": text})
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}
    for path in ("/v2/models/tiny", "/v2/models/tiny/versions/1"):
        client.post(f"{path}/infer", json={"inputs": [tensor]})
    client.post("/files", content=f"text\n{json.dumps(text)}\n", headers={"Content-Type": "text/csv"})


def flood(client: httpx.Client, chance: random.Random) -> None:
    """Ten long texts at once, and no wait."""
    texts = [text * 8 for text in reviews(10, seed=chance.randrange(10**9))]
    client.post("/classify", json={"texts": texts})


@contextmanager
def load(url: str, clients: int, ask: Ask = ordinary) -> Iterator[None]:
    """Keep asking with so many clients until the block ends."""
    stop = threading.Event()

    def go_on(seed: int) -> None:
        chance = random.Random(seed)
        with httpx.Client(base_url=url, timeout=60) as client:
            while not stop.is_set():
                ask(client, chance)

    threads = [threading.Thread(target=go_on, args=(seed,)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
