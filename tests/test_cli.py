"""The command line: help, exit statuses, one line for errors made on purpose."""

from __future__ import annotations

import argparse
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest

from app import cli
from app.errors import CheckpointError, OptionError, SettingsError
from app.settings import PREFIX, Settings
from app.version import VERSION

COMMANDS = (
    *("serve", "classify", "report", "train", "evaluate", "models", "keys", "cache", "feedback", "openapi"),
    "completion",
)


def app(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "app", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def exit_status(*arguments: str) -> int:
    """Exit status of a command that the parser itself ends."""
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """By the name of the package."""
    assert exit_status("--version") == 0
    assert capsys.readouterr().out == f"sentiment-service {VERSION}\n"


def test_help_lists_the_commands() -> None:
    """All that people type, each with a line about it, and nothing that only the supervisor types."""
    ended = app("--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    listed = dict(re.findall(r"^    (\w+) +(\S.*)$", ended.stdout, re.MULTILINE))
    assert tuple(listed) == COMMANDS
    assert "_worker" not in ended.stdout
    assert "_engine" not in ended.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every flag of every command says what it does."""
    assert exit_status(command, "--help") == 0
    assert f"python -m app {command}" in capsys.readouterr().out


def test_flags_of_serve_name_their_variables(capsys: pytest.CaptureFixture[str]) -> None:
    """Each flag is a setting, and its help says which and what it means."""
    assert exit_status("serve", "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    for name in cli._FLAGS:
        assert re.search(rf"--{name.replace('_', '-')} VALUE \S.*?\[{PREFIX}{name.upper()}\]", text)


@pytest.mark.parametrize("command", ["classify -", "evaluate tiny"])
def test_flags_that_are_settings_too_have_their_choices(command: str) -> None:
    """What the service computes with, a command can."""
    for name in ("runtime", "precision"):
        for choice in get_args(Settings.model_fields[name].annotation):
            options = cli._parser().parse_args([*command.split(), f"--{name}", choice])
            assert getattr(options, name) == choice
        assert exit_status(*command.split(), f"--{name}", "steam") == 2


@pytest.mark.parametrize("command", ["classify -", "evaluate tiny", "models list", "models verify", "train"])
def test_the_model_store_is_that_of_the_service(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``SENTIMENT_MODEL_STORE`` counts for every command; an empty one is none, and ``--store`` comes first."""
    for value, expected in (("elsewhere", "elsewhere"), ("", "model_store")):
        monkeypatch.setenv(f"{PREFIX}MODEL_STORE", value)
        assert cli._parser().parse_args(command.split()).store == Path(expected)
    assert cli._parser().parse_args([*command.split(), "--store", "here"]).store == Path("here")


@pytest.mark.parametrize(
    "arguments", [[], ["sing"], ["serve", "--loud"], ["models"], ["models", "burn"], ["serve", "x"]]
)
def test_what_is_not_understood(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2, and usage on stderr."""
    assert exit_status(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "_worker" not in captured.err
    assert captured.err.startswith("usage: ")


def test_models_list(tiny_store: Path) -> None:
    """The real command in a real process, without importing anything that computes: quick."""
    started = time.monotonic()
    ended = app("models", "list", "--store", str(tiny_store))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[1].split()[:3] == ["tiny", "1", "gru"]
    assert time.monotonic() - started < 10


def test_errors_are_one_line(tmp_path: Path) -> None:
    """A mistake gets a message that names the file or variable, no traceback, and exit status 1."""
    ended = app("models", "show", "none", "--store", str(tmp_path))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(r"error: .*none.*\n", ended.stderr)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--port", "http"], "--port: "),
        (["--cache", "maybe"], "--cache: "),
        (["--device", "toaster"], "--device: does not fit what it is: Where the forward pass runs: auto ("),
        (["--redis-url", "localhost"], "must be like redis://:PASSWORD@HOST:6379/0"),
        (["--model", "none"], "none"),
        (["--model-store", "nowhere"], "nowhere"),
    ],
)
def test_serve_refuses_before_it_listens(
    arguments: list[str], named: str, tiny_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A malformed flag, which is named and no variable nor a pattern, status 2; or a model that is not there, status
    1. No address is printed."""
    # Configuring logs would take the handlers of the tests away.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.logs.configure", lambda *_: None)
        status = cli.main(["serve", "--model-store", str(tiny_store), "--port", "0", "--model", "tiny", *arguments])
    captured = capsys.readouterr()
    assert status == (2 if captured.err.startswith("error: --") else 1)
    assert "SENTIMENT_" not in captured.err
    assert "^" not in captured.err
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert named in captured.err


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OptionError("on_bad_row", "must be a word"), "--on-bad-row: must be a word"),
        (SettingsError("SENTIMENT_STORE: no such"), "--store: no such"),
        (SettingsError("SENTIMENT_PORT: no such"), "SENTIMENT_PORT: no such"),
    ],
)
def test_settings_of_a_command_are_its_flags(
    error: SettingsError, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2, as of what the parser itself does not understand; a variable is named where it is one."""

    def run(_: argparse.Namespace) -> int:
        raise error

    monkeypatch.setattr("app.models.run", run)
    assert cli.main(["models", "list"]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_a_malformed_variable_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As a variable, status 2."""
    monkeypatch.setenv(f"{PREFIX}DEVICE", "toaster")
    assert cli.main(["openapi"]) == 2
    assert capsys.readouterr().err.startswith(
        "error: SENTIMENT_DEVICE: does not fit what it is: Where the forward pass"
    )


def test_there_is_no_run_to_go_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before any data is read, let alone downloaded."""
    monkeypatch.setattr("app.training.corpus.load_corpus", lambda *_: pytest.fail("read"))
    for flag in ("--resume", "--finish"):
        assert cli.main(["train", flag, "--run", str(tmp_path), "--threads", "1"]) == 1


def test_a_label_column_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What says which it is comes first, before what helps where the file is read otherwise than meant."""
    data = tmp_path / "mine.csv"
    data.write_text("text,sentiment\nGood,1\n")
    assert cli.main(["train", "--data", str(data), "--run", str(tmp_path / "run"), "--threads", "1"]) == 1
    said = capsys.readouterr().err
    assert "no column 'label'; there are 'text', 'sentiment' (see --label-column, --delimiter, --no-header)" in said


@pytest.mark.parametrize("command", [["train", "--data", "x.csv"], ["train-reviews", "--data", "x", "--dev", "y"]])
def test_a_name_that_no_model_can_have(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Said before anything is read, and not after hours of training."""
    assert cli.main([*command, "--name", "my model", "--threads", "1"]) == 1
    assert "model name 'my model': must be" in capsys.readouterr().err


def test_a_port_in_use_is_named(tiny_store: Path) -> None:
    """Address and reason, status 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = app("serve", "--model-store", str(tiny_store), "--model", "tiny", "--port", port)
    assert ended.returncode == 1
    assert ended.stderr == f"error: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("raised", "status"), [(CheckpointError("weights: damaged"), 1), (KeyboardInterrupt(), 130), (None, 0)]
)
def test_exit_statuses(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: BaseException | None,
    status: int,
) -> None:
    """0 when done, 1 after an error made on purpose, 130 after Ctrl-C; a defect keeps its traceback."""

    def run(_: argparse.Namespace) -> int:
        if raised is not None:
            raise raised
        return 0

    monkeypatch.setattr("app.models.run", run)
    assert cli.main(["models", "list"]) == status
    assert capsys.readouterr().err == ("error: weights: damaged\n" if status == 1 else "")


@pytest.mark.parametrize(
    ("missing", "package"), [("torch", "torch"), ("sklearn.metrics", "scikit-learn"), ("app.x", "")]
)
def test_a_missing_library_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str, package: str
) -> None:
    """With what to install; a missing module of our own is a defect."""

    def run(_: argparse.Namespace) -> int:
        raise ModuleNotFoundError("No module", name=missing)

    monkeypatch.setattr("app.models.run", run)
    if not package:
        with pytest.raises(ModuleNotFoundError):
            cli.main(["models", "list"])
        return
    assert cli.main(["models", "list"]) == 1
    line = rf"error: the package \w+ is not installed; `pip install {package}` in .*\n"
    assert re.fullmatch(line, capsys.readouterr().err)


def test_a_full_disk_behind_standard_output(tiny_store: Path) -> None:
    """One line, and a status that says so."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "app", "models", "list", "--store", str(tiny_store)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")


def test_what_the_system_refuses_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is not there, named."""
    place = tmp_path / "missing" / "openapi.json"
    assert cli.main(["openapi", "--out", str(place)]) == 1
    assert capsys.readouterr().err == f"error: {place}: No such file or directory\n"


def test_defects_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only errors made on purpose are shortened."""
    monkeypatch.setattr("app.models.run", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["models", "list"])
