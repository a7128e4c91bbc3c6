"""The OpenAPI document: complete, true, and the same as the one in docs/."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from app import cli
from app.errors import (
    BadRowError,
    BlankTextError,
    DeadlineError,
    EmptyCellError,
    EngineUnavailableError,
    ExplainerUnavailableError,
    InferenceError,
    NoWordsError,
    OverloadedError,
    RefusedError,
    ServiceError,
    TextError,
    TextTooLongError,
    UnknownModelError,
    UnreachableError,
)
from app.http.schemas import REVIEW
from tests.fakes import MODEL, FakeClassifier, application, client_of

FILE = Path(__file__).parents[3] / "docs" / "openapi.json"
SERVED = replace(MODEL, name="imdb-gru", version=4)


@lru_cache
def document() -> dict[str, Any]:
    """The document that is served."""
    return application().openapi()


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation, as they are in the document."""
    for path, item in document()["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


OPERATIONS = {operation["operationId"]: (path, method, operation) for path, method, operation in operations()}
CLASSIFYING = ["classify", "text_classification", "predict", "v2_infer", "v2_infer_version"]


def test_the_file_is_the_document(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Renew it with ``python -m app openapi --out docs/openapi.json``, and look at the difference."""
    assert cli.main(["openapi"]) == 0
    written = capsys.readouterr().out
    assert written == FILE.read_text(encoding="utf-8"), "run: python -m app openapi --out docs/openapi.json"
    assert json.loads(written) == document()
    assert cli.main(["openapi", "--out", str(tmp_path / "written.json")]) == 0
    assert (tmp_path / "written.json").read_text(encoding="utf-8") == written


async def test_the_document_is_served() -> None:
    """Under its usual address."""
    async with client_of(application()) as client:
        assert (await client.get("/openapi.json")).json() == document()


def test_operations_have_stable_names() -> None:
    """Generated clients call their functions by them; a new name breaks programs."""
    assert list(OPERATIONS) == [
        "classify", "files", "file_columns", "feedback", "models",
        "served_models", "load_model", "load_model_beside", "unload_model", "set_canary", "set_shadow",
        "live", "ready", "metrics", "page",
        "text_classification", "predict", "predict_model", "predict_model_version",
        "text_classification_model", "text_classification_model_version",
        "v2_infer", "v2_model", "v2_model_ready", "v2_infer_version", "v2_model_version", "v2_model_version_ready",
        "v2_server", "v2_live", "v2_ready",
    ]  # fmt: skip


def test_tags_are_in_reading_order() -> None:
    """Operations come in the order of the tags, each with one, and each tag is explained."""
    tags = [tag["name"] for tag in document()["tags"]]
    used = [operation["tags"] for _, _, operation in OPERATIONS.values()]
    assert all(len(names) == 1 for names in used)
    assert list(dict.fromkeys(name for [name] in used)) == tags
    assert all(tag["description"] for tag in document()["tags"])


def test_references_lead_somewhere() -> None:
    """And every schema is used."""
    schemas = document()["components"]["schemas"]
    assert set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document()))) == schemas.keys()
    assert list(schemas) == sorted(schemas)


def contents(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Request body and responses: what each is, and its media type object."""
    bodies = [("request", operation["requestBody"])] if "requestBody" in operation else []
    for name, body in [*bodies, *operation["responses"].items()]:
        assert body.get("content"), f"{name} has no content"
        for content in body["content"].values():
            yield name, content


def examples(content: dict[str, Any]) -> list[Any]:
    """Values of all examples."""
    named = [example["value"] for example in content.get("examples", {}).values()]
    return [content["example"]] if "example" in content else named


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_shown(name: str) -> None:
    """A summary, and worked examples of parameters, request and every response, that fit their schemas."""
    _, method, operation = OPERATIONS[name]
    assert operation["summary"]
    assert (method == "post" and operation["operationId"] not in ORDERS) == ("requestBody" in operation)
    for parameter in operation.get("parameters", []):
        validate(parameter["schema"], parameter["example"])
    for where, content in contents(operation):
        assert examples(content), f"{where} has no example"
        for example in examples(content):
            validate(content["schema"], example)


def validate(schema: dict[str, Any], value: Any) -> None:
    """Raises where the value does not fit."""
    Draft202012Validator({**schema, "components": document()["components"]}).validate(value)


ORDERS = {"load_model", "load_model_beside", "unload_model"}


async def send(name: str, classifier: FakeClassifier, body: Any, **headers: str) -> httpx.Response:
    """Call an operation with the model's name as path parameter."""
    path, method, operation = OPERATIONS[name]
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with client_of(application(classifier)) as client:
        headers = {"content-type": "application/json", **headers}
        return await client.request(method, path, content=content, headers=headers)


@pytest.mark.parametrize("name", CLASSIFYING)
async def test_example_requests_work(name: str) -> None:
    """And are answered as the schema says."""
    operation = OPERATIONS[name][2]
    for example in examples(operation["requestBody"]["content"]["application/json"]):
        response = await send(name, FakeClassifier(model=SERVED), example)
        assert response.status_code == 200
        validate(operation["responses"]["200"]["content"]["application/json"]["schema"], response.json())


BODIES: dict[str, Any] = {
    "classify": lambda texts: {"text": texts[0]} if len(texts) == 1 else {"texts": texts},
    "text_classification": lambda texts: {"inputs": texts},
    "predict": lambda texts: {"inputs": [[text] for text in texts]},
}
INVALID: dict[str, Any] = {
    "classify": {"texts": ["a", 5]},
    "text_classification": {"inputs": ["a", 5]},
    "predict": {"inputs": [5]},
}


def _tensor(texts: list[str], shape: list[int] | None = None) -> dict[str, Any]:
    return {"inputs": [{"name": "text", "datatype": "BYTES", "shape": shape or [len(texts)], "data": texts}]}


async def provoke(name: str, code: str, detail: str) -> httpx.Response:
    """A response with that error."""
    body = BODIES.get(name, _tensor)
    errors = {
        **{kind.code: kind(detail) for kind in (OverloadedError, EngineUnavailableError, DeadlineError)},
        InferenceError.code: InferenceError(detail),
        ExplainerUnavailableError.code: ExplainerUnavailableError(detail),
        UnknownModelError.code: UnknownModelError(detail),
        "internal_error": ZeroDivisionError(),
    }
    outcomes = {
        "blank": BlankTextError(),
        "no words": NoWordsError(),
        "too long": TextTooLongError(100_001, 100_000),
    }
    classifier = FakeClassifier(outcomes, error=errors.get(code), model=SERVED)
    requests: dict[str, tuple[Any, dict[str, str]]] = {
        "body_too_large": (b"", {"content-length": "8388609"}),
        "unsupported_media_type": (b"a", {"content-type": "text/plain"}),
        "unsupported_encoding": (b"a", {"content-encoding": "gzip"}),
        "invalid_json": (b"a", {}),
        "invalid_request": (INVALID.get(name, _tensor(["a", "b"], [1, 2])), {}),
        "invalid_header": (b"", {"x-timeout-seconds": "soon"}),
        "too_many_texts": (body(["a"] * 1001), {}),
        "blank_text": (body(["blank"]), {}),
        "no_words": (body(["no words"]), {}),
        "text_too_long": (body(["too long"]), {}),
    }
    request, headers = requests.get(code, (body(["a"]), {}))
    return await send(name, classifier, request, **headers)


BEFORE = {
    *("bad_request", "request_timeout", "header_too_large", "unsupported_transfer_coding", "too_many_connections"),
    *("unauthorized", "forbidden", "rate_limited"),
}
"""Errors that come before the operation; test_connection.py, test_wire.py and test_guard.py provoke them."""


def documented_errors(name: str) -> Iterator[tuple[str, str, Any]]:
    """Code, status and value of every example of an error."""
    for status, response in OPERATIONS[name][2]["responses"].items():
        for content in response["content"].values() if status != "200" else ():
            for code, example in content["examples"].items():
                if code not in BEFORE:
                    yield code, status, example["value"]


@pytest.mark.parametrize("name", CLASSIFYING)
def test_every_error_is_documented(name: str) -> None:
    """Each code that texts and service can have, at each operation that classifies."""
    # Cells and rows that are not as they should be are of tables only.
    texts = {kind.code for kind in TextError.__subclasses__()} - {EmptyCellError.code, BadRowError.code}
    # What only a client of a service meets, no service answers.
    service = {kind.code for kind in ServiceError.__subclasses__()} - {UnreachableError.code, RefusedError.code}
    if name in ("text_classification", "predict"):  # others name a model
        service.remove(UnknownModelError.code)
    if name != "classify":  # no other explains
        service.remove(ExplainerUnavailableError.code)
    assert texts | service <= {code for code, *_ in documented_errors(name)}


@pytest.mark.parametrize(
    ("name", "code", "status", "value"),
    [(name, *error) for name in CLASSIFYING for error in documented_errors(name)],
)
async def test_documented_errors_are_true(name: str, code: str, status: str, value: dict[str, Any]) -> None:
    """Provoked, each is word for word what the document shows."""
    response = await provoke(name, code, value.get("detail") or value["error"])
    shown = {**value, "request_id": response.headers["x-request-id"]} if "request_id" in value else value
    assert (str(response.status_code), response.json()) == (status, shown)
    documented = OPERATIONS[name][2]["responses"][status]
    assert response.headers["content-type"] in documented["content"]
    assert ("retry-after" in response.headers) == ("Retry-After" in documented.get("headers", {}))


def test_the_examples_are_of_one_review() -> None:
    """Readers compare the operations by it."""
    for name in CLASSIFYING:
        assert REVIEW in json.dumps(OPERATIONS[name][2]["requestBody"])
