"""The servers that are compared: how each is installed, started and asked."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_CACHE = Path.home() / ".cache" / "sentiment-bench"
SHARED_PACKAGES = ("torch", "numpy", "safetensors", "pydantic", "openvino")
"""Every peer gets these at the versions of this environment, so that the same code computes the same model."""
INSTALL_TIMEOUT = 1_800

Parameters = Mapping[str, str]


@dataclass(frozen=True)
class Kind:
    """A server program.

    Attributes:
        title: its name in the tables; ``{}`` becomes the version of ``package``.
        arguments: what follows the interpreter's path, with ``{port}`` to fill in.
        path: where texts are POSTed.
        package: what is installed into an environment of its own; None: it runs in this project's.
        encode: a text to the request's document.
        decode: the answer's document to (label, score).
        exclude: shared packages whose version is left to the peer's own requirements.
        ready: path that answers 200 once ready; None: until a text is answered.
    """

    title: str
    arguments: tuple[str, ...]
    path: str
    package: str | None = None
    encode: Callable[[str], Any] = lambda text: {"text": text}
    decode: Callable[[Any], tuple[str, float]] = lambda answer: (answer["label"], answer["score"])
    exclude: tuple[str, ...] = ()
    ready: str | None = None

    @property
    def name(self) -> str:
        """``package`` without version and extras, or the title."""
        return (self.package or self.title).partition("==")[0].partition("[")[0]

    @property
    def full_title(self) -> str:
        return self.title.format((self.package or "").partition("==")[2])


@dataclass(frozen=True)
class Server:
    """One row of the tables: a program with a number of inference workers and a model inside.

    Attributes:
        key: what ``--servers`` selects.
        kind: the program.
        workers: inference workers.
        inside: ``torch``, ``own``, or empty where there is no choice.
        cache: ours only, whether results are cached.
    """

    key: str
    kind: Kind
    workers: int = 1
    inside: str = ""
    cache: bool = False

    @property
    def title(self) -> str:
        workers = f", {self.workers} workers" if self.workers > 1 else ""
        return self.kind.full_title + (", cache on" if self.cache else workers)

    @property
    def is_ours(self) -> bool:
        return self.kind is OURS

    @property
    def answers_constant(self) -> bool:
        return self.kind in (FASTAPI_CONSTANT, ASGI_CONSTANT)


def _uvicorn(module: str) -> tuple[str, ...]:
    flags = ("--port", "{port}", "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")
    return ("-m", "uvicorn", f"benchmarks.peers.{module}:app", *flags)


def _of_triton(answer: Any) -> tuple[str, float]:
    outputs = {output["name"]: output["data"][0] for output in answer["outputs"]}
    return outputs["label"], outputs["score"]


def _for_triton(text: str) -> Any:
    return {"inputs": [{"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [text]}]}


OURS = Kind("this service", ("-m", "app", "serve"), "/classify", ready="/health/ready")
FASTAPI = Kind("FastAPI, one text per forward pass", _uvicorn("fastapi_server"), "/classify")
FASTAPI_CONSTANT = Kind("ceiling: FastAPI + pydantic answering a constant", _uvicorn("fastapi_constant"), "/classify")
ASGI_CONSTANT = Kind("ceiling: bare ASGI answering a constant", _uvicorn("asgi_constant"), "/classify")
BATCHING_PEERS = (
    Kind("Mosec {}", ("-m", "benchmarks.peers.mosec_server"), "/inference", "mosec==0.9.8"),
    Kind("LitServe {}", ("-m", "benchmarks.peers.litserve_server"), "/predict", "litserve==0.2.19"),
    Kind(
        "BentoML {}",
        ("-m", "bentoml", "serve", "benchmarks.peers.bentoml_server:Sentiment", "--host", "127.0.0.1"),
        "/classify",
        "bentoml==1.4.39",
        encode=lambda text: {"texts": [text]},
        decode=lambda answer: (answer[0]["label"], answer[0]["score"]),
    ),
    Kind("Ray Serve {}", ("-m", "benchmarks.peers.ray_server"), "/classify", "ray[serve]==2.60.0"),
    Kind(
        "NVIDIA Triton (PyTriton {})",
        ("-m", "benchmarks.peers.triton_server"),
        "/v2/models/sentiment/infer",
        "nvidia-pytriton==0.7.0",
        encode=_for_triton,
        decode=_of_triton,
        exclude=("numpy",),
    ),
)


def all_servers() -> list[Server]:
    """Every row, in the order of the tables."""
    servers = [Server("ours", OURS), Server("ours-cache", OURS, cache=True)]
    for inside in ("torch", "own"):
        servers.append(Server(f"fastapi-{inside}", FASTAPI, 1, inside))
        for kind in BATCHING_PEERS:
            servers += [Server(f"{kind.name}-{inside}-{workers}", kind, workers, inside) for workers in (1, 2)]
    return [*servers, Server("fastapi-constant", FASTAPI_CONSTANT), Server("asgi-constant", ASGI_CONSTANT)]


def interpreter(kind: Kind, cache: Path) -> Path:
    """The Python that runs a program, installing its environment where that is missing or of other versions.

    Raises:
        RuntimeError: the installation failed; the message says how.
    """
    if kind.package is None:
        return Path(sys.executable)
    folder = cache / kind.name
    python = folder / "bin" / "python"
    wanted = [kind.package, *_shared_versions(kind.exclude)]
    marker = folder / "installed.json"
    if marker.exists() and json.loads(marker.read_text(encoding="utf-8")) == wanted:
        return python
    print(f"installing {kind.full_title} ...", file=sys.stderr, flush=True)
    cache.mkdir(parents=True, exist_ok=True)
    _call([sys.executable, "-m", "venv", str(folder)])
    index = ["--extra-index-url", os.environ["TORCH_INDEX"]] if os.environ.get("TORCH_INDEX") else []
    _call([str(python), "-m", "pip", "install", "--quiet", *index, *wanted])
    marker.write_text(json.dumps(wanted), encoding="utf-8")
    return python


def _shared_versions(exclude: tuple[str, ...]) -> list[str]:
    pinned = []
    for package in SHARED_PACKAGES:
        if package in exclude:
            continue
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        # A local version such as 2.13.0+cpu is not to be had from every index.
        pinned.append(f"{package}=={version.partition('+')[0]}")
    return pinned


def _call(command: list[str]) -> None:
    try:
        finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{command[1:4]} took longer than {INSTALL_TIMEOUT} s") from error
    if finished.returncode:
        lines = (finished.stderr or finished.stdout).strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"exit status {finished.returncode}")


def environment(server: Server, checkpoint: Parameters, port: int, second_port: int, scratch: Path) -> dict[str, str]:
    """Environment of a server's processes.

    Args:
        server: which.
        checkpoint: ``store``, ``reference`` and ``path`` of the checkpoint.
        port: port to listen on.
        second_port: another free one, for servers that cannot do with one.
        scratch: short path of a temporary folder.
    """
    cores = len(os.sched_getaffinity(0))
    # One text per pass already runs as many passes at once as there are cores.
    threads = 1 if server.kind is FASTAPI else max(1, cores // server.workers)
    own = {
        "SENTIMENT_HOST": "127.0.0.1",
        "SENTIMENT_PORT": str(port),
        "SENTIMENT_MODEL_STORE": checkpoint["store"],
        "SENTIMENT_MODEL": checkpoint["reference"],
        "SENTIMENT_DEVICE": "cpu",
        "SENTIMENT_CACHE": "on" if server.cache else "off",
        "SENTIMENT_LOG_LEVEL": "warning",
    }
    peer = {
        "BENCH_MODEL": checkpoint["path"],
        "BENCH_INSIDE": server.inside,
        "BENCH_WORKERS": str(server.workers),
        "BENCH_THREADS": str(threads),
        "BENCH_PORT": str(port),
        "BENCH_SECOND_PORT": str(second_port),
        "MOSEC_ADDRESS": "127.0.0.1",
        "MOSEC_PORT": str(port),
        "MOSEC_TIMEOUT": "30000",
        "MOSEC_LOG_LEVEL": "warning",
        # Triton's Python backend links the first libpython it finds: let that be this interpreter's own.
        "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR")),
        "PYTRITON_HOME": str(scratch / "pytriton"),
        "BENTOML_PORT": str(port),
        "BENTOML_HOME": str(scratch / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "RAY_TMPDIR": str(scratch / "ray"),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    inherited = {name: value for name, value in os.environ.items() if name != "SENTIMENT_CORPUS"}
    return {**inherited, **(own if server.is_ours else peer), "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)}
