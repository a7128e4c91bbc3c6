"""Every metric of the service: its name, help, labels and buckets, in one place.

Names follow the Prometheus conventions: prefix ``sentiment_``, base units, ``_total`` for counters. Every label has a
bounded set of values. With several processes the library's multiprocess mode adds the processes up; each gauge says
how.
"""

from __future__ import annotations

import functools
import gc
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client import (
    REGISTRY,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    values,
)
from prometheus_client.samples import Sample

from app.histograms import BOUNDS
from app.metric_files import GenerationFiles, Identity, figures_in, generations_in, note_generation
from app.metric_types import (
    BatchHistogram,
    GenerationsCollector,
    LabelledCollector,
    MetricsBuffer,
    labelled,
)
from app.settings import METRICS_VARIABLE, RESTARTED_VARIABLE
from app.store import StoredModel

__all__ = ["CONTENT_TYPE", "BatchHistogram", "labelled", "render"]


process = Identity()
"""Which of them this is; another one after ``begin_process`` in a copy of the fork server."""

# The supervisor sets this before anything imports the library. A copy of the fork server has other files than that,
# which the library opens as soon as it sees another name.
if METRICS_VARIABLE in os.environ:
    values.MmapedDict = figures_in  # type: ignore[attr-defined,assignment]
    values.ValueClass = values.MultiProcessValue(lambda: process.files)  # type: ignore[no-untyped-call]

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
# An answer out of the cache takes a fifth of a millisecond.
_REQUEST_SECONDS = (0.0001, 0.00025, *_SECONDS)
_FAST_SECONDS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25)
_SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
_INFO = "sentiment_model_info"
"""What is served is said by those alone who serve, not by others that still finish what they have."""
_POWERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


buffered = MetricsBuffer()
_largest = functools.partial(Gauge, multiprocess_mode="livemax")
"""A gauge of which, of all processes, the largest is shown."""

REQUESTS = Counter("sentiment_requests", "HTTP requests by route template and status.", ["route", "method", "status"])
REQUEST_SECONDS = BatchHistogram(
    "sentiment_request_duration_seconds",
    "Time from request to response, by what was asked for (text, texts, explanation, other) and class of status.",
    ["route", "kind", "code"],
    buckets=_REQUEST_SECONDS,
)
REQUESTS_IN_FLIGHT = Gauge("sentiment_requests_in_flight", "HTTP requests being answered.", multiprocess_mode="livesum")
CONNECTIONS = Gauge("sentiment_connections", "Connections of clients.", multiprocess_mode="livesum")
CONNECTIONS_LIMIT = Gauge(
    "sentiment_connections_limit", "Most connections that are served at a time.", multiprocess_mode="livesum"
)
TEXTS = Counter("sentiment_texts", "Texts by outcome; those of long requests once they are computed.", ["outcome"])
REJECTED = Counter("sentiment_rejected", "Requests or texts refused, by reason.", ["reason"])
KEYS_STALE = _largest(
    "sentiment_api_keys_stale",
    "1 while the file of API keys is malformed or gone, and those that were read before are used.",
)
FEEDBACK = Counter(
    "sentiment_feedback",
    "Feedback kept, by what answered and whether that was right: right, wrong, unknown.",
    ["model", "version", "answer"],
)
FEEDBACK_BYTES = _largest("sentiment_feedback_bytes", "Bytes of feedback kept.")
FEEDBACK_LIMIT_BYTES = _largest("sentiment_feedback_limit_bytes", "Most bytes of feedback that may be kept.")
FILES = Counter("sentiment_files", "Files by outcome: done, refused, abandoned by the client, failed.", ["outcome"])
FILES_IN_PROGRESS = Gauge(
    "sentiment_files_in_progress", "Files being received, scored or answered.", multiprocess_mode="livesum"
)
FILE_ROWS = Counter("sentiment_file_rows", "Rows of files answered.")
TOKENIZE_SECONDS = BatchHistogram(
    "sentiment_tokenize_duration_seconds", "Time to tokenize one text.", buckets=_FAST_SECONDS
)
TEXT_TOKENS = BatchHistogram("sentiment_text_tokens", "Tokens per text, before truncation.", buckets=BOUNDS["tokens"])
TRUNCATED = Counter("sentiment_truncated_texts", "Texts longer than the network reads.")
UNKNOWN_RATIO = BatchHistogram(
    "sentiment_unknown_token_ratio",
    "Share of a text's words that are not in the vocabulary.",
    buckets=BOUNDS["unknown"],
)
PREDICTIONS = Counter("sentiment_predictions", "Predictions by label.", ["label"])
TEXTS_JUDGED = Counter(
    "sentiment_texts_judged", "Predictions by how far to trust them: ok, unsure, unreadable.", ["judgement"]
)
CONFIDENCE = BatchHistogram("sentiment_confidence", "Probability of the predicted label.", buckets=BOUNDS["score"])
CACHE_LOOKUPS = Counter(
    "sentiment_cache_lookups",
    "Texts looked up, by tier and result: hit, miss, coalesced (memory), error, skipped (redis).",
    ["tier", "result"],
)
CACHE_WRITES_DROPPED = Counter(
    "sentiment_cache_writes_dropped",
    "Results not written to Redis, by reason: queue_full, error, skipped.",
    ["reason"],
)
CACHE_BREAKER_OPEN = _largest(
    "sentiment_cache_breaker_open",
    "1 while the shared cache is left alone after failures, by operation: read, write.",
    ["operation"],
)
QUEUE_SECONDS = BatchHistogram("sentiment_queue_wait_seconds", "Time a text waited for its batch.", buckets=_SECONDS)
INFERENCE_SECONDS = Histogram("sentiment_inference_duration_seconds", "Time of one forward pass.", buckets=_SECONDS)
BATCH_SIZE = Histogram("sentiment_batch_size", "Texts per micro-batch.", buckets=_POWERS)
BATCH_TOKENS = Histogram(
    "sentiment_batch_tokens", "Tokens per micro-batch, without padding.", buckets=tuple(64 * power for power in _POWERS)
)
PADDING_RATIO = Histogram(
    "sentiment_padding_ratio",
    "Share of a micro-batch that is padding; 0 with a runtime that does not pad.",
    buckets=_SHARES,
)
COMPUTED = Counter("sentiment_computed_texts", "Texts that went through the network.")
DROPPED = Counter("sentiment_dropped_texts", "Queued texts dropped before they were computed, by reason.", ["reason"])
INFERENCE_ERRORS = Counter("sentiment_inference_errors", "Forward passes that failed.", ["reason"])
QUEUE_DEPTH = Gauge("sentiment_queue_depth", "Texts waiting for an engine.", multiprocess_mode="livesum")
QUEUE_LIMIT = _largest("sentiment_queue_limit", "Most texts that may wait for an engine.")
QUEUE_EXPECTED_SECONDS = _largest(
    "sentiment_queue_expected_wait_seconds", "Time the waiting texts will take, by the measured rate; sampled."
)
QUEUE_LIMIT_SECONDS = _largest("sentiment_queue_wait_limit_seconds", "Longest expected wait that is admitted.")
ENGINE_READY = Gauge("sentiment_engine_ready", "1 while an engine answers.", ["engine"], multiprocess_mode="livemin")
EXPLANATIONS = Counter("sentiment_explanations", "Texts to be explained, by outcome.", ["outcome"])
EXPLANATION_SECONDS = Histogram(
    "sentiment_explanation_duration_seconds", "Time to explain one text, by kind.", ["kind"], buckets=_SECONDS
)
EXPLANATION_QUEUE_DEPTH = Gauge(
    "sentiment_explanation_queue_depth", "Texts waiting for an explanation.", multiprocess_mode="livesum"
)
RESTARTS = Counter("sentiment_process_restarts", "Child processes started again, by role.", ["role"])
SEEN = _largest("sentiment_process_seen_timestamp_seconds", "Unix time of a process' last sign of life.", ["process"])
WORKERS = _largest("sentiment_workers", "HTTP workers that should run.")
OPEN_FILES = _largest(
    "sentiment_process_open_fds", "File descriptors of the process of a role that has most.", ["role"]
)
OPEN_FILES_LIMIT = Gauge(
    "sentiment_process_max_fds",
    "File descriptors that a process of a role may have.",
    ["role"],
    multiprocess_mode="livemin",
)
CPU_THROTTLED_SECONDS = Counter(
    "sentiment_cpu_throttled_seconds", "Time in which the control group had used up its share of the CPU."
)
CPU_SECONDS = Counter("sentiment_process_cpu_seconds", "CPU time used, user and system, by role.", ["role"])
MEMORY_BYTES = Gauge("sentiment_process_resident_bytes", "Resident memory.", ["role"], multiprocess_mode="livesum")
DEVICE_MEMORY_BYTES = Gauge(
    "sentiment_device_memory_bytes", "Device memory held by the engine.", multiprocess_mode="livesum"
)
GPU_MEMORY_USED_BYTES = _largest("sentiment_gpu_memory_used_bytes", "GPU memory used by all programs.", ["device"])
GPU_MEMORY_BYTES = _largest("sentiment_gpu_memory_bytes", "GPU memory there is.", ["device"])
GPU_UTILIZATION = _largest("sentiment_gpu_utilization_ratio", "Share of time in which the GPU computed.", ["device"])
GPU_POWER = _largest("sentiment_gpu_power_watts", "Power the GPU draws.", ["device"])
MODEL_MISMATCHES = Counter(
    "sentiment_model_mismatches",
    "Greetings and questions refused because two processes serve different models, by link.",
    ["link"],
)
FURTHER_MODELS = _largest("sentiment_further_models", "Versions loaded beside the one that is served.")
FURTHER_MODELS_AWAY = _largest("sentiment_further_models_away", "Of those, the ones whose engine does not answer.")
CANARY_RATIO = _largest("sentiment_canary_ratio", "Share that the canary is to get of requests without a model.")
CANARY_TAKEN_BACK = _largest("sentiment_canary_taken_back", "How often the guard has ended a canary's share.")
CANARY_REQUESTS = Counter("sentiment_canary_requests", "Requests of the share: answered, fallback, away.", ["outcome"])
SHADOW_RATIO = _largest("sentiment_shadow_ratio", "Share that the shadow is to judge of the texts computed.")
_PAIR = ["model", "version", "against"]
"""The shadow, and NAME/VERSION of what was served."""
SHADOW_TEXTS = Counter("sentiment_shadow_texts", "Texts for the shadow, by outcome.", [*_PAIR, "outcome"])
SHADOW_CHANGES = Counter("sentiment_shadow_changes", "Texts compared that the shadow gives another label.", _PAIR)
SHADOW_DIFFERENCE = BatchHistogram("sentiment_shadow_difference", "Difference of scores.", _PAIR, buckets=_SHARES[1:])
SHADOW_SECONDS = BatchHistogram("sentiment_shadow_duration_seconds", "Time of up to 8 texts.", _PAIR, buckets=_SECONDS)
MODEL_INFO = _largest(
    _INFO,
    "1; the labels say what is served.",
    ["model", "version", "digest", "architecture", "runtime", "precision", "device"],
)
REFERENCE_LABEL = _largest(
    "sentiment_reference_label_ratio",
    "Share of a label among the predictions for the held-out texts.",
    ["model", "version", "label"],
)
REFERENCE_CONFIDENCE = _largest(
    "sentiment_reference_confidence",
    "Mean probability of the predicted label on the held-out texts.",
    ["model", "version"],
)
REFERENCE_TOKENS = _largest(
    "sentiment_reference_text_tokens", "Mean number of tokens of the held-out texts.", ["model", "version"]
)
REFERENCE_UNKNOWN = _largest(
    "sentiment_reference_unknown_token_ratio",
    "Mean share of unknown tokens in the held-out texts.",
    ["model", "version"],
)
REFERENCE_TRUNCATED = _largest(
    "sentiment_reference_truncated_ratio", "Share of the held-out texts that were truncated.", ["model", "version"]
)

REFERENCE_BIN = _largest(
    "sentiment_reference_bin_ratio",
    "Share of the held-out texts in a bin, by what is counted: score, tokens, unknown.",
    ["model", "version", "of", "above", "le"],
)

_BY_MODEL = frozenset(
    family.name
    for metric in (
        *(REQUESTS, REQUEST_SECONDS, TEXTS, TEXTS_JUDGED, PREDICTIONS, CONFIDENCE),
        *(TOKENIZE_SECONDS, TEXT_TOKENS, TRUNCATED, UNKNOWN_RATIO),
    )
    for family in metric.describe()
)
"""Metrics that are shown with the labels ``model`` and ``version``."""
_OF_ENGINES = frozenset(
    family.name
    for metric in (
        *(COMPUTED, QUEUE_DEPTH, QUEUE_LIMIT, QUEUE_EXPECTED_SECONDS, QUEUE_LIMIT_SECONDS, DEVICE_MEMORY_BYTES),
        *(GPU_MEMORY_USED_BYTES, GPU_MEMORY_BYTES, GPU_UTILIZATION, GPU_POWER),
        *(RESTARTS, CPU_SECONDS, MEMORY_BYTES),
    )
    for family in metric.describe()
)
"""Metrics that are shown with the label ``engine``: its number, or ``further`` for those of further models. Those that
have a label ``role`` are also of other processes, and have it then not."""
_served: dict[str, str] = {}

_STATUSES = ("200", "400", "413", "422", "424", "429", "499", "500", "503", "504")
"""What a request for inference is usually answered with, and every error that counts against the objective."""


def serve(model: StoredModel, routes: Iterable[str]) -> None:
    """Say what is served from now on, and begin series that depend on it at 0. See ``begin_process``.

    Args:
        model: answers all texts.
        routes: templates of the routes that answer texts, all of them by POST.
    """
    _served.update(model=model.name, version=str(model.version))
    for route in routes:
        for status in _STATUSES:
            REQUESTS.labels(route, "POST", status)
    for answer in ("right", "wrong", "unknown"):
        FEEDBACK.labels(model.name, str(model.version), answer)


def show(folder: Path, model: StoredModel, *, serves: bool) -> None:
    """Have the metrics of a generation of processes shown from now on. That a full disk prevents this ends nobody.

    Args:
        folder: of their files.
        model: what they answer with.
        serves: whether they still do. Their counters are shown for good, but what is served is said by others.
    """
    note_generation(folder, {"model": model.name, "version": str(model.version), "serves": serves})


def samples(folder: Path) -> Iterator[Sample]:
    """All samples of all processes, for who has the folder of the folders of their files. Blocking."""
    for family in GenerationsCollector(generations_in(folder), _BY_MODEL, _OF_ENGINES, _INFO).collect():
        yield from family.samples


def render() -> bytes:
    """The exposition text of all processes. Blocking: reads files in multiprocess mode."""
    if METRICS_VARIABLE not in os.environ:
        return generate_latest(LabelledCollector(REGISTRY, _BY_MODEL, _served, _OF_ENGINES))
    own = Path(os.environ[METRICS_VARIABLE])
    found = generations_in(own.parent) or [GenerationFiles(_served, sorted(map(str, own.glob("*.db"))), serves=True)]
    text = generate_latest(GenerationsCollector(found, _BY_MODEL, _OF_ENGINES, _INFO))
    # The library makes tuples that end in CPython's free lists, where nobody asks for so many of their sizes. Only a
    # full collection clears those, and serving processes hardly ever come to one (see process/pulse.py).
    gc.collect()
    return text


_FROM_ZERO = (
    (TEXTS_JUDGED, ("ok", "unsure", "unreadable")),
    (FILES, ("done", "refused", "abandoned", "failed")),
    (EXPLANATIONS, ("computed", "cached")),
    (CACHE_WRITES_DROPPED, ("queue_full", "error", "skipped")),
    (INFERENCE_ERRORS, ("model", "not_finite", "out_of_memory", "dead")),
    (MODEL_MISMATCHES, ("engine", "explainer")),
    (CANARY_REQUESTS, ("answered", "fallback", "away")),
    (DROPPED, ("cancelled", "deadline")),
    (REJECTED, ("overloaded", "engine_unavailable", "deadline_exceeded", "rate_limited", "too_many_connections")),
)
"""Counters that alerts and panels ask for by name, with the values of their one label."""


def tell_engine_ready(number: int | str, ready: bool) -> None:
    """Say whether an engine answers."""
    ENGINE_READY.labels(str(number)).set(ready)


def begin_process() -> bool:
    """Be what the environment says, and count this start where it replaces a process that died, which is returned.

    Series that alerts watch begin at 0 here: of a counter that appears with its first event, ``rate`` misses the event.
    """
    process.read()
    restarted = bool(os.environ.pop(RESTARTED_VARIABLE, None))
    RESTARTS.labels(process.role).inc(restarted)
    for operation in ("read", "write"):
        CACHE_BREAKER_OPEN.labels(operation).set(0)
    SEEN.labels(process.name).set(time.time())
    for counter, values_of_label in _FROM_ZERO:
        for value in values_of_label:
            counter.labels(value)
    for result in ("hit", "miss", "error", "skipped"):
        CACHE_LOOKUPS.labels("redis", result)
    return restarted
