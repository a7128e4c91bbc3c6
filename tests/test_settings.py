"""Settings: the environment, strictly read; a mistake names its variable."""

from __future__ import annotations

import os
import re
import traceback
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from redis.connection import ConnectionPool

from app.errors import OptionError, SettingsError
from app.redis_address import fault_of_redis_url
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
        ("redis_url", "redis://user:p%40ss@[::1]:6379/0", "redis://user:p%40ss@[::1]:6379/0"),
        ("redis_url", "redis://host?db=3", "redis://host?db=3"),
        ("redis_url", "rediss://host/2?ssl_cert_reqs=none", "rediss://host/2?ssl_cert_reqs=none"),
        ("redis_url", "unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("redis_url", "unix://user@/run/redis.sock?db=1&password=p", "unix://user@/run/redis.sock?db=1&password=p"),
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
        ("redis_url", "redis://:S3cretPart/rest@host"),
        ("redis_url", "redis://user:S3cret/rest@host"),
        ("redis_url", "redis://user:123/S3cret@host"),
        ("redis_url", "redis://:S3cret#rest@host"),
        ("redis_url", "redis://:S3cret?rest@host"),
        ("redis_url", "redis://:S3cret?rest=1@host"),
        ("redis_url", "redis://:S3cret@"),
        ("redis_url", "redis://:S3cret@host:port"),
        ("redis_url", "redis://:S3cret@host:0"),
        ("redis_url", "redis://:S3cret@host:99999/0"),
        ("redis_url", "redis://:S3cret@host/first"),
        ("redis_url", "redis://:S3cret@host/0/1"),
        ("redis_url", "redis://[::1"),
        ("redis_url", "redis://:S3 cret@host"),
        ("redis_url", "redis://host?db=x"),
        ("redis_url", "redis://host?db=1&db=2"),
        ("redis_url", "redis://host?socket_timeout=5"),
        ("redis_url", "redis://host?ssl_cert_reqs=none"),
        ("redis_url", "rediss://host?ssl_cert_reqs=S3cret"),
        ("redis_url", "rediss://host?ssl_check_hostname=S3cret"),
        ("redis_url", "rediss://host?ssl_ca_certs=/S3cret/absent"),
        ("redis_url", "unix://"),
        ("redis_url", "unix:///run/redis.sock?db=S3cret"),
        ("file_folder", "/absent/folder"),
        ("file_folder", "README.md"),
        ("feedback_folder", "/absent/folder"),
        ("feedback_bytes", "10"),
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
    message = str(caught.value)
    assert "\n" not in message
    if name == "cache_secret":
        assert value not in message
        return
    if name != "redis_url":
        # A path is shown as it was written.
        assert repr(value) in message
        return
    # It may hold a password, in whatever part of it.
    assert value not in message.partition(";")[0]
    assert not re.search("S3cret|rest@", message)
    assert "redis://:PASSWORD@HOST:6379/0" in message


def test_a_password_is_in_no_trace_of_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever does not expect the error prints its causes, and settings, too."""
    monkeypatch.setenv(f"{PREFIX}REDIS_URL", "redis://:S3cretPart/rest@host")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "S3cretPart" not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(ValidationError) as wrong:
        Settings()
    assert "S3cretPart" not in str(wrong.value)
    assert "S3cretPart" not in repr(Settings(redis_url="redis://:S3cretPart@host"))


@given(st.text("0123456789S#?/@:[]%&=. ", max_size=20))
def test_no_redis_url_is_good_here_and_malformed_to_the_client(rest: str) -> None:
    """What passes, the client's own parser takes too, and a connection can be made of it."""
    for scheme in ("redis://", "rediss://", "unix://"):
        if fault_of_redis_url(scheme + rest) is None:
            ConnectionPool.from_url(scheme + rest).make_connection()


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
