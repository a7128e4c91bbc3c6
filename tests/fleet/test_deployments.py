"""What runs on a node, without a cluster."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from app.errors import CheckpointError, DataError, EngineUnavailableError, OptionError, OverloadedError
from app.fleet import classify_command, serve_command
from app.fleet.deployments import AnswersOfTheService, RayEngineReplica
from app.sentiment import TextBatch
from app.settings import Settings
from app.store import StoredModel
from app.terminal import Parser


async def test_a_replica_computes_and_refuses(tiny_store: Path, tiny_model: StoredModel) -> None:
    """Scores of what fits; an error as a value for what does not, beside them. Closed, it asks to be replaced."""
    settings = Settings(model_store=tiny_store, model="tiny", max_queue=1, threads=1)
    replica = RayEngineReplica.__new__(RayEngineReplica)
    await replica.__init__(settings, tiny_model.digest)  # type: ignore[misc]  # as Ray does
    batch = TextBatch(array("i", [2, 3, 2]), [2, 1])
    answer = await replica.compute([batch, batch], 60.0)
    assert [len(result) for result in answer.results if isinstance(result, list)] == [2]
    assert [type(result) for result in answer.results if not isinstance(result, list)] == [OverloadedError]
    replica.check_health()
    await replica._batcher.close()
    with pytest.raises(EngineUnavailableError):
        replica.check_health()


async def test_a_replica_refuses_another_model(tiny_store: Path) -> None:
    """Token ids of one model are worth nothing to another."""
    settings = Settings(model_store=tiny_store, model="tiny")
    replica = RayEngineReplica.__new__(RayEngineReplica)
    with pytest.raises(CheckpointError):
        await replica.__init__(settings, "0" * 64)  # type: ignore[misc]


async def asked(app: Any) -> httpx.Response:
    transport = httpx.ASGITransport(AnswersOfTheService(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get("/")


async def test_no_answer_becomes_a_problem() -> None:
    """A proxy that says nothing, because the process behind it died."""

    async def silent(_: Scope, __: Receive, ___: Send) -> None:
        """Returns, as Ray's proxy does."""

    answer = await asked(silent)
    assert (answer.status_code, answer.json()["code"]) == (503, "engine_unavailable")
    assert answer.headers["Retry-After"] == "1"


async def test_answers_go_through_with_each_header_once() -> None:
    """Different values of one name are left alone."""
    app = PlainTextResponse("fine")
    app.raw_headers += [(b"x-request-id", b"1"), (b"x-request-id", b"1"), (b"a", b"1"), (b"a", b"2")]
    answer = await asked(app)
    assert (answer.status_code, answer.text) == (200, "fine")
    assert answer.headers.get_list("x-request-id") == ["1"]
    assert answer.headers.get_list("a") == ["1", "2"]


@pytest.mark.parametrize(
    ("flags", "option"),
    [
        ("--engines 0:2", "engines"),
        ("--engines 3:2", "engines"),
        ("--fronts many", "fronts"),
        ("--engine-gpus -1", "engine_gpus"),
        ("--front-ongoing 0", "front_ongoing"),
    ],
)
def test_pools_that_cannot_be(flags: str, option: str) -> None:
    """Each names its flag."""
    parser = Parser()
    serve_command.add_arguments(parser)
    with pytest.raises(OptionError) as caught:
        serve_command._pool(parser.parse_args(flags.split()), option.partition("_")[0].removesuffix("s"))
    assert caught.value.option == option


def test_pools_as_they_are_given() -> None:
    """One number is fewest and most."""
    parser = Parser()
    serve_command.add_arguments(parser)
    args = parser.parse_args("--engines 2:16 --engine-cpus 0.5 --engine-gpus 1 --fronts 3".split())
    engines, fronts = serve_command._pool(args, "engine"), serve_command._pool(args, "front")
    assert (engines.fewest, engines.most, engines.cpus, engines.gpus) == (2, 16, 0.5, 1.0)
    assert (fronts.fewest, fronts.most, fronts.cpus, fronts.gpus) == (3, 3, 1.0, 0.0)


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        ("a.csv", OptionError),
        ("a.csv --out -", OptionError),
        ("- --out scored/", OptionError),
        ("a*.csv --out scored/", DataError),
        ("a.odt --out scored/", DataError),
    ],
)
def test_what_is_not_for_a_cluster(flags: str, error: type[Exception], tmp_path: Path) -> None:
    """Is said before one is joined."""
    parser = Parser()
    classify_command.add_arguments(parser)
    arguments = [f"{tmp_path}/{flag}" if flag.startswith("a") else flag for flag in flags.split()]
    with pytest.raises(error):
        classify_command.run(parser.parse_args(arguments))
