"""Settings: the environment, strictly read; a mistake names its variable."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.errors import OptionError, SettingsError
from app.settings import CORPUS_VARIABLE, PREFIX, ROLE_VARIABLE, Settings, load_settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests."""
    for name in list(os.environ):
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)


def read(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> Any:
    monkeypatch.setenv(f"{PREFIX}{name.upper()}", value)
    return getattr(load_settings(), name)


def test_defaults() -> None:
    """Without any variable the shipped model is served on this machine only."""
    settings = load_settings()
    assert (settings.host, settings.port, settings.model) == ("127.0.0.1", 8000, "reviews-gru")
    assert (settings.cache, settings.redis_url, settings.model_store) == (True, None, Path("model_store"))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("host", "0.0.0.0", "0.0.0.0"),
        ("host", "::1", "::1"),
        ("port", "0", 0),
        ("port", "65535", 65535),
        ("workers", "256", 256),
        ("model_store", "/models", Path("/models")),
        ("model", "imdb-gru/1", "imdb-gru/1"),
        ("device", "cuda", "cuda"),
        ("device", "cuda:12", "cuda:12"),
        ("runtime", "torch", "torch"),
        ("precision", "bfloat16", "bfloat16"),
        ("cache", "off", False),
        ("cache", "0", False),
        ("cache", "False", False),
        ("cache", "ON", True),
        ("redis_url", "rediss://:p%40ss@host:6380/1", "rediss://:p%40ss@host:6380/1"),
        ("redis_url", "unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("redis_timeout", "0.2", 0.2),
        ("max_batch_age", "0", 0.0),
        ("timeout", "1e2", 100.0),
        ("log_format", "json", "json"),
    ],
)
def test_values(monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: object) -> None:
    """Each variable becomes a value of its type."""
    assert read(monkeypatch, name, value) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "http"),
        ("port", "-1"),
        ("port", "65536"),
        ("port", "80.5"),
        ("port", "0x50"),
        ("port", "tcp://10.0.0.1:8000"),
        ("workers", "-1"),
        ("workers", "257"),
        ("workers", "true"),
        ("device", "gpu"),
        ("device", "cuda:"),
        ("device", "cuda:x"),
        ("runtime", "onnx"),
        ("precision", "float64"),
        ("cache", "maybe"),
        ("cache", "2"),
        ("redis_url", "http://localhost"),
        ("redis_url", "localhost:6379"),
        ("redis_url", "redis+sentinel://localhost:26379/main/0"),
        ("cache_secret", "too short"),
        ("redis_timeout", "0"),
        ("redis_timeout", "nan"),
        ("max_batch_age", "-0.1"),
        ("max_batch_age", "inf"),
        ("max_body", "1023"),
        ("timeout", "soon"),
        ("timeout", "1e400"),
        ("log_level", "INFO"),
        ("log_level", "trace"),
        ("log_format", "xml"),
    ],
)
def test_a_malformed_value_names_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """The message has the variable and what was found in it, on one line."""
    with pytest.raises(SettingsError, match=rf"^{PREFIX}{name.upper()}: ") as caught:
        read(monkeypatch, name, value)
    # A URL may hold a password.
    assert (repr(value) in str(caught.value)) == (name not in ("redis_url", "cache_secret"))
    assert "\n" not in str(caught.value)


NUMBERS = {
    name: field
    for name, field in Settings.model_json_schema()["properties"].items()
    if field.get("type") in ("integer", "number")
}


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_has_limits(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The limits themselves are allowed, what is beyond is not, and no number is boundless."""
    field = NUMBERS[name]
    lowest = field.get("minimum", field.get("exclusiveMinimum"))
    highest = field["maximum"]
    assert read(monkeypatch, name, str(highest)) == highest
    for beyond in (highest + 1, lowest - 1, lowest if "exclusiveMinimum" in field else highest * 1000 + 1):
        with pytest.raises(SettingsError, match=f"{PREFIX}{name.upper()}"):
            read(monkeypatch, name, str(beyond))


def test_a_kubernetes_service_variable_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """The injected SENTIMENT_PORT is a common accident, so its message says what to do."""
    with pytest.raises(SettingsError, match="enableServiceLinks"):
        read(monkeypatch, "port", "tcp://10.0.0.1:8000")


def test_an_unknown_variable_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelling is said and ignored; names of other programs are no business of ours."""
    monkeypatch.setenv(f"{PREFIX}PROT", "9000")
    monkeypatch.setenv("OTHER_PORT", "9000")
    with pytest.warns(UserWarning, match="^SENTIMENT_PROT: unknown setting, ignored$") as caught:
        assert load_settings().port == 8000
    assert len(caught) == 1


def test_variables_that_are_not_settings_do_not_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training's corpus and the supervisor's own variable are known."""
    monkeypatch.setenv(CORPUS_VARIABLE, "corpus")
    monkeypatch.setenv(ROLE_VARIABLE, "worker-0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_settings()


def test_an_empty_variable_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """``SENTIMENT_REDIS_URL=`` in a compose file means no Redis."""
    assert read(monkeypatch, "redis_url", "") is None
    assert read(monkeypatch, "port", "") == 8000


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was typed last counts; a malformed flag is named itself, not its variable."""
    monkeypatch.setenv(f"{PREFIX}PORT", "9000")
    monkeypatch.setenv(f"{PREFIX}MODEL", "other")
    settings = load_settings({"port": "9001", "cache": "off"})
    assert (settings.port, settings.model, settings.cache) == (9001, "other", False)
    with pytest.raises(OptionError, match=r"^port: "):
        load_settings({"port": "none"})


def test_settings_cannot_be_changed() -> None:
    """What was read at the start stays."""
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().port = 1  # type: ignore[misc]


def test_every_setting_has_a_docstring() -> None:
    """Which is what ``serve --help`` and the tables say."""
    lines = Path("app/settings.py").read_text().split("class Settings")[1].splitlines()
    for name in Settings.model_fields:
        [at] = [number for number, line in enumerate(lines) if re.match(rf"    {name}: ", line)]
        assert re.match(r'    """\S.*\."""$', lines[at + 1]), name
