"""The environment, read once into one frozen ``Settings``. Only ``main`` and ``cli`` read it; everybody else is handed
the values it needs."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.errors import OptionError, SettingsError
from app.redis_address import fault_of_redis_url
from app.root_path import fault_of_root_path
from app.sentiment import DEVICES

PREFIX = "SENTIMENT_"
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Set by the supervisor for its children: the folder of their metrics' files. The name is the metrics library's."""
RESTARTED_VARIABLE = "PROCESS_RESTARTED"
"""Set by the supervisor for a child that replaces one that died."""
CORPUS_VARIABLE = "SENTIMENT_CORPUS"
"""Where training finds its corpus; nothing that serving needs."""
ROLE_VARIABLE = "SENTIMENT_PROCESS_ROLE"
"""Set by the supervisor for its children, such as ``worker-0``; not a setting."""

PACKAGED_STORE = Path(__file__).parent / "model_store"
"""The default model, where this is an installed package; see ``setup.py``."""
_STORE = Path("model_store")

Access = Literal["auto", "public", "admin", "off"]
_ORIGIN = re.compile(r"\*|https?://[A-Za-z0-9.\[\]:-]+")


class Settings(BaseSettings):
    """All settings; each is the environment variable ``SENTIMENT_<NAME>``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # ``load_settings`` shows it, where it is no secret
    )

    host: str = Field(default="127.0.0.1", min_length=1)
    """Address to listen on; 0.0.0.0 for all."""
    port: int = Field(default=8000, ge=0, le=65535)
    """TCP port to listen on; 0 picks a free one."""
    workers: int = Field(default=0, ge=0, le=256)
    """HTTP worker processes; 0 means in each engine's group its cores less one, at least one, if memory is enough."""
    engines: int = Field(default=0, ge=0, le=256)
    """Engine processes of the model that is served; 0 means one for each GPU or, on a CPU, for every six cores."""
    spare_engine: bool = True
    """Whether a single engine on a CPU has a second one that takes its place at once when it dies; it costs 20 MB."""
    model_store: Path = Field(default=_STORE, validate_default=True)
    """Folder of the model store."""
    model: str = Field(default="reviews-gru", min_length=1)
    """Model to serve: NAME for its highest version, NAME/VERSION, or NAME@LABEL such as NAME@champion."""
    further_models: str | None = None
    """Models to load beside it, for requests that name them, such as imdb-gru/4,reviews-gru@candidate; unset: none."""
    max_models: int = Field(default=4, ge=1, le=64)
    """Most versions loaded at once, the one that is served among them; each has an engine of its own."""
    canary_header: str = Field(default="X-Sticky-Key", pattern=r"^[A-Za-z0-9-]{1,64}$")
    """Header by which requests that belong together get the same version while a canary has a share; else the text."""
    guard: Literal["on", "dry-run", "off"] = "on"
    """Whether a canary that is worse than what is served loses its share by itself; dry-run only says that it would."""
    guard_window: float = Field(default=60.0, ge=5, le=3_600)
    """Seconds over which the guard compares the two."""
    guard_errors: float = Field(default=0.02, ge=0, le=1)
    """Largest part of a canary's requests that it may fail to answer."""
    guard_latency: float = Field(default=3.0, ge=1, le=100)
    """How many times longer than what is served a canary may take to answer, on average."""
    guard_change: float = Field(default=0.2, ge=0, le=1)
    """How much larger the part of unsure, unreadable, or equally labelled texts may be than of what is served."""
    guard_disagreement: float = Field(default=0.2, ge=0, le=1)
    """Largest part of the texts judged by both, while a canary is a shadow too, that it may give another label."""
    shadow_folder: Path | None = None
    """Folder where the texts are kept on which a shadow and what is served differ most; unset: none are kept."""
    follow_label: bool = False
    """Whether another model is served as soon as the label in SENTIMENT_MODEL names it; else it is by request alone."""
    device: str = Field(default="auto", pattern=f"^({DEVICES})$")
    """Where the forward pass runs: auto (CUDA when there is one), cpu, cuda or cuda:N."""
    runtime: Literal["auto", "native", "torch"] = "auto"
    """What computes the forward pass: auto is native on the CPU, torch on a GPU."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Arithmetic: auto is bfloat16 where the CPU computes it natively, else float32; float16 is for GPUs."""
    threads: int = Field(default=0, ge=0, le=1024)
    """Threads of each engine's forward pass; 0 means as many as it has cores."""
    cache: bool = True
    """Whether results are cached, and each worker has identical texts in flight computed once; off for measurements."""
    cache_size: int = Field(default=10_000, ge=1, le=10_000_000)
    """Results kept in each process' own least-recently-used cache."""
    redis_url: str | None = Field(default=None, repr=False)
    """Shared cache behind the in-process one: redis://localhost:6379/0, rediss:// for TLS, unix://; unset for none."""
    cache_secret: SecretStr | None = Field(default=None, min_length=16, repr=False)
    """Secret of 16 characters or more that keys in Redis are made with, so that nobody can guess texts by them."""
    redis_timeout: float = Field(default=0.05, gt=0, le=10)
    """Seconds a connection to Redis, or an answer from it, may take before it is an error and the text computed."""
    redis_ttl: int = Field(default=86_400, ge=1, le=31_536_000)
    """Seconds a result stays in Redis."""
    max_characters: int = Field(default=100_000, ge=1, le=10_000_000)
    """Longest text, in characters."""
    max_texts: int = Field(default=1_000, ge=1, le=100_000)
    """Most texts in one request."""
    max_body: int = Field(default=8_388_608, ge=1_024, le=1_073_741_824)
    """Largest request body, in bytes."""
    compressed_bodies: bool = False
    """Whether bodies in gzip or deflate are taken; bounded by SENTIMENT_MAX_BODY once unpacked."""
    max_connections: int = Field(default=2_000, ge=1, le=1_000_000)
    """Most connections of one HTTP worker; more are answered 503."""
    head_timeout: float = Field(default=10.0, gt=0, le=3_600)
    """Seconds in which request line and headers must have arrived."""
    body_timeout: float = Field(default=30.0, gt=0, le=3_600)
    """Seconds in which a body, but a file's, must arrive, unless at 64 KiB/s or more; also for a client to read."""
    keep_alive_timeout: float = Field(default=75.0, gt=0, le=3_600)
    """Seconds a connection is kept for its next request; longer than a proxy in front keeps it (nginx: 60)."""
    root_path: str | None = None
    """What a proxy puts before all paths, such as /sentiment, whether it strips that or not; unset: nothing."""
    api_keys: Path | None = None
    """File of API keys, made by `python -m app keys`; unset: nobody is asked for a key."""
    rate_limit: str | None = None
    """Most texts per key, such as 6000/minute or 200/second;6000/minute; all HTTP workers count together."""
    metrics: Access = "auto"
    """Who may read /metrics: public, admin (a key of that scope), off; auto is admin where there are keys."""
    docs: Access = "auto"
    """Who may read /openapi.json, which /docs shows; as above, and off takes both away."""
    cors_origins: str | None = None
    """Web origins whose pages may call, such as https://a.example,https://b.example, or *; unset: none."""
    max_file: int = Field(default=536_870_912, ge=1_024, le=1_099_511_627_776)
    """Largest file of POST /files, in bytes; it lies on disk while it is scored."""
    max_files: int = Field(default=2, ge=1, le=1_000)
    """Files of which one HTTP worker scores rows at once; others take turns with them."""
    max_transfers: int = Field(default=8, ge=1, le=1_000)
    """Files that one HTTP worker receives, keeps and answers at once, of one client a fourth; one more is refused."""
    file_folder: Path | None = None
    """Folder for files while they are scored; unset for the system's, which should not be in memory."""
    file_stall: float = Field(default=60.0, gt=0, le=3_600)
    """Seconds in which a client of POST /files must send something, 4 KiB/s on average, or take 64 KiB of its rows."""
    file_transfer: float = Field(default=1_800.0, gt=0, le=86_400)
    """Seconds that a client may take in all to send a file, and again to take its rows."""
    file_patience: float = Field(default=120.0, gt=0, le=3_600)
    """Seconds that rows of a file wait for their turn before the file is broken off."""
    feedback_folder: Path | None = None
    """Folder where POST /feedback keeps texts with their right labels; unset: nothing is kept, and it is refused."""
    feedback_bytes: int = Field(default=104_857_600, ge=1_024, le=1_099_511_627_776)
    """Most bytes of feedback that are kept; more is refused until some of it is deleted."""
    max_batch_size: int = Field(default=64, ge=1, le=8_192)
    """Most texts in one micro-batch."""
    max_batch_tokens: int = Field(default=16_384, ge=1, le=100_000_000)
    """Token budget of one micro-batch: its texts times the longest of them, or where nothing is padded its tokens."""
    max_batch_age: float = Field(default=0.1, ge=0, le=60)
    """Seconds after which a waiting text is no longer passed over for others of better length, where padding costs."""
    max_queue: int = Field(default=5_000, ge=1, le=1_000_000)
    """Most texts that wait for each engine; a request beyond that is refused at once."""
    max_queue_tokens: int = Field(default=2_000_000, ge=1, le=1_000_000_000)
    """Most tokens of the texts that wait for each engine; a request beyond that is refused at once."""
    max_queue_seconds: float = Field(default=10.0, gt=0, le=600)
    """Longest expected wait in the queue, by the measured rate; a request beyond that is refused at once."""
    timeout: float = Field(default=30.0, gt=0, le=3_600)
    """Seconds after which a request is answered 504."""
    engine_timeout: float = Field(default=10.0, ge=1, le=600)
    """Seconds without a sign of life after which the engine or an HTTP worker is killed and started again."""
    shutdown_grace: float = Field(default=3.0, ge=0, le=600)
    """Seconds after SIGTERM in which new requests are still answered while readiness says 503."""
    drain_timeout: float = Field(default=30.0, ge=0, le=3_600)
    """Seconds that workers, then explainer, then engine each get to finish at shutdown, after the grace time."""
    explain_max_texts: int = Field(default=16, ge=1, le=10_000)
    """Most texts in one request with ``explain``."""
    explain_max_characters: int = Field(default=20_000, ge=1, le=1_000_000)
    """Most characters of all texts together in one request with ``explain``."""
    explain_max_queue: int = Field(default=16, ge=1, le=10_000)
    """Most texts that wait for an explanation; one more is refused at once."""
    explain_cache_bytes: int = Field(default=16_777_216, ge=0, le=1_073_741_824)
    """Bytes of explanations kept in each HTTP worker; 0 for none."""
    explain_idle: float = Field(default=600.0, ge=1, le=86_400)
    """Seconds without an explanation after which the process that explains ends; the next one starts it again."""
    explain_device: str = Field(default="cpu", pattern=f"^({DEVICES})$")
    """Where explanations score sentences and aspects, named like the device; words and curve are on the CPU always."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is logged."""
    log_format: Literal["auto", "text", "json"] = "auto"
    """auto: text on a terminal, JSON lines elsewhere."""

    @field_validator("model_store")
    @classmethod
    def _is_found(cls, value: Path) -> Path:
        return store_to_read(value)

    @field_validator("redis_url")
    @classmethod
    def _is_an_address_of_redis(cls, value: str | None) -> str | None:
        if value is not None and (fault := fault_of_redis_url(value)):
            raise ValueError(
                f"{fault}; must be like redis://:PASSWORD@HOST:6379/0 (rediss:// for TLS) or "
                "unix:///PATH?db=0, with % escapes for signs such as / ? # @ : in a password"
            )
        return value

    @field_validator("rate_limit")
    @classmethod
    def _is_a_rate(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None:
            from limits import parse_many  # needed by few

            if info.data.get("api_keys") is None:
                raise ValueError("counts by key, so SENTIMENT_API_KEYS must be set")
            try:
                parse_many(value)
            except ValueError:
                raise ValueError("must be like 6000/minute, or several of that, separated by ;") from None
        return value

    @field_validator("file_folder", "feedback_folder", "shadow_folder")
    @classmethod
    def _can_be_written(cls, value: Path | None) -> Path | None:
        if value is not None and not (value.is_dir() and os.access(value, os.W_OK | os.X_OK)):
            raise ValueError("must be a folder that this process may write to")
        return value

    @field_validator("metrics", "docs")
    @classmethod
    def _has_keys(cls, value: Access, info: ValidationInfo) -> Access:
        if value == "admin" and info.data.get("api_keys") is None:
            raise ValueError("admin needs SENTIMENT_API_KEYS")
        return value

    @field_validator("root_path")
    @classmethod
    def _is_a_path(cls, value: str | None) -> str | None:
        if value is not None and (fault := fault_of_root_path(value)):
            raise ValueError(fault)
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: str | None) -> str | None:
        if value is not None and not all(_ORIGIN.fullmatch(origin.strip()) for origin in value.split(",")):
            raise ValueError("must be * or origins such as https://a.example, separated by commas")
        return value

    @field_validator("port", "workers", mode="before")
    @classmethod
    def _not_kubernetes(cls, value: Any) -> Any:
        # A Kubernetes service called "sentiment" injects SENTIMENT_PORT=tcp://10.0.0.1:8000.
        if isinstance(value, str) and value.startswith("tcp://"):
            raise ValueError("looks like a Kubernetes service variable; set enableServiceLinks: false")
        return value


def listed(value: str | None) -> list[str]:
    """The items of a setting that is a list."""
    return [item.strip() for item in (value or "").split(",") if item.strip()]


def is_secret(name: str) -> bool:
    """Whether a setting may hold a password, so that its value is shown nowhere."""
    return name in Settings.model_fields and not Settings.model_fields[name].repr


def default_of(name: str) -> str:
    """What a setting is without a flag: its variable's value, which is not checked here, or else its default."""
    return os.environ.get(f"{PREFIX}{name.upper()}") or str(Settings.model_fields[name].default)


def default_path(name: str) -> Path | None:
    """Likewise of a file or folder that need not be set."""
    given = default_of(name)
    return None if given == "None" else Path(given)


def store_to_read(store: Path) -> Path:
    """The model store of the package in the place of the default one, where there is no such folder."""
    return PACKAGED_STORE if store == _STORE and not store.is_dir() and PACKAGED_STORE.is_dir() else store


def load_settings(overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings from the environment, with ``overrides`` (from flags) on top.

    An unknown ``SENTIMENT_*`` variable only warns, because orchestrators inject such names.

    Raises:
        SettingsError: a value is malformed; the message names its variable.
        OptionError: likewise, one of ``overrides``; it names that.
    """
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields} | {ROLE_VARIABLE, CORPUS_VARIABLE}
    for name in sorted(os.environ):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            warnings.warn(f"{name}: unknown setting, ignored", stacklevel=2)
    try:
        return Settings(**(overrides or {}))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "string_pattern_mismatch":
            # For people, what the setting is for says more than a pattern.
            message = f"does not fit what it is: {Settings.model_fields[name].description}"
        if not is_secret(name):
            message += f" (got {str(first.get('input'))[:80]!r})"
        # ``from None``: an error's causes are printed with it by who does not know it.
        if overrides and name in overrides:
            raise OptionError(name, message) from None
        raise SettingsError(f"{PREFIX}{name.upper()}: {message}") from None
