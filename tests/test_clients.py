"""The clients people already have, the real packages, against the running service."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, aio
from tritonclient.utils import InferenceServerException

from app.http.schemas import LONG_REVIEW, REVIEW
from app.store import ModelStore
from tests.service import Service, serving

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "clients.md").read_text()
ADDRESS = "127.0.0.1:8000"
BLOCKS = re.findall(r"^## (.+)\n(?:(?!## ).*\n)*?```python\n((?:.*\n)*?)```\n```text\n(.*\n)```", PAGE, re.MULTILINE)
"""Title, program and output of every section."""
VERSION = str(ModelStore(ROOT / "model_store").open("imdb-gru").version)
TEXTS = [REVIEW, LONG_REVIEW]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """The shipped GRU, exact, so that the page's figures are the same on every machine."""
    with serving(ROOT / "model_store", f"imdb-gru/{VERSION}", workers="1", precision="float32") as running:
        yield running


@pytest.fixture(scope="module")
def generated(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the client that is generated from what the service says of itself."""
    folder = tmp_path_factory.mktemp("generated")
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--url", f"{service.url}/openapi.json"]
    ended = subprocess.run(
        [*command, "--meta", "none", "--output-path", str(folder / "review_client")],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Warning" not in ended.stdout, "a part of the document was left out"
    return folder


@pytest.fixture(scope="module")
def scores(service: Service) -> list[dict[str, float]]:
    """What ``POST /classify`` says of ``TEXTS``."""
    results = httpx.post(f"{service.url}/classify", json={"texts": TEXTS}).json()["results"]
    return [result["scores"] for result in results]


def run(code: str, service: Service, path: Path) -> str:
    """Output of a program that finds the service at its real address."""
    ended = subprocess.run(
        [sys.executable, "-c", code.replace(ADDRESS, service.url.removeprefix("http://"))],
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize(("title", "code", "output"), BLOCKS, ids=[title for title, *_ in BLOCKS])
def test_the_page_is_true(title: str, code: str, output: str, service: Service, generated: Path) -> None:
    """Every block of docs/clients.md, as it stands there, prints what stands below it."""
    assert REVIEW in code
    assert run(code, service, generated) == output


def test_the_page_shows_every_client() -> None:
    """One block for each row of the table, and one answer for all, by the version that is served."""
    assert f"in front of `imdb-gru/{VERSION}`" in PAGE
    assert set(re.findall(r"/versions/(\d+)", PAGE)) == {VERSION}
    rows = re.findall(r"^\|.*\[`(.+)`\]\(#(.+)\) \|$", PAGE, re.MULTILINE)
    titles = [title.lower().replace(" ", "-").replace("'", "") for title, *_ in BLOCKS]
    assert [anchor for _, anchor in rows] == titles
    assert {f"{answer}\n" for answer, _ in rows} == {output for *_, output in BLOCKS}
    assert len(rows) == PAGE.count("```python") == 5


def test_huggingface_hub(service: Service, scores: list[dict[str, float]]) -> None:
    """All classes, the most probable first; top_k cuts; logarithms on request."""
    client = InferenceClient(model=service.url)
    for text, expected in zip(TEXTS, scores, strict=True):
        found = client.text_classification(text)
        assert {item.label: item.score for item in found} == pytest.approx(expected)
        assert [item.score for item in found] == sorted(expected.values(), reverse=True)
        [best] = client.text_classification(text, top_k=1)
        assert best == found[0]
        raw = client.text_classification(text, function_to_apply="none")
        assert {item.label: np.exp(item.score) for item in raw} == pytest.approx(expected)


def test_huggingface_hub_errors(service: Service) -> None:
    """The package raises its own error, with the service's words in it."""
    client = InferenceClient(model=service.url)
    with pytest.raises(HfHubHTTPError, match="inputs: text must contain at least 1 word or number") as caught:
        client.text_classification("…")
    assert caught.value.response.status_code == 422
    with pytest.raises(HfHubHTTPError, match="function_to_apply"):
        client.text_classification("a good film", function_to_apply="sigmoid")


def tensor(shape: list[int], texts: list[str], *, binary: bool = True) -> InferInput:
    """A tensor of texts."""
    array = np.array([text.encode() for text in texts], dtype=np.object_).reshape(shape)
    return InferInput("text", shape, "BYTES").set_data_from_numpy(array, binary_data=binary)


@pytest.fixture
def triton(service: Service) -> Iterator[InferenceServerClient]:
    """A client of the package."""
    with InferenceServerClient(service.url.removeprefix("http://")) as client:
        yield client


def test_tritonclient_asks_who_is_there(triton: InferenceServerClient) -> None:
    """Health and metadata of server and model, with and without a version; another model is not ready."""
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    for version in ("", VERSION):
        assert triton.is_model_ready("imdb-gru", version)
        metadata = triton.get_model_metadata("imdb-gru", version)
        assert (metadata["name"], metadata["versions"]) == ("imdb-gru", [VERSION])
        assert [item["name"] for item in metadata["inputs"]] == ["text"]
        assert [item["name"] for item in metadata["outputs"]] == ["label", "score", "scores", "unknown", "judgement"]
    assert not triton.is_model_ready("imdb-gru", "1")
    assert not triton.is_model_ready("other")


@pytest.mark.parametrize("version", ["", VERSION])
@pytest.mark.parametrize("shape", [[2], [2, 1]])
@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [None, True, False])
def test_tritonclient_infers(
    triton: InferenceServerClient,
    scores: list[dict[str, float]],
    version: str,
    shape: list[int],
    binary_in: bool,
    binary_out: bool | None,
) -> None:
    """Tensors in the JSON and behind it, in both directions; the answers of ``POST /classify``."""
    outputs = None
    if binary_out is not None:
        outputs = [InferRequestedOutput(name, binary_data=binary_out) for name in ("scores", "score", "label")]
    result = triton.infer(
        "imdb-gru", [tensor(shape, TEXTS, binary=binary_in)], model_version=version, outputs=outputs, request_id="42"
    )
    assert result.get_response()["id"] == "42"
    assert result.get_response()["model_version"] == VERSION
    assert result.as_numpy("scores").shape == (2, 2)
    assert result.as_numpy("scores") == pytest.approx(np.array([list(item.values()) for item in scores]))
    assert result.as_numpy("score").dtype == np.float32
    assert result.as_numpy("score") == pytest.approx(np.array([max(item.values()) for item in scores]).reshape(shape))
    labels = [item if isinstance(item, str) else item.decode() for item in result.as_numpy("label").ravel()]
    assert labels == ["positive", "negative"]
    assert list(result.as_numpy("label").shape) == shape


def test_tritonclient_takes_any_language(triton: InferenceServerClient) -> None:
    """Bytes are counted, not characters."""
    texts = ["wunderschön 🎬 é", "a", "映画"]
    assert len(triton.infer("imdb-gru", [tensor([3], texts)]).as_numpy("label")) == 3


@pytest.mark.parametrize("binary", [True, False])
async def test_tritonclient_without_blocking(service: Service, scores: list[dict[str, float]], binary: bool) -> None:
    """The package's asyncio client, which names its bodies differently."""
    async with aio.InferenceServerClient(service.url.removeprefix("http://")) as client:
        inputs = [tensor([1], [text], binary=binary) for text in TEXTS]
        results = await asyncio.gather(*(client.infer("imdb-gru", [item]) for item in inputs))
    assert [result.as_numpy("score")[0] for result in results] == pytest.approx([max(item.values()) for item in scores])


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ({"texts": ["good", "…"]}, "400", "inputs.0.1: text must contain at least 1 word"),
        ({"model": "other"}, "404", f"other is not loaded; loaded are: imdb-gru/{VERSION}"),
        ({"version": "1"}, "404", f"imdb-gru/1 is not loaded; loaded are: imdb-gru/{VERSION}"),
        ({"texts": ["good"] * 1001}, "400", "inputs.0: has 1001 texts; the limit is 1000"),
        ({"class_count": 2}, "400", "classification extension is not supported"),
        ({"compression": "gzip"}, "415", "compressed bodies are refused"),
    ],
)
def test_tritonclient_errors(triton: InferenceServerClient, options: dict[str, Any], status: str, message: str) -> None:
    """The package raises its own error, with status and the service's words."""
    texts = options.get("texts", ["good"])
    with pytest.raises(InferenceServerException, match=message) as caught:
        triton.infer(
            options.get("model", "imdb-gru"),
            [tensor([len(texts)], texts)],
            model_version=options.get("version", ""),
            outputs=[InferRequestedOutput("label", class_count=options.get("class_count", 0))],
            request_compression_algorithm=options.get("compression"),
        )
    assert caught.value.status() == status


def test_tritonclient_asks_for_what_is_not_there(triton: InferenceServerClient) -> None:
    """Other extensions of the protocol are an error that the package can read."""
    with pytest.raises(InferenceServerException, match="no such operation"):
        triton.get_model_config("imdb-gru")


def test_text_embeddings_inference(service: Service, scores: list[dict[str, float]]) -> None:
    """A text is answered flat, a batch by one list per text."""
    single = httpx.post(f"{service.url}/predict", json={"inputs": REVIEW}).json()
    batch = httpx.post(f"{service.url}/predict", json={"inputs": [[text] for text in TEXTS]}).json()
    assert batch[0] == single
    assert [{item["label"]: item["score"] for item in answer} for answer in batch] == [
        pytest.approx(expected) for expected in scores
    ]


def test_a_generated_client_knows_errors(service: Service, generated: Path) -> None:
    """Batches and problems arrive as their classes."""
    code = (
        "from review_client import Client, models\n"
        "from review_client.api.classify import classify\n"
        f"client = Client('http://{ADDRESS}', raise_on_unexpected_status=True)\n"
        "batch = classify.sync(client=client, body=models.ClassifyRequest(texts=['a good film', '']))\n"
        "print(batch.results[0].label, batch.results[1].error.code)\n"
        "problem = classify.sync(client=client, body=models.ClassifyRequest(text=''))\n"
        "print(type(problem).__name__, problem.code, problem.status)\n"
    )
    first, second = run(code, service, generated).splitlines()
    assert first in ("positive blank_text", "negative blank_text")
    assert second == "ProblemDocument blank_text 422"


def test_requests_are_counted_by_route(service: Service) -> None:
    """Each protocol has series of its own, under its template."""
    InferenceClient(model=service.url).text_classification(REVIEW)
    httpx.post(f"{service.url}/predict", json={"inputs": REVIEW})
    httpx.get(f"{service.url}/v2/models/imdb-gru/versions/{VERSION}/ready")
    httpx.get(f"{service.url}/v2/anything/at/all")
    samples = service.metrics()
    for route, method, status in (
        ("/", "POST", 200),
        ("/predict", "POST", 200),
        ("/v2/models/{name}/versions/{version}/ready", "GET", 200),
        ("/v2/{rest:path}", "GET", 404),
    ):
        labels = f'method="{method}",model="imdb-gru",route="{route}",status="{status}",version="{VERSION}"'
        assert samples[f"sentiment_requests_total{{{labels}}}"] >= 1
