"""The package as its users get it: built, installed into an environment of its own, away from the repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.native.compiler import KERNEL, WORDS, BuildError, find_compiler
from app.settings import Settings
from app.store import ModelStore
from tests.service import Service

pytestmark = pytest.mark.extra

ROOT = Path(__file__).parent.parent
HOME = "sentiment_service/_app"
"""Where ``app`` is in the wheel."""
COMPILER = f"sentiment_service._{find_compiler.__module__}"
LIBRARIES = {f"{HOME}/{library.path.relative_to(ROOT / 'app')}" for library in (KERNEL, WORDS)}
LARGEST_WHEEL = 60_000_000
BUILD_SDIST = "import setuptools.build_meta as b, sys; b.build_sdist(sys.argv[1])"


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """What a command prints; fails with what it complains."""
    ended = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=clean_environment() | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def clean_environment() -> dict[str, str]:
    """Without settings, and without a way back to the repository."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("SENTIMENT_", "PYTHON"))}


def built(sources: Path, folder: Path, **environment: str) -> Path:
    """The wheel of a folder with the sources."""
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
    run(sys.executable, "-m", "pip", "wheel", *options, sources, cwd=folder, **environment)
    [wheel] = folder.glob("*.whl")
    return wheel


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as file:
        return set(file.namelist())


def installed(wheel: Path, folder: Path, without: str = "") -> Path:
    """The folder of programs of a fresh environment with the wheel; what it depends on is found where the tests have
    it, but for one package."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    [site] = (folder / "lib").glob("python*/site-packages")
    places = [path for path in sys.path if path.endswith("site-packages")]
    if without:
        (folder / "dependencies").mkdir()
        for part in (
            part for place in places for part in Path(place).iterdir() if part.name.partition("-")[0] != without
        ):
            (folder / "dependencies" / part.name).symlink_to(part)
        places = [str(folder / "dependencies")]
    (site / "dependencies.pth").write_text("\n".join(places))
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel),
        cwd=folder.parent,
    )
    return folder / "bin"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a source distribution of the committed and the uncommitted files unpacks to."""
    folder = tmp_path_factory.mktemp("sources")
    checkout = folder / "checkout"
    for name in ("app", "sentiment_service", "model_store"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("*.so", "__pycache__", ".build-*"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    run(sys.executable, "-c", BUILD_SDIST, folder, cwd=checkout)
    [archive] = folder.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    shutil.rmtree(checkout)
    [unpacked] = (path for path in folder.iterdir() if path.is_dir())
    return unpacked


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        find_compiler()
    except BuildError as error:
        pytest.fail(str(error)) if os.environ.get("CI") else pytest.skip(f"THE PACKAGE IS NOT TESTED: {error}")
    return built(sources, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment with the wheel."""
    return installed(wheel, tmp_path_factory.mktemp("user") / "environment")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Somebody's project, with an ``app`` of its own, which nobody but its owner may import."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("print('the owner of this folder imports it')\n")
    return tmp_path


@contextmanager
def serving(command: list[str | Path], cwd: Path) -> Iterator[Service]:
    """A service that was started by typing its name."""
    output = cwd / "output.txt"
    # Explanations come last, and on a busy machine late.
    settings = {"SENTIMENT_PORT": "0", "SENTIMENT_SHUTDOWN_GRACE": "0", "SENTIMENT_TIMEOUT": "180"}
    settings["PYTHONPATH"] = str(cwd)  # as many a project sets it
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*command, "serve"], cwd=cwd, env=clean_environment() | settings, stdout=file, stderr=subprocess.STDOUT
        )
    service = Service(process, output)
    try:
        service.wait_ready()
        yield service
        assert service.stop() == 0
    finally:
        process.kill()
        process.wait(10)


def test_the_wheel_has_all_parts(wheel: Path) -> None:
    """Every file of both packages, the libraries, and the one model that is served; for this kind of machine; nothing
    under a name that somebody else may have."""
    names = names_in(wheel)
    files = [path for path in (ROOT / "app").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    wanted = {f"{HOME}/{path.relative_to(ROOT / 'app')}" for path in files if ".build-" not in str(path)}
    wanted |= {f"sentiment_service/{path.name}" for path in (ROOT / "sentiment_service").iterdir() if path.is_file()}
    assert wanted | LIBRARIES <= names
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"sentiment_service"}
    served = ModelStore(ROOT / "model_store").open(Settings.model_fields["model"].default)
    models = {name for name in names if name.startswith(f"{HOME}/model_store/")}
    assert {Path(name).parent for name in models} == {Path(HOME) / "model_store" / served.reference}
    assert wheel.stat().st_size < LARGEST_WHEEL
    assert wheel.stem.split("-")[2:4] == ["py3", "none"]
    assert wheel.stem.split("-")[4] != "any"


@pytest.mark.parametrize("command", [["sentiment"], ["sentiment-service"], ["python", "-m", "sentiment_service"]])
def test_it_serves(programs: Path, elsewhere: Path, command: list[str]) -> None:
    """By the compiled kernel, with its page and an explanation, under each name; also where that is on the path."""
    with serving([programs / command[0], *command[1:]], elsewhere) as service:
        document = {"text": "A wonderful little film, I loved every minute.", "explain": ["sentences", "curve"]}
        answer = httpx.post(f"{service.url}/classify", json=document, timeout=200)
        assert answer.status_code == 200, answer.text
        assert answer.json()["label"] == "positive"
        assert answer.json()["explanation"].keys() == {"sentences", "curve"}
        models = httpx.get(f"{service.url}/models").json()["models"]
        assert [model["runtime"] for model in models] == ["native"]
        page = httpx.get(f"{service.url}/")
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        for file in ("page.js", "page.css", "icon.svg"):
            assert file in page.text
            assert httpx.get(f"{service.url}/page/{file}").status_code == 200
        assert "the owner" not in service.output.read_text()


def test_it_classifies_a_file(programs: Path, elsewhere: Path) -> None:
    """And says what models there are and how to go on without one."""
    (elsewhere / "reviews.csv").write_text("text\nA lovely film.\nDull and far too long.\n")
    run(programs / "sentiment", "classify", "reviews.csv", "--out", "scored.csv", cwd=elsewhere)
    rows = (elsewhere / "scored.csv").read_text().splitlines()
    assert ["positive" in rows[1], "negative" in rows[2]] == [True, True]
    listed = run(programs / "sentiment", "models", "list", cwd=elsewhere)
    assert listed.count("served by default") == 1
    [only] = json.loads(run(programs / "sentiment", "models", "list", "--json", cwd=elsewhere))
    assert (only["served"], only["error"]) == (True, None)
    script = run(programs / "sentiment", "completion", "bash", cwd=elsewhere)
    assert script.rstrip().endswith("sentiment")
    usage = run(programs / "sentiment", "--help", cwd=elsewhere)
    assert usage.startswith("usage: sentiment ")
    ended = subprocess.run(
        [programs / "sentiment", "serve", "--store", "absent"],
        cwd=elsewhere,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "--store" in ended.stderr


PROJECT = """
import sys
import app
from sentiment_service import Sentiment

assert app.__file__.startswith(sys.argv[1]), app.__file__
with Sentiment() as sentiment:
    print([result.label for result in sentiment.classify(["A lovely film.", "Dull and far too long.", None])])
    print(len(sentiment.explain("Dull plot. Nice end.").sentences))
assert "torch" not in sys.modules
assert [name for name in sys.modules if name.partition(".")[0] == "app"] == ["app"]
"""


def test_it_is_imported_beside_another_app(programs: Path, elsewhere: Path) -> None:
    """Three lines in a project that has an ``app``: each gets its own, and nothing imports torch."""
    (elsewhere / "project.py").write_text(PROJECT)
    said = run(programs / "python", "project.py", elsewhere, cwd=elsewhere).splitlines()
    assert said == ["the owner of this folder imports it", "['positive', 'negative', None]", "2"]


def test_it_is_typed(programs: Path, elsewhere: Path) -> None:
    """For whoever is as strict as can be, by what the wheel brings."""
    shutil.copy(ROOT / "tests" / "typed_user.py", elsewhere / "user.py")
    command = (sys.executable, "-m", "mypy", "--strict", "--python-executable", programs / "python", "user.py")
    assert "no issues found in 1 source file" in run(*command, cwd=elsewhere)


@pytest.fixture(scope="module")
def plain_wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a machine without a compiler makes."""
    return built(sources, tmp_path_factory.mktemp("plain"), CC="/absent/cc")


NEEDS = "the native kernel is not compiled; run `python -m {}`; the other runtime, torch, needs PyTorch, .*\\[torch\\]'"
LIBRARY = """
from sentiment_service import Sentiment
try:
    Sentiment()
except Exception as error:
    print(error)
"""


def test_without_kernel_and_torch_it_says_what_to_do(plain_wheel: Path, tmp_path: Path) -> None:
    """Whatever scores ends with a line that names both remedies, and without a traceback; what does not, works."""
    programs = installed(plain_wheel, tmp_path / "environment", without="torch")
    (tmp_path / "reviews.csv").write_text("text\nA lovely film.\n")
    needs = NEEDS.format(COMPILER)
    for command, status, line in (
        (["serve"], 1, f".*cannot serve: {needs}.*"),
        (["classify", "reviews.csv", "--out", "scored.csv"], 2, f"error: {needs}"),
        (["models", "verify"], 2, f"error: {needs}"),
    ):
        ended = subprocess.run(
            [programs / "sentiment", *command],
            cwd=tmp_path,
            env=clean_environment() | {"SENTIMENT_PORT": "0", "SENTIMENT_SHUTDOWN_GRACE": "0"},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert ended.returncode == status, ended.stderr
        assert "Traceback" not in ended.stderr
        assert len([said for said in ended.stderr.splitlines() if re.fullmatch(line, said)]) == 1, ended.stderr
        assert command == ["serve"] or ended.stderr.count("\n") == 1
    assert re.fullmatch(f"{needs}\n", run(programs / "python", "-c", LIBRARY, cwd=tmp_path))
    assert "served by default" in run(programs / "sentiment", "models", "list", cwd=tmp_path)


def test_without_a_compiler_it_is_built_of_python_alone(plain_wheel: Path, tmp_path: Path) -> None:
    """For any machine, and compiled later, where it is installed."""
    assert plain_wheel.stem.endswith("py3-none-any")
    assert not LIBRARIES & names_in(plain_wheel)
    programs = installed(plain_wheel, tmp_path / "environment")
    command = (programs / "python", "-m", COMPILER)
    assert run(*command, cwd=tmp_path).count("built with") == len(LIBRARIES)
