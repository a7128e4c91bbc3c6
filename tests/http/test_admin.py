"""``/admin/models``: for keys of the scope admin alone, and what the supervisor's answers become."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message

from app.http.application import build_application
from app.keys import ADMIN, CLASSIFY, new_key
from app.settings import Settings
from tests.fakes import client_of, no_lifespan
from tests.http.shapes import SCOPE, sample

SERVED = {"served": {"model": "m", "version": 2}, "attempts": []}
LOAD = "/admin/models/m/2/load"


class Supervisor:
    """Answers what it is told to, and keeps what it was asked."""

    def __init__(self, answer: Mapping[str, Any] = SERVED) -> None:
        self.answer = answer
        self.asked: list[tuple[str, ...]] = []

    async def served(self) -> Mapping[str, Any]:
        return self.answer

    async def load(self, reference: str, who: str) -> Mapping[str, Any]:
        return self._ordered("load", reference, who)

    async def load_beside(self, reference: str, who: str) -> Mapping[str, Any]:
        return self._ordered("load_beside", reference, who)

    async def unload(self, reference: str, who: str) -> Mapping[str, Any]:
        return self._ordered("unload", reference, who)

    async def shadow(self, reference: str, percent: float, who: str) -> Mapping[str, Any]:
        return self._ordered("shadow", reference, f"{percent:g}", who)

    async def divide(self, reference: str, percent: float, who: str) -> Mapping[str, Any]:
        return self._ordered("divide", reference, f"{percent:g}", who)

    def _ordered(self, *order: str) -> Mapping[str, Any]:
        self.asked.append(order)
        return self.answer


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A file of keys, and each key by its name."""
    made = {name: new_key(name, scopes) for name, scopes in (("op", (ADMIN,)), ("app", (CLASSIFY,)))}
    path = tmp_path / "keys"
    path.write_text("".join(f"{kept.line}\n" for _, kept in made.values()))
    return path, {name: key for name, (key, _) in made.items()}


async def ask(
    keys: Path | None,
    switch: Supervisor | None,
    key: str = "",
    path: str = LOAD,
    method: str = "POST",
    document: Any = None,
) -> httpx.Response:
    app = build_application(Settings(api_keys=keys), no_lifespan, lambda: None, switch=switch)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with client_of(app) as client:
        return await client.request(method, path, headers=headers, json=document)


async def test_a_version_or_a_label_is_loaded(keys: tuple[Path, dict[str, str]]) -> None:
    """In the name of the key."""
    switch = Supervisor()
    for version, reference in (("2", "m/2"), ("champion", "m@champion"), ("v2", "m@v2")):
        answer = await ask(keys[0], switch, keys[1]["op"], f"/admin/models/m/{version}/load")
        assert (answer.status_code, answer.json()) == (200, SERVED)
        assert switch.asked[-1] == ("load", reference, "op")
    for order, name in (("load-beside", "load_beside"), ("unload", "unload")):
        answer = await ask(keys[0], switch, keys[1]["op"], f"/admin/models/m/2/{order}")
        assert (answer.status_code, answer.json()) == (200, SERVED)
        assert switch.asked[-1] == (name, "m/2", "op")
    answer = await ask(keys[0], switch, keys[1]["op"], "/admin/models", "GET")
    assert (answer.status_code, answer.json()) == (200, SERVED)


CANARY = "/admin/models/m/candidate/canary"
SHADOW = "/admin/models/m/candidate/shadow"


@pytest.mark.parametrize(("path", "order"), [(CANARY, "divide"), (SHADOW, "shadow")])
async def test_a_canary_and_a_shadow_get_a_share(keys: tuple[Path, dict[str, str]], path: str, order: str) -> None:
    switch = Supervisor()
    for percent, told in ((10, "10"), (0.5, "0.5"), (0, "0"), (100, "100")):
        answer = await ask(keys[0], switch, keys[1]["op"], path, document={"percent": percent})
        assert (answer.status_code, switch.asked[-1]) == (200, (order, "m@candidate", told, "op"))


@pytest.mark.parametrize("document", [{}, {"percent": -1}, {"percent": 101}, {"percent": "10"}, {"percent": 1, "x": 2}])
@pytest.mark.parametrize("path", [CANARY, SHADOW])
async def test_a_share_is_a_percentage(keys: tuple[Path, dict[str, str]], document: dict[str, Any], path: str) -> None:
    switch = Supervisor()
    answer = await ask(keys[0], switch, keys[1]["op"], path, document=document)
    assert (answer.status_code, answer.json()["code"], switch.asked) == (422, "invalid_request", [])


async def test_a_share_is_given_once(keys: tuple[Path, dict[str, str]]) -> None:
    switch = Supervisor()
    app = build_application(Settings(api_keys=keys[0]), no_lifespan, lambda: None, switch=switch)
    headers = {"Authorization": f"Bearer {keys[1]['op']}", "Content-Type": "application/json"}
    async with client_of(app) as client:
        answer = await client.post(CANARY, headers=headers, content=b'{"percent":1,"percent":100}')
    assert (answer.status_code, answer.json()["detail"]) == (422, "percent: must not be given twice")
    assert switch.asked == []


@pytest.mark.parametrize("path", [CANARY, SHADOW])
async def test_who_leaves_within_an_order_has_given_none(keys: tuple[Path, dict[str, str]], path: str) -> None:
    """It counts as 499, as elsewhere, and is no error of the service."""
    switch = Supervisor()
    app = build_application(Settings(api_keys=keys[0]), no_lifespan, lambda: None, switch=switch)
    labels = {"route": path.replace("/m/candidate/", "/{name}/{version}/"), "method": "POST", "status": "499"}
    before = sample("sentiment_requests_total", **labels)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        return

    headers = [(b"authorization", b"Bearer " + keys[1]["op"].encode()), (b"content-length", b"14")]
    await app({**SCOPE, "path": path, "raw_path": path.encode(), "headers": headers}, receive, send)
    assert sample("sentiment_requests_total", **labels) == before + 1
    assert switch.asked == []


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("model_not_found", 404),
        ("load_under_way", 409),
        ("model_is_served", 409),
        ("model_has_share", 409),
        ("too_many_models", 409),
        ("model_refused", 422),
    ],
)
async def test_a_refusal_is_a_problem(keys: tuple[Path, dict[str, str]], code: str, status: int) -> None:
    answer = await ask(keys[0], Supervisor({"error": {"code": code, "detail": "why"}}), keys[1]["op"])
    assert (answer.status_code, answer.json()["code"], answer.json()["detail"]) == (status, code, "why")


@pytest.mark.parametrize(
    ("path", "method"),
    [
        (LOAD, "POST"),
        ("/admin/models/m/2/load-beside", "POST"),
        ("/admin/models/m/2/unload", "POST"),
        (CANARY, "POST"),
        (SHADOW, "POST"),
        ("/admin/models", "GET"),
    ],
)
async def test_it_is_for_admins_alone(keys: tuple[Path, dict[str, str]], path: str, method: str) -> None:
    """Not for other keys, not without one, and for nobody where there are no keys."""
    switch = Supervisor()
    assert (await ask(keys[0], switch, keys[1]["app"], path, method)).status_code == 403
    assert (await ask(keys[0], switch, "", path, method)).status_code == 401
    open_to_all = await ask(None, switch, "", path, method)
    assert (open_to_all.status_code, open_to_all.json()["code"]) == (403, "forbidden")
    assert "no keys" in open_to_all.json()["detail"]
    assert switch.asked == []


async def test_a_process_that_serves_alone_says_so(keys: tuple[Path, dict[str, str]]) -> None:
    answer = await ask(keys[0], None, keys[1]["op"])
    assert (answer.status_code, answer.json()["code"]) == (501, "not_supervised")
