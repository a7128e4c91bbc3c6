"""The Open Inference Protocol; ``tritonclient`` itself is in tests/test_clients.py."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.sentiment import Prediction
from tests.fakes import FakeClassifier, application, client_of, plain_application
from tests.http.shapes import sample

INFER = "/v2/models/tiny/infer"
TENSOR = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}
LENGTH = "inference-header-content-length"


async def send(method: str, path: str, classifier: Any = None, **options: Any) -> httpx.Response:
    async with client_of(application(classifier) if classifier else plain_application()) as client:
        return await client.request(method, path, **options)


async def infer(
    tensor: dict[str, Any], classifier: FakeClassifier | None = None, binary: bytes | None = None, **more: Any
) -> httpx.Response:
    body = json.dumps({"inputs": [tensor], **more}).encode()
    headers = {} if binary is None else {LENGTH: str(len(body))}
    return await send("POST", INFER, classifier, content=body + (binary or b""), headers=headers)


def packed(*elements: bytes) -> bytes:
    """Elements of type BYTES."""
    return b"".join(len(element).to_bytes(4, "little") + element for element in elements)


def binary_tensor(shape: list[int], size: int) -> dict[str, Any]:
    """A tensor whose data follows the JSON."""
    return {"name": "text", "datatype": "BYTES", "shape": shape, "parameters": {"binary_data_size": size}}


def assert_error(response: httpx.Response, status: int) -> str:
    """The response is an error of the protocol; gives its message."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.json().keys() == {"error"}
    return str(response.json()["error"])


async def test_an_answer_names_model_and_request() -> None:
    """All outputs in the JSON, unless told otherwise; the id comes back, and is absent where none was sent."""
    outputs = [
        {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["positive"]},
        {"name": "score", "datatype": "FP32", "shape": [1], "data": [0.75]},
        {"name": "scores", "datatype": "FP32", "shape": [1, 2], "data": [0.25, 0.75]},
        {"name": "unknown", "datatype": "FP32", "shape": [1], "data": [0.0]},
        {"name": "judgement", "datatype": "BYTES", "shape": [1], "data": ["ok"]},
    ]
    expected = {"model_name": "tiny", "model_version": "1", "outputs": outputs}
    assert (await infer(TENSOR)).json() == expected
    assert (await infer(TENSOR, id="42")).json() == {**expected, "id": "42"}


async def test_outputs_are_those_that_were_asked_for() -> None:
    """In that order; one of them behind the JSON, the other in it."""
    wanted = [{"name": "score", "parameters": {"binary_data": True}}, {"name": "label"}]
    response = await infer({**TENSOR, "shape": [2, 1], "data": [["a"], ["b"]]}, outputs=wanted)
    assert response.headers["content-type"] == "application/octet-stream"
    length = int(response.headers[LENGTH])
    score, label = json.loads(response.content[:length])["outputs"]
    assert score == {"name": "score", "datatype": "FP32", "shape": [2, 1], "parameters": {"binary_data_size": 8}}
    assert response.content[length:] == b"\x00\x00\x40\x3f" * 2
    assert label == {"name": "label", "datatype": "BYTES", "shape": [2, 1], "data": ["positive", "positive"]}


async def test_how_far_to_trust_each_text() -> None:
    """As further outputs, in the shape of the input, as JSON and behind it."""
    classifier = FakeClassifier({"b": Prediction((0.5, 0.5), 1, False, unknown=0.75, judgement="unreadable")})
    tensor = {**TENSOR, "shape": [2, 1], "data": [["a"], ["b"]]}
    wanted = [{"name": "judgement"}, {"name": "unknown"}]
    judgement, unknown = (await infer(tensor, classifier, outputs=wanted)).json()["outputs"]
    assert judgement == {"name": "judgement", "datatype": "BYTES", "shape": [2, 1], "data": ["ok", "unreadable"]}
    assert unknown == {"name": "unknown", "datatype": "FP32", "shape": [2, 1], "data": [0.0, 0.75]}
    binary = [{"name": "judgement", "parameters": {"binary_data": True}}]
    response = await infer(tensor, classifier, outputs=binary)
    assert response.content[int(response.headers[LENGTH]) :] == packed(b"ok", b"unreadable")


async def test_everything_behind_the_json() -> None:
    """``binary_data_output`` is for all outputs."""
    response = await infer(TENSOR, parameters={"binary_data_output": True})
    length = int(response.headers[LENGTH])
    sizes = [output["parameters"]["binary_data_size"] for output in json.loads(response.content[:length])["outputs"]]
    assert sizes == [12, 4, 8, 4, 6]
    assert response.content[length:].startswith(packed(b"positive"))


@pytest.mark.parametrize("texts", [["a"], ["wunderschön", "🎬", "x y"]])
async def test_binary_texts(texts: list[str]) -> None:
    """Lengths are in bytes; what arrives is what was sent."""
    seen: list[str] = []

    class Listening(FakeClassifier):
        async def classify(self, texts: Any, *, timeout: float | None = None, early: Any = None) -> Any:
            seen.extend(texts)
            return await super().classify(["a"] * len(texts), timeout=timeout)

    data = packed(*(text.encode() for text in texts))
    response = await infer(binary_tensor([len(texts)], len(data)), Listening(), data)
    assert response.status_code == 200
    assert seen == texts


BAD: dict[str, tuple[dict[str, Any], bytes | None, str]] = {
    "other name": ({**TENSOR, "name": "input0"}, None, "inputs.0.name"),
    "other type": ({**TENSOR, "datatype": "FP32"}, None, "inputs.0.datatype"),
    "no shape": ({**TENSOR, "shape": []}, None, "inputs.0.shape"),
    "empty": ({**TENSOR, "shape": [0], "data": []}, None, "inputs.0.shape.0"),
    "matrix": ({**TENSOR, "shape": [1, 2], "data": ["a", "b"]}, None, "inputs.0.shape: must be [N] or [N, 1]"),
    "cube": ({**TENSOR, "shape": [1, 1, 1]}, None, "inputs.0.shape"),
    "fewer": ({**TENSOR, "shape": [2]}, None, "inputs.0.data: has 1 elements where shape says 2"),
    "more": ({**TENSOR, "data": ["a", "b"]}, None, "inputs.0.data: has 2 elements where shape says 1"),
    "endless": ({**TENSOR, "shape": [10**30]}, None, "the limit is 1000"),
    "wide row": ({**TENSOR, "data": [["a", "b"]]}, None, "inputs.0.data"),
    "number": ({**TENSOR, "data": [1]}, None, "inputs.0.data"),
    "scalar": ({**TENSOR, "data": "a"}, None, "must be a list of texts"),
    "no data": ({"name": "text", "datatype": "BYTES", "shape": [1]}, None, "inputs.0.data: must be given"),
    "data twice": ({**binary_tensor([1], 5), "data": ["a"]}, packed(b"a"), "inputs.0.data: must be given, either"),
    "shared memory": ({**TENSOR, "parameters": {"shared_memory_region": "r"}}, None, "shared memory is not supported"),
    "no bytes": (binary_tensor([1], 0), b"", "element 0 of 1 is cut off"),
    "half a length": (binary_tensor([1], 3), b"\x01\x00\x00", "element 0 of 1 is cut off"),
    "cut text": (binary_tensor([1], 5), b"\x02\x00\x00\x00a", "element 0 of 1 is cut off"),
    "endless text": (binary_tensor([1], 5), b"\xff\xff\xff\xffa", "element 0 of 1 is cut off"),
    "one too few": (binary_tensor([2], 5), packed(b"a"), "element 1 of 2 is cut off"),
    "one too many": (binary_tensor([1], 10), packed(b"a", b"b"), "5 bytes follow the last of 1 elements"),
    "not utf-8": (binary_tensor([1], 6), packed(b"\xff\xfe"), "element 0 is not UTF-8"),
    "wrong size": (binary_tensor([1], 4), packed(b"a"), "says 4 bytes, 5 bytes follow the JSON"),
    "unannounced": (TENSOR, packed(b"a"), "says 0 bytes, 5 bytes follow the JSON"),
}


@pytest.mark.parametrize(("tensor", "binary", "names"), BAD.values(), ids=BAD.keys())
async def test_tensors_that_are_not_as_they_should_be(tensor: dict[str, Any], binary: bytes | None, names: str) -> None:
    """400, and what is wrong."""
    assert names in assert_error(await infer(tensor, binary=binary), 400)


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"inputs": [TENSOR, TENSOR]}, "inputs"),
        ({"outputs": [{"name": "logits"}]}, "outputs.0.name"),
        ({"outputs": [{"name": "label", "parameters": {"classification": 2}}]}, "classification extension"),
        ({"outputs": [{"name": "label", "parameters": {"shared_memory_region": "r"}}]}, "shared memory"),
        ({"outputs": [{"name": "label"}] * 9}, "outputs"),
        ({"id": 42}, "id"),
        ({"parameters": {"timeout": -1}}, "parameters.timeout"),
    ],
)
async def test_requests_that_are_not_as_they_should_be(more: dict[str, Any], names: str) -> None:
    """400, and what is wrong."""
    assert names in assert_error(await infer(TENSOR, **more), 400)


@pytest.mark.parametrize("length", ["0", "-1", "x", "1e3", "9" * 30, "1000"])
async def test_the_length_of_the_json_is_checked(length: str) -> None:
    """It must lie within the body."""
    body = json.dumps({"inputs": [TENSOR]}).encode()
    response = await send("POST", INFER, content=body, headers={LENGTH: length})
    assert "Inference-Header-Content-Length" in assert_error(response, 400)


async def test_the_deadline_may_be_a_parameter() -> None:
    """In microseconds; the nearer one counts, other parameters do not."""
    classifier = FakeClassifier()
    for parameters, header in (({"timeout": 500_000}, None), ({"timeout": 500_000}, "0.25"), ({"timeout": 0}, "2")):
        body = {"inputs": [TENSOR], "parameters": {**parameters, "priority": 1}}
        await send("POST", INFER, classifier, json=body, headers={"x-timeout-seconds": header} if header else {})
    assert classifier.timeouts == [0.5, 0.25, 2.0]


@pytest.mark.parametrize("version", ["", "/versions/1"])
async def test_health_and_metadata(version: str) -> None:
    """Server and model, the model with and without its version."""
    assert (await send("GET", "/v2/health/live")).json() == {"live": True}
    assert (await send("GET", "/v2/health/ready")).json() == {"ready": True}
    assert (await send("GET", f"/v2/models/tiny{version}/ready")).json() == {"name": "tiny", "ready": True}
    assert (await send("GET", "/v2")).json()["extensions"] == ["binary_tensor_data"]
    metadata = (await send("GET", f"/v2/models/tiny{version}")).json()
    assert (metadata["name"], metadata["versions"]) == ("tiny", ["1"])
    assert metadata["outputs"][2] == {"name": "scores", "datatype": "FP32", "shape": [-1, 2]}


@pytest.mark.parametrize("classifier", [lambda: None, FakeClassifier(is_ready=False)])
async def test_not_ready(classifier: Any, caplog: pytest.LogCaptureFixture) -> None:
    """503 while texts would not be answered; alive all the same; a probe is neither a refused request nor a warning."""
    before = sample("sentiment_rejected_total", reason="engine_unavailable")
    for path in ("/v2/health/ready", "/v2/models/tiny/ready", "/v2/models/tiny/versions/1/ready"):
        response = await send("GET", path, classifier)
        assert assert_error(response, 503) == "the engine is not ready"
        assert response.headers["retry-after"] == "1"
    assert sample("sentiment_rejected_total", reason="engine_unavailable") == before
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    assert (await send("GET", "/v2/health/live", classifier)).status_code == 200


@pytest.mark.parametrize("path", ["other", "tiny/versions/2", "tiny/versions/x", "x" * 5000])
async def test_other_models(path: str) -> None:
    """404, with the name of what is loaded, for every operation; the answer stays short."""
    for method, operation in (("GET", ""), ("GET", "/ready"), ("POST", "/infer")):
        response = await send(method, f"/v2/models/{path}{operation}")
        assert "is not loaded; loaded are: tiny/1" in assert_error(response, 404)
        assert len(response.content) < 300


async def test_what_is_not_there() -> None:
    """404 in the protocol's shape, counted under one name."""
    before = sample("sentiment_requests_total", route="/v2/{rest:path}", method="POST", status="404")
    for path in ("/v2/repository/index", "/v2/models/tiny/config/x", "/v2/x"):
        assert "no such operation" in assert_error(await send("POST", path), 404)
    assert sample("sentiment_requests_total", route="/v2/{rest:path}", method="POST", status="404") == before + 3


@settings(max_examples=150, deadline=None)
@given(binary=st.binary(max_size=40), count=st.integers(1, 4), size=st.none() | st.integers(0, 40))
def test_any_bytes_are_answered_or_refused(binary: bytes, count: int, size: int | None) -> None:
    """Whatever follows the JSON: 200 or 400, never a 500."""
    tensor = binary_tensor([count], len(binary) if size is None else size)
    response = asyncio.run(infer(tensor, binary=binary))
    if response.status_code != 200:
        assert_error(response, 400)
