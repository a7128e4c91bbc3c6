"""What docs/security.md promises of the whole program: no secrets in logs, no pickle, no way out of the model store, no
address outside, every dependency pinned."""

from __future__ import annotations

import ast
import os
import pickle
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from app.checksums import SUMS_FILE, write_sums
from app.errors import CheckpointError
from app.keys import ADMIN, CLASSIFY, new_key
from app.model.checkpoint import load_network
from app.store import WEIGHTS_FILE, ModelStore
from tests.checkpoints import add_checkpoint
from tests.fakes import application, client_of
from tests.http.wire import CLOSE, exchange, request
from tests.service import serving

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "app").rglob("*.py"))

TEXT_MARK = "xylophonequartz"
KEY, KEPT = new_key("alice", [CLASSIFY, ADMIN])
WRONG_KEY = "sk-sentiment-wrongkeymark"
PASSWORD = "redispasswordmark"


def test_no_text_and_no_secret_in_logs(tiny_store: Path, tmp_path: Path) -> None:
    """At debug level, with answers, refusals, rubbish, a cache that cannot be reached, and an engine that dies."""
    keys = tmp_path / "keys"
    keys.write_text(KEPT.line + "\n")
    redis = f"redis://user:{PASSWORD}@127.0.0.1:1/0"
    settings = {"log_level": "debug", "api_keys": str(keys), "redis_url": redis, "max_characters": "100"}
    with serving(tiny_store, workers="1", rate_limit="1000/minute", **settings) as service:
        allowed = {"Authorization": f"Bearer {KEY}"}
        for headers in (
            allowed,
            {"X-API-Key": KEY},
            {"Authorization": f"Bearer {WRONG_KEY}"},
            {"X-API-Key": WRONG_KEY},
        ):
            for body in (
                {"text": f"good {TEXT_MARK}"},
                {"texts": [TEXT_MARK, "", TEXT_MARK * 20]},
                {TEXT_MARK: 1},
                {"text": [TEXT_MARK]},
                {"text": TEXT_MARK, "texts": [TEXT_MARK]},
            ):
                httpx.post(f"{service.url}/classify?text={TEXT_MARK}", json=body, headers=headers)
            httpx.get(f"{service.url}/{TEXT_MARK}", headers=headers)
        mark = TEXT_MARK.encode()
        exchange(service.url, request(CLOSE, b"X-API-Key: " + KEY.encode(), body=b'{"text":"' + mark))
        exchange(service.url, mark + b"\r\n\r\n")
        exchange(service.url, request(b"X-A " + mark, b"Authorization: Bearer " + KEY.encode()))
        exchange(service.url, request(b"Authorization: Bearer " + KEY.encode(), b"X: " + mark * 5000, body=b"{}"))
        assert httpx.post(f"{service.url}/classify", json={"text": "good film"}, headers=allowed).status_code == 200
        metrics = httpx.get(f"{service.url}/metrics", headers=allowed).text
        assert service.stop() == 0
        output = service.output.read_text()
    assert "POST /classify 200" in output, "debug level was on"
    for secret in (TEXT_MARK, KEY, WRONG_KEY, PASSWORD, KEPT.digest.hex()):
        assert secret not in output
        assert secret not in metrics


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SENTIMENT_REDIS_URL", f"redis://:{PASSWORD}/rest@host"),
        ("SENTIMENT_REDIS_URL", f"redis://host?{PASSWORD}=1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", f"Authorization: Bearer {PASSWORD}"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", f"collector:{PASSWORD}"),
    ],
)
def test_a_malformed_secret_ends_the_start_unseen(tiny_store: Path, name: str, value: str) -> None:
    """Before anything is bound or started, in one line that names the variable and shows nothing of its value."""
    environment = {variable: text for variable, text in os.environ.items() if not variable.startswith("SENTIMENT_")}
    environment |= {"OTEL_TRACES_EXPORTER": "otlp", "SENTIMENT_PORT": "0", name: value}
    command = [sys.executable, "-m", "app", "serve", "--model-store", str(tiny_store), "--model", "tiny"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.fullmatch(rf"error: {name}: .*\n", ended.stderr)
    assert PASSWORD not in ended.stderr


class Evil:
    """Prints when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return print, ("executed",)


def test_a_pickle_is_no_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With checksums that are right, a pickle in the place of the weights is refused by name, and not executed."""
    model = add_checkpoint(tmp_path)
    (model.path / WEIGHTS_FILE).write_bytes(pickle.dumps({"output.weight": Evil()}))
    (model.path / SUMS_FILE).unlink()
    write_sums(model.path)
    opened = ModelStore(tmp_path).open("tiny")
    with pytest.raises(CheckpointError, match=rf"{WEIGHTS_FILE}: not a readable safetensors file"):
        load_network(opened.path, opened.config)
    assert "executed" not in capsys.readouterr().out


FORBIDDEN = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}


def calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_unpickles(path: Path) -> None:
    """No module that executes what it reads is imported; torch and numpy are told to read tensors alone."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not FORBIDDEN & {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module
            assert node.module.partition(".")[0] not in FORBIDDEN
    for call in calls(path):
        options = {option.arg: ast.unparse(option.value) for option in call.keywords}
        if ast.unparse(call.func) == "torch.load":
            assert options["weights_only"] == "True"
        elif ast.unparse(call.func) in ("np.load", "numpy.load"):
            assert options["allow_pickle"] == "False"
        elif isinstance(call.func, ast.Name):
            assert call.func.id not in ("eval", "exec", "compile")


OUTSIDE = [
    "../secret",
    "tiny/../../secret",
    "/etc/passwd",
    "..",
    ".",
    "tiny/..",
    "tiny/1/..",
    "tiny/1/../../x",
    "tiny/01",
]
OUTSIDE += [
    "tiny//1",
    "TINY",
    "tiny/1\0",
    "tiny\n",
    "%2e%2e/secret",
    "..\\secret",
    "~root",
    "tiny/-1",
    "tiny/٣",
    "",
    " tiny",
]


@pytest.mark.parametrize("reference", OUTSIDE)
def test_no_name_leads_out_of_the_store(tmp_path: Path, reference: str) -> None:
    """Names of models are letters, digits and dashes; nothing beside the store is read or written."""
    add_checkpoint(tmp_path / "store")
    add_checkpoint(tmp_path / "store").path.rename(tmp_path / "secret")
    store = ModelStore(tmp_path / "store")
    with pytest.raises(CheckpointError):
        store.open(reference)
    for part in {reference, reference.partition("/")[0]} - {"tiny"}:
        with pytest.raises(CheckpointError):
            store.versions(part)
        with pytest.raises(CheckpointError), store.new_version(part):
            pass
    assert {path.name for path in tmp_path.iterdir()} == {"store", "secret"}


@given(st.text(max_size=12) | st.text("./\\~%0tiny", max_size=12))
def test_no_name_at_all_leads_out_of_the_store(name: str) -> None:
    """Whatever is asked for is in the store's folder, or refused."""
    with pytest.raises(CheckpointError, match=r"(?s)^(model '.*'|model \".*\"): must be|^/nowhere/store: no model '"):
        ModelStore(Path("/nowhere/store")).open(name)


def test_checksums_name_files_of_the_version_only(tmp_path: Path) -> None:
    """A list of checksums cannot make the program read elsewhere."""
    model = add_checkpoint(tmp_path)
    for name in ("../../secret", "/etc/passwd", ".."):
        (model.path / SUMS_FILE).write_text(f"{'0' * 64}  {name}\n")
        with pytest.raises(CheckpointError, match=SUMS_FILE):
            ModelStore(tmp_path).open("tiny")


async def test_the_documentation_loads_nothing_from_outside() -> None:
    """Every address in the page is this service's own and found from the page's, whatever a proxy has before it; each
    is there, and the browser is told to allow no other."""
    async with client_of(application()) as client:
        page = await client.get("/docs")
        found = re.findall(r"(?:src|href)=\"([^\"]+)\"", page.text)
        assert {"docs/assets/swagger-ui-bundle.js", "page/docs.js", "openapi.json"} <= set(found)
        for address in found:
            assert not address.startswith("/")
            assert (await client.get(urljoin("/docs", address))).status_code == 200
    assert "http:" not in page.text
    assert "https:" not in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe-eval" not in policy


@pytest.mark.parametrize("path", ["/models", "/metrics", "/openapi.json", "/health/live", "/nothing"])
async def test_browsers_are_told_to_be_careful(path: str) -> None:
    """Nothing may be framed, guessed at, kept or embedded elsewhere."""
    async with client_of(application()) as client:
        headers = (await client.get(path)).headers
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


LISTS = {path.stem: path.read_text() for path in sorted((ROOT / "requirements").glob("*.txt"))}


@cache
def versions(name: str) -> dict[str, str]:
    """Versions by package, where a list has no conditions that differ."""
    found = re.findall(r"^([a-z0-9-]+)(?:\[[^]]*\])?==([^ \n]+)", LISTS[name], re.MULTILINE)
    return dict(found)


@pytest.mark.parametrize("name", LISTS)
def test_every_package_has_a_version_and_hashes(name: str) -> None:
    """A list has entries of that form alone, and the same versions as every other list."""
    entries = re.split(r"\n(?=[a-z0-9])", LISTS[name].strip())
    form = re.compile(
        r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==[0-9][A-Za-z0-9.+!]*( ; [^\\\n]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+"
    )
    for entry in entries:
        assert form.fullmatch(entry), entry
    for other in LISTS.keys() - {"torch-cpu"}:
        same = versions(name).keys() & versions(other).keys()
        assert {package: versions(name)[package].removesuffix("+cpu") for package in same} == {
            package: versions(other)[package] for package in same
        }


def test_every_dependency_is_in_its_list() -> None:
    """What pyproject.toml asks for, in a version that it allows; run `make lock` after a change."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    base = project["project"]["dependencies"]
    wanted = {
        "serve": base,
        "image": [*base, *extras["files"], *extras["traces"]],
        "build": project["build-system"]["requires"],
        "compiler": extras["compiler"],
        "torch-cuda": extras["torch"],
        "torch": [wish for wish in extras["gpu"] if not wish.startswith(project["project"]["name"])],
        "dev": [wish for extra in ("dev", "files", "traces", "train", "clients") for wish in extras[extra]],
    }
    # helm is a program that tests of the chart run, not a library.
    assert wanted.keys() == LISTS.keys() - {"torch-cpu", "helm"}
    for name, wishes in wanted.items():
        for requirement in map(Requirement, wishes):
            if requirement.name != project["project"]["name"]:
                assert versions(name)[requirement.name.lower()] in requirement.specifier, requirement


def test_what_is_served_needs_no_torch() -> None:
    """It is an extra: the kernel computes."""
    assert "torch" not in versions("serve")
    assert not {name for name in versions("serve") if name.startswith("nvidia")}
