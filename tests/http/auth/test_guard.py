"""Who may call what: keys, scopes, the rate limit, other origins, and what can be switched off."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from starlette.responses import Response
from starlette.types import ASGIApp, Message

from app.errors import SettingsError
from app.http.application import build_application
from app.http.auth.guard import KeyMeter
from app.http.auth.meter import RateLimitedError
from app.http.auth.rate_counters import RateCounters
from app.http.auth.scopes import _SCOPES, Policy
from app.http.routing import LASTING, VERSION, route_of
from app.keys import ADMIN, CLASSIFY, SCOPES, new_key
from app.root_path import OWN_PATHS
from app.settings import Settings, load_settings
from tests.fakes import FakeClassifier, application, client_of, no_lifespan
from tests.http.shapes import assert_problem, sample

USER, USER_KEPT = new_key("user", [CLASSIFY])
OPERATOR, OPERATOR_KEPT = new_key("operator", [ADMIN])
OTHER, OTHER_KEPT = new_key("other", SCOPES)
TEXT = {"text": "a good film"}


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A file of three keys."""
    path = tmp_path / "keys"
    path.write_text("".join(f"{kept.line}\n" for kept in (USER_KEPT, OPERATOR_KEPT, OTHER_KEPT)))
    return path


@asynccontextmanager
async def guarded(keys: Path, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(application(api_keys=keys, **settings)) as client:
        yield client


def rename(path: Path, name: str) -> Path:
    return path.rename(path.with_name(name))


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("header", [bearer(USER), {"authorization": f"bearer  {USER} "}, {"X-API-Key": USER}])
async def test_a_known_key_lets_in(keys: Path, header: dict[str, str]) -> None:
    """In either header; the scheme's name has no case (RFC 9110, section 11.1)."""
    async with guarded(keys) as client:
        assert (await client.post("/classify", json=TEXT, headers=header)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "")],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer ")],
        [("Authorization", USER)],
        [("Authorization", f"Basic {USER}")],
        [("X-API-Key", "")],
        [("Authorization", f"Bearer {USER}"), ("X-API-Key", USER)],
        [("Authorization", f"Bearer {USER}"), ("Authorization", "Bearer x")],
    ],
)
async def test_without_a_key_there_is_a_challenge(keys: Path, headers: list[tuple[str, str]]) -> None:
    """401 that says how to do better (RFC 6750, section 3); two keys are none."""
    before = sample("sentiment_rejected_total", reason="unauthorized")
    async with guarded(keys) as client:
        response = await client.post("/classify", json=TEXT, headers=headers)
    assert_problem(response, 401, "unauthorized")
    assert response.headers["www-authenticate"] == 'Bearer realm="sentiment"'
    assert sample("sentiment_rejected_total", reason="unauthorized") == before + 1


@pytest.mark.parametrize(
    "key",
    ["x", USER[:-1], USER + "a", USER.upper(), USER_KEPT.digest.hex(), "é", "a" * 10_000],
    ids=["short", "shorter", "longer", "upper case", "digest", "not ASCII", "long"],
)
async def test_an_unknown_key_is_refused(keys: Path, key: str) -> None:
    """401, and nothing of the key is repeated."""
    async with guarded(keys) as client:
        response = await client.post("/classify", json=TEXT, headers=[(b"Authorization", f"Bearer {key}".encode())])
    assert_problem(response, 401, "unauthorized")
    assert response.headers["www-authenticate"] == 'Bearer realm="sentiment", error="invalid_token"'
    assert len(key) < 2 or key not in response.text


@pytest.mark.parametrize(
    ("path", "key", "scope"),
    [
        ("/metrics", USER, ADMIN),
        ("/openapi.json", USER, ADMIN),
        ("/models", OPERATOR, CLASSIFY),
    ],
)
async def test_a_key_without_the_scope(keys: Path, path: str, key: str, scope: str) -> None:
    """403 that names the scope; administration and classification are apart."""
    async with guarded(keys) as client:
        response = await client.get(path, headers=bearer(key))
        assert_problem(response, 403, "forbidden")
        challenge = f'Bearer realm="sentiment", error="insufficient_scope", scope="{scope}"'
        assert response.headers["www-authenticate"] == challenge
        assert (await client.get(path, headers=bearer(OTHER))).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/page",
        "/models",
        "/docs/",
        "/openapi.json",
        "/metrics",
        "/metrics/",
        "//metrics",
        "/nothing",
        "/health",
        "/health/",
        "/health/live/",
        "/health/live/../../metrics",
        "/Metrics",
    ],
)
async def test_everything_else_needs_a_key(keys: Path, path: str) -> None:
    """Unknown paths too, so that nobody can look for paths without one."""
    async with guarded(keys) as client:
        assert_problem(await client.get(httpx.URL("http://test", raw_path=path.encode())), 401, "unauthorized")


async def test_probes_and_the_page_need_no_key(keys: Path) -> None:
    """They have none, and learn nothing."""
    async with guarded(keys) as client:
        for path in ("/", "/page/page.js", "/docs", "/docs/assets/swagger-ui.css"):
            assert (await client.get(path)).status_code == 200
        for path in ("/health/live", "/health/ready"):
            assert (await client.get(path)).json() == {"status": "ok"}


async def test_metrics_and_documentation_can_be_public(keys: Path) -> None:
    """Each on its own."""
    async with guarded(keys, metrics="public") as client:
        assert (await client.get("/metrics")).status_code == 200
        assert (await client.get("/openapi.json")).status_code == 401
    async with guarded(keys, docs="public") as client:
        assert (await client.get("/openapi.json")).status_code == 200
        assert (await client.get("/metrics")).status_code == 401


@pytest.mark.parametrize("with_keys", [False, True])
async def test_metrics_and_documentation_can_be_off(keys: Path, with_keys: bool) -> None:
    """Then they are not there at all, for nobody."""
    settings: dict[str, Any] = {"metrics": "off", "docs": "off", "api_keys": keys if with_keys else None}
    async with client_of(application(**settings)) as client:
        for path in ("/metrics", "/docs", "/docs/assets/swagger-ui.css", "/openapi.json"):
            assert_problem(await client.get(path, headers=bearer(OTHER)), 404, "not_found")


async def test_a_file_that_breaks_locks_nobody_out(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last good one holds until it is mended."""
    monkeypatch.setattr("app.keys._LOOK_SECONDS", 0.0)
    async with guarded(keys) as client:
        kept = rename(keys, "kept")
        assert (await client.get("/models", headers=bearer(USER))).status_code == 200
        assert_problem(await client.get("/models", headers=bearer("x")), 401, "unauthorized")
        rename(kept, keys.name)
        assert (await client.get("/models", headers=bearer(USER))).status_code == 200


async def test_the_rate_limit_counts_texts_by_key(keys: Path) -> None:
    """The whole request or nothing of it; 429 says when to come back; other keys and probes do not notice."""
    async with guarded(keys, rate_limit="10/hour") as client:

        async def ask(texts: int, key: str = USER) -> httpx.Response:
            return await client.post("/classify", json={"texts": ["a good film"] * texts}, headers=bearer(key))

        assert [(await ask(texts)).status_code for texts in (6, 3)] == [200, 200]
        refused = await ask(2)
        assert_problem(refused, 429, "rate_limited")
        assert 1 <= int(refused.headers["retry-after"]) <= 3600
        assert_problem(await ask(1), 429, "rate_limited")
        assert (await ask(9, OTHER)).status_code == 200
        assert (await client.get("/health/live", headers=bearer(USER))).status_code == 200


REVIEWS = b"text\n" + b"a good film\n" * 7


async def send_file(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post("/files?format=csv", content=REVIEWS, headers=bearer(USER))


async def test_rows_of_a_file_count_as_texts(keys: Path) -> None:
    """Where a limit is over a time that nobody waits for, all of them before any is computed, or none."""
    async with guarded(keys, rate_limit="10/hour") as client:
        assert len((await send_file(client)).text.splitlines()) == 7
        refused = await send_file(client)
        assert_problem(refused, 429, "rate_limited")
        assert int(refused.headers["retry-after"]) >= 1
        # That file counted as one request; two texts are left of ten.
        statuses = [(await client.post("/classify", json=TEXT, headers=bearer(USER))).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
    async with guarded(keys, rate_limit="6/hour") as client:
        assert "lets 6 pass at once" in assert_problem(await send_file(client), 422, "too_many_texts")["detail"]


async def test_rows_of_a_file_wait_for_a_limit_over_a_short_time(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All come back, in portions that the limit lets pass, the file itself counted as one request."""
    counted: list[int] = []
    refused: list[int] = []
    count = KeyMeter.count

    async def watched(self: KeyMeter, texts: int) -> None:
        try:
            await count(self, texts)
        except RateLimitedError:
            refused.append(texts)
            raise
        if self.most == 3:
            counted.append(texts)

    monkeypatch.setattr(KeyMeter, "count", watched)
    async with guarded(keys, rate_limit="3/second") as client:
        assert len((await send_file(client)).text.splitlines()) == 7
    assert counted == [1, 3, 3, 1]
    assert refused


async def test_a_request_that_could_never_pass_is_told_so(keys: Path) -> None:
    """Not to come back later, but to come with less."""
    async with guarded(keys, rate_limit="10/minute;50/hour") as client:
        response = await client.post("/classify", json={"texts": ["a"] * 11}, headers=bearer(USER))
        assert "lets 10 pass at once" in assert_problem(response, 422, "too_many_texts")["detail"]


async def test_answers_say_what_is_left_of_the_limits(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One item for each limit, after what the request took, in a refusal too; nothing without a key, or a limit."""
    monkeypatch.setattr(time, "time", lambda: 1_000_002_600.0)  # in the middle of an hour
    async with guarded(keys, rate_limit="3/hour;100/day") as client:
        said = []
        for texts in (1, 2, 1):
            answer = await client.post("/v1/classify", json={"texts": ["a"] * texts}, headers=bearer(USER))
            said.append((answer.status_code, answer.headers["ratelimit"].split(", ")[0]))
            policy = '"3 per 1 hour";q=3;w=3600, "100 per 1 day";q=100;w=86400'
            assert answer.headers["ratelimit-policy"] == policy
        assert said == [
            (200, '"3 per 1 hour";r=2;t=1800'),
            (200, '"3 per 1 hour";r=0;t=1800'),
            (429, '"3 per 1 hour";r=0;t=1800'),
        ]
        assert "ratelimit" not in (await client.post("/v1/classify", json=TEXT)).headers
        assert "ratelimit" not in (await client.get("/health/live")).headers
    async with guarded(keys) as client:
        answer = await client.post("/v1/classify", json=TEXT, headers=bearer(USER))
        assert (answer.status_code, "ratelimit" in answer.headers) == (200, False)


async def test_requests_without_texts_count_as_one(keys: Path) -> None:
    """So rubbish and other operations are limited too."""
    async with guarded(keys, rate_limit="3/hour") as client:
        statuses = [(await client.get("/models", headers=bearer(USER))).status_code for _ in range(2)]
        statuses.append((await client.post("/classify", content=b"{", headers=bearer(USER))).status_code)
        statuses.append((await client.get("/models", headers=bearer(USER))).status_code)
    assert statuses == [200, 200, 422, 429]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("RATE_LIMIT", "10/minute", "SENTIMENT_API_KEYS must be set"),
        ("METRICS", "admin", "needs SENTIMENT_API_KEYS"),
        ("DOCS", "admin", "needs SENTIMENT_API_KEYS"),
        ("CORS_ORIGINS", "example.org", "origins such as"),
        ("CORS_ORIGINS", "https://a.example/path", "origins such as"),
    ],
)
def test_settings_that_do_not_go_together(name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the start, and are named."""
    monkeypatch.setenv(f"SENTIMENT_{name}", value)
    with pytest.raises(SettingsError, match=f"SENTIMENT_{name}: .*{message}"):
        load_settings()


@pytest.mark.parametrize("value", ["10", "ten/minute", "10/fortnight", ";"])
def test_a_malformed_rate_limit(value: str, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Likewise."""
    monkeypatch.setenv("SENTIMENT_API_KEYS", str(keys))
    monkeypatch.setenv("SENTIMENT_RATE_LIMIT", value)
    with pytest.raises(SettingsError, match=r"SENTIMENT_RATE_LIMIT: .*must be like"):
        load_settings()


ORIGIN = {"Origin": "https://a.example"}
PREFLIGHT = {**ORIGIN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


async def test_other_origins_are_not_let_in_by_default() -> None:
    """A page of another site gets no permission to read an answer."""
    async with client_of(application()) as client:
        for response in (
            await client.post("/classify", json=TEXT, headers=ORIGIN),
            await client.options("/classify", headers=PREFLIGHT),
        ):
            assert not [name for name in response.headers if name.startswith("access-control")]


async def test_origins_that_are_set_are_let_in(keys: Path) -> None:
    """Those and no others; they ask first without a key, and see refusals too."""
    async with guarded(keys, cors_origins="https://a.example, https://b.example", canary_header="X-User") as client:
        allowed = await client.options("/classify", headers=PREFLIGHT)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "https://a.example")
        wanted = "content-encoding, inference-header-content-length, x-timeout-seconds"
        compressed = await client.options("/", headers={**PREFLIGHT, "Access-Control-Request-Headers": wanted})
        assert compressed.status_code == 200
        wanted = "traceparent, tracestate, x-request-id, x-user"
        sticky = await client.options("/classify", headers={**PREFLIGHT, "Access-Control-Request-Headers": wanted})
        assert sticky.status_code == 200
        refused = await client.options("/classify", headers={**PREFLIGHT, "Origin": "https://c.example"})
        assert "access-control-allow-origin" not in refused.headers
        for key, status in ((USER, 200), ("x", 401)):
            response = await client.post("/classify", json=TEXT, headers={**bearer(key), **ORIGIN})
            assert (response.status_code, response.headers["access-control-allow-origin"]) == (status, ORIGIN["Origin"])
            assert "access-control-allow-credentials" not in response.headers


SAFELISTED = {"cache-control", "content-length", "content-type"}
"""What every page may read (Fetch, section 2.2.2, CORS-safelisted response-header name), as far as it is sent."""
FOR_BROWSERS = {
    *("content-security-policy", "cross-origin-resource-policy", "referrer-policy", "vary"),
    *("x-content-type-options", "x-frame-options"),
}
INFER = {
    "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a good film"]}],
    "parameters": {"binary_data_output": True},
}
CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/classify", {"json": TEXT}),
    ("POST", "/classify", {"json": TEXT, "headers": {"Content-Encoding": "br"}}),
    ("GET", "/classify", {}),
    ("POST", "/files?format=csv", {"content": b"text\na good film\n"}),
    ("POST", "/v2/models/tiny/infer", {"json": INFER}),
    ("POST", "/predict", {"json": {"inputs": "a good film"}}),
    ("POST", "/classify", {"json": {"texts": ["a", "b"]}}),
    ("GET", "/metrics", {}),
]
"""Whose answers have every header between them."""


async def test_pages_of_other_origins_may_read_what_is_for_programs(keys: Path) -> None:
    """Every header of an answer or a refusal, but those that are for the browser itself."""
    exposed: set[str] = set()
    sent: set[str] = set()
    async with guarded(keys, cors_origins="https://a.example", rate_limit="6/hour") as client:
        client.headers.update({**bearer(USER), **ORIGIN})
        for method, path, more in CALLS:
            response = await client.request(method, path, **more)
            sent |= {name for name in response.headers if not name.startswith("access-control-")}
            exposed |= {name.lower() for name in response.headers["access-control-expose-headers"].split(", ")}
    assert sent - SAFELISTED - FOR_BROWSERS == exposed


async def test_the_document_says_what_needs_a_key(keys: Path) -> None:
    """Schemes, the operations that need one, and the statuses that follow; without keys the same, and that none is
    needed, so that clients made of that document can be told a key."""
    async with guarded(keys) as client:
        document = (await client.get("/openapi.json", headers=bearer(OPERATOR))).json()
    for shown, free in ((document, []), (application().openapi(), [{}])):
        assert set(shown["components"]["securitySchemes"]) == {"bearer", "header"}
        for path, operations in shown["paths"].items():
            for method, operation in operations.items():
                open_to_all = "/health/" in path or (path, method) == ("/", "get")
                wanted: Any = None if open_to_all else [*free, {"bearer": []}, {"header": []}]
                assert operation.get("security") == wanted
                assert ({"401", "403", "429"} <= set(operation["responses"])) != open_to_all


ROUTES = [
    *("/docs", "/openapi.json", "/docs/assets/swagger-ui.css", "/page/page.js"),
    *(path.format(name="tiny", version=1) for path in application().openapi()["paths"]),
    *LASTING,
]
ADMINISTRATION = {"/admin/models", "/metrics", "/openapi.json"}
PUBLIC = {
    "/",
    "/page/page.js",
    "/docs",
    "/docs/assets/swagger-ui.css",
    "/health/live",
    "/health/ready",
    "/v2/health/live",
    "/v2/health/ready",
}
VARIANTS = (
    *("{}", "{}%0A", "{}%0a", "{}%0D", "{}%0D%0A", "{}%00", "{}%7F", "{}%C2%85", "{}%E2%80%A8", "{}%20", "{}/", "{}//"),
    *("{};x", "{};x=y", "{}/..", "{}/.", "{}/%2e", "{}/%2e%2e", "{}/%2e%2e{}", "{}%2F", "{}%23", "{}%3F", "{}.json"),
    *(
        "/{}",
        "/.{}",
        "/..{}",
        "/%2e{}",
        "/%2e%2e{}",
        "/x/..{}",
        "/health/live/..{}",
        "/page/..{}",
        "/page/page.js/..{}",
    ),
    *("/classify/..{}", "/v2/models/..{}", "/docs/assets/..{}", "/http://t{}"),
)


def variants(route: str) -> set[str]:
    """A path, and such as a router or a proxy might take for it."""
    letters = {route.upper(), route.title(), route.replace("e", "%65"), route.replace("s", "\u017f")}
    return letters | {variant.replace("{}", route) for variant in VARIANTS}


async def status_of(app: ASGIApp, path: str, *keys: str) -> int:
    """What a request for this very path is answered; clients would tidy it up."""
    found: list[Any] = []

    async def send(message: Message) -> None:
        found.append(message)

    parts: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        return parts.pop() if parts else {"type": "http.disconnect"}

    headers = [(b"x-api-key", key.encode()) for key in keys]
    place: dict[str, Any] = {"path": unquote(path), "raw_path": path.encode(), "query_string": b"", "root_path": ""}
    await app({"type": "http", "method": "GET", "headers": headers, "http_version": "1.1", **place}, receive, send)
    return int(found[0]["status"])


@pytest.mark.parametrize("route", ROUTES)
async def test_no_other_spelling_of_a_path_leads_past_its_scope(keys: Path, route: str) -> None:
    """Each is the same path, or none: what only an administrator may read nobody else reads, and what needs a key
    nobody reads without."""
    app = application(api_keys=keys)
    for path in sorted(variants(route)):
        decoded, alone = unquote(path), await status_of(app, path)
        if decoded not in PUBLIC:
            assert alone in (400, 401) or (decoded.startswith(("/page/", "/docs/assets/")) and alone == 404), path
        if route in ADMINISTRATION:
            assert await status_of(app, path, USER) in ((403,) if decoded in ADMINISTRATION else (400, 403, 404)), path
        if decoded == route:
            assert await status_of(app, path, OTHER) in (200, 405, 501), path


async def test_a_route_without_a_scope_is_there_for_nobody(keys: Path) -> None:
    """Whoever adds one has to say who may call it."""
    app = application(api_keys=keys)
    app.add_route("/new", lambda _: Response("secret"))
    async with client_of(app) as client:
        assert_problem(await client.get("/new", headers=bearer(OTHER)), 404, "not_found")


async def test_every_route_has_a_scope() -> None:
    """The policy knows all that the application has."""
    policy = Policy(Settings())
    for route in ROUTES:
        assert policy.scope_of(route_of(route), "PUT") in (None, *SCOPES)


def test_a_prefix_hides_no_route() -> None:
    """``root_path`` may begin with no route's first part: the settings know them all."""
    assert {route.split("/")[1] for route in [*_SCOPES, VERSION]} - {""} == OWN_PATHS


async def test_workers_count_together(keys: Path, tmp_path: Path) -> None:
    """Whichever of them a client meets, all of the limit is there for it, and no more."""
    settings = Settings(api_keys=keys, rate_limit="6/hour;100/day")
    statuses: list[int] = []
    for _ in range(4):
        counters = RateCounters(settings, tmp_path / "rates")
        async with client_of(build_application(settings, no_lifespan, FakeClassifier, counters=counters)) as client:
            statuses += [
                (await client.post("/classify", json=TEXT, headers=bearer(USER))).status_code for _ in range(2)
            ]
        await counters.close()
    assert statuses == [200] * 6 + [429] * 2


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/", {"inputs": "a film"}),
        ("/predict", {"inputs": "a film"}),
        ("/v2/models/tiny/infer", {"inputs": []}),
        ("/files?format=csv", None),
    ],
)
async def test_every_way_to_an_answer_needs_a_key(keys: Path, path: str, body: object) -> None:
    """Other servers' protocols and files are guarded like /classify; the page, which shares a path, is not."""
    async with guarded(keys) as client:
        assert (await client.post(path, json=body)).status_code == 401
        assert (await client.get("/")).status_code == 200
