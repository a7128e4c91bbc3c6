"""``/admin/models``: for keys of the scope admin alone, and what the supervisor's answers become."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.http.application import build_application
from app.keys import ADMIN, CLASSIFY, new_key
from app.settings import Settings
from tests.fakes import client_of, no_lifespan

SERVED = {"served": {"model": "m", "version": 2}, "attempts": []}
LOAD = "/admin/models/m/2/load"


class Supervisor:
    """Answers what it is told to, and keeps what it was asked."""

    def __init__(self, answer: Mapping[str, Any] = SERVED) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str]] = []

    async def served(self) -> Mapping[str, Any]:
        return self.answer

    async def load(self, reference: str, who: str) -> Mapping[str, Any]:
        self.asked.append((reference, who))
        return self.answer


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A file of keys, and each key by its name."""
    made = {name: new_key(name, scopes) for name, scopes in (("op", (ADMIN,)), ("app", (CLASSIFY,)))}
    path = tmp_path / "keys"
    path.write_text("".join(f"{kept.line}\n" for _, kept in made.values()))
    return path, {name: key for name, (key, _) in made.items()}


async def ask(
    keys: Path | None, switch: Supervisor | None, key: str = "", path: str = LOAD, method: str = "POST"
) -> httpx.Response:
    app = build_application(Settings(api_keys=keys), no_lifespan, lambda: None, switch=switch)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with client_of(app) as client:
        return await client.request(method, path, headers=headers)


async def test_a_version_or_a_label_is_loaded(keys: tuple[Path, dict[str, str]]) -> None:
    """In the name of the key."""
    switch = Supervisor()
    for version, reference in (("2", "m/2"), ("champion", "m@champion"), ("v2", "m@v2")):
        answer = await ask(keys[0], switch, keys[1]["op"], f"/admin/models/m/{version}/load")
        assert (answer.status_code, answer.json()) == (200, SERVED)
        assert switch.asked[-1] == (reference, "op")
    answer = await ask(keys[0], switch, keys[1]["op"], "/admin/models", "GET")
    assert (answer.status_code, answer.json()) == (200, SERVED)


@pytest.mark.parametrize(
    ("code", "status"), [("model_not_found", 404), ("load_under_way", 409), ("model_refused", 422)]
)
async def test_a_refusal_is_a_problem(keys: tuple[Path, dict[str, str]], code: str, status: int) -> None:
    answer = await ask(keys[0], Supervisor({"error": {"code": code, "detail": "why"}}), keys[1]["op"])
    assert (answer.status_code, answer.json()["code"], answer.json()["detail"]) == (status, code, "why")


@pytest.mark.parametrize(("path", "method"), [(LOAD, "POST"), ("/admin/models", "GET")])
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
