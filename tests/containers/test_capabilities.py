"""What each image can do, all of it tried; and what it cannot do, said at once by what would do it."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.containers.engine import (
    IMAGE,
    SLIM,
    ask,
    classified,
    container,
    docker,
    inspect,
    python_in,
    served,
    wait_healthy,
)

pytestmark = [pytest.mark.extra, pytest.mark.containers]

ALONE = ["--network", "none"]
KINDS = ["sentences", "tokens", "curve"]
AT_ONCE = 10.0
"""Seconds that a refusal may take, on a busy machine: far less than the 30 after which a request is given up."""

FILES = """
import http.client, json, sys
texts = ["A lovely film.", "Dull and far too long."]
rows = "\\n".join(["text", *texts]) + "\\n"
bodies = {"csv": rows, "tsv": rows, "jsonl": "\\n".join(json.dumps({"text": text}) for text in texts)}
try:
    import io, pyarrow as pa, pyarrow.parquet as pq
    parquet = io.BytesIO()
    pq.write_table(pa.table({"text": texts}), parquet)
    bodies["parquet"] = parquet.getvalue()
except ImportError:
    bodies["parquet"] = b"PAR1"
for format, body in bodies.items():
    service = http.client.HTTPConnection("127.0.0.1", 8000, timeout=60)
    service.request("POST", f"/files?format={format}", body)
    answer = service.getresponse()
    lines = [json.loads(line) for line in answer.read().splitlines()]
    print(answer.status, *(line.get("label") or line.get("detail") for line in lines))
"""
COLLECTOR = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        open("/tmp/spans", "ab").write(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 4318), Handler).serve_forever()
"""
SPANS = "import pathlib; path = pathlib.Path('/tmp/spans'); print(path.exists() and b'forward' in path.read_bytes())"
USABLE_CORES = "from sentiment_service._app.process.cores import usable_cores; print(usable_cores())"
BFLOAT16 = "from sentiment_service._app.native import binding; print('bfloat16' in binding.precisions())"


def log_of(name: str) -> str:
    """Everything that a container printed."""
    ended = subprocess.run(["docker", "logs", name], capture_output=True, text=True, timeout=60, check=True)
    return ended.stdout + ended.stderr


@pytest.mark.parametrize("tag", [IMAGE, SLIM])
def test_explanations(image: str, slim: str, tag: str) -> None:
    """Every kind, without PyTorch too. They come last, and on a busy machine late."""
    with container(*ALONE, "--env", "SENTIMENT_TIMEOUT=180", image=tag) as name:
        wait_healthy(name)
        explanation = classified(name, explain=KINDS)["explanation"]
        assert [len(explanation[kind]) for kind in KINDS] == [1, 3, 3]


def test_an_explainer_that_cannot_start_says_so_at_once(image: str) -> None:
    """On a device that is not there; nothing dies again and again, and plain answers go on."""
    with container(*ALONE, "--env", "SENTIMENT_EXPLAIN_DEVICE=cuda") as name:
        wait_healthy(name)
        started = time.monotonic()
        status, problem = ask(name, "POST", "/classify", {"text": "A lovely film.", "explain": KINDS})
        assert time.monotonic() - started < AT_ONCE
        assert (status, problem["code"]) == (503, "explainer_unavailable")
        assert classified(name)["label"] == "positive"
        assert log_of(name).count("explainer-0 cannot be started") == 1


def test_the_torch_runtime(image: str) -> None:
    """The reference runtime serves where it is asked for."""
    with container(*ALONE, "--env", "SENTIMENT_RUNTIME=torch") as name:
        wait_healthy(name)
        assert classified(name)["label"] == "positive"
        assert served(name)["runtime"] == "torch"


def test_the_torch_runtime_of_the_slim_one(slim: str) -> None:
    """The start ends, with the name of what is missing."""
    with container(*ALONE, "--env", "SENTIMENT_RUNTIME=torch", image=SLIM) as name:
        assert docker("wait", name) == "1"
        assert "sentiment-service[torch]" in log_of(name)


@pytest.mark.parametrize("name", [IMAGE, SLIM])
def test_bfloat16(image: str, slim: str, name: str) -> None:
    """Where the processor computes it; else the start ends and says that it does not."""
    with container(*ALONE, "--env", "SENTIMENT_PRECISION=bfloat16", image=name) as running:
        if python_in(running, BFLOAT16) == "True":
            wait_healthy(running)
            assert classified(running)["label"] == "positive"
            assert served(running)["precision"] == "bfloat16"
        else:
            assert docker("wait", running) == "1"
            assert "bfloat16" in log_of(running)


def test_files_of_every_format(image: str) -> None:
    """Whatever docs/files.md names; NVML can be imported too, so that a GPU has figures."""
    with container(*ALONE) as name:
        wait_healthy(name)
        python_in(name, "import pynvml")
        assert python_in(name, FILES).splitlines() == ["200 positive negative"] * 4


def test_files_of_the_slim_one(slim: str) -> None:
    """All but Parquet, for which it names what is missing."""
    with container(*ALONE, image=SLIM) as name:
        wait_healthy(name)
        *others, parquet = python_in(name, FILES).splitlines()
        assert others == ["200 positive negative"] * 3
        assert parquet.startswith("415 ")
        assert "pyarrow is not installed" in parquet


def test_traces(image: str) -> None:
    """Spans arrive at a collector."""
    with container(*ALONE, "--env", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318") as name:
        docker("exec", "--detach", name, "python", "-c", COLLECTOR)
        wait_healthy(name)
        classified(name)
        deadline = time.monotonic() + 30
        while python_in(name, SPANS) != "True":
            assert time.monotonic() < deadline, log_of(name)
            time.sleep(0.5)


def test_traces_of_the_slim_one(slim: str) -> None:
    """The log names what is missing, and texts are answered."""
    with container(*ALONE, "--env", "OTEL_TRACES_EXPORTER=otlp", image=SLIM) as name:
        wait_healthy(name)
        assert classified(name)["label"] == "positive"
        assert "sentiment-service[traces]" in log_of(name)


@pytest.mark.parametrize("cpus", ["0.5", "1.5"])
def test_a_quota_is_seen(slim: str, cpus: str) -> None:
    """Whichever version of control groups the engine has; a part of a core is none."""
    with container(*ALONE, "--cpus", cpus, "--entrypoint", "sleep", command=["60"], image=SLIM) as name:
        assert python_in(name, USABLE_CORES) == "1"


def test_the_image_is_the_package(image: str) -> None:
    """Its command is there under its own name."""
    assert inspect(image, "{{json .Config.Entrypoint}}") == ["python", "-m", "sentiment_service"]
    listed = docker("run", "--rm", *ALONE, "--entrypoint", "sentiment", image, "models", "list")
    assert listed.count("served by default") == 1
