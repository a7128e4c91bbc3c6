"""Metrics keep to the conventions of Prometheus, and each is really kept."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.parser import text_string_to_metric_families

from app import metrics
from app.metric_files import GenerationFiles, ReservedFile
from app.metric_types import BatchHistogram, GenerationsCollector, LabelledCollector, MetricsBuffer
from app.process.child import Child, Process
from app.store import StoredModel
from tests.inference_routes import inference_routes

ROOT = Path(__file__).parent.parent
OURS = {name: value for name, value in vars(metrics).items() if isinstance(value, MetricWrapperBase)}
EXPOSED = {family.name: family for family in REGISTRY.collect() if family.name.startswith("sentiment_")}
SOURCE = "\n".join(path.read_text() for path in (ROOT / "app").rglob("*.py"))


def exposed_name(metric: MetricWrapperBase) -> str:
    [family] = metric.describe()
    return family.name


@pytest.mark.parametrize("metric", OURS.values(), ids=OURS.keys())
def test_names_follow_the_conventions(metric: MetricWrapperBase) -> None:
    """Prefix, small letters, base units, a suffix of the kind, and help that is a sentence."""
    name = exposed_name(metric)
    assert re.fullmatch(r"sentiment_[a-z]+(_[a-z]+)*", name)
    assert not re.search(r"_(milliseconds|ms|micros|minutes|kilobytes|megabytes|mb|percent|count|sum|bucket)$", name)
    assert "seconds" not in name or name.endswith("_seconds")
    assert "bytes" not in name or name.endswith("_bytes")
    [family] = metric.describe()
    assert family.documentation.endswith(".")
    if isinstance(metric, Counter):
        assert not name.endswith("_total"), "the library adds it"
    else:
        assert isinstance(metric, Gauge | Histogram)


@pytest.mark.parametrize("gauge", [metric for metric in OURS.values() if isinstance(metric, Gauge)], ids=exposed_name)
def test_every_gauge_says_how_processes_add_up(gauge: Gauge) -> None:
    """The default of the library would make one series per process, without end."""
    assert gauge._multiprocess_mode in {"livesum", "livemax", "livemin"}


@pytest.mark.parametrize(
    "histogram", [metric for metric in OURS.values() if isinstance(metric, Histogram)], ids=exposed_name
)
def test_buckets_rise(histogram: Histogram) -> None:
    """Strictly, to infinity, and few enough for one series each."""
    bounds = histogram._upper_bounds
    assert bounds == sorted(set(bounds))
    assert bounds[-1] == float("inf")
    assert 5 <= len(bounds) <= 20


def test_all_metrics_are_defined_in_one_place() -> None:
    """What the process exposes under our prefix is what the module holds."""
    assert set(EXPOSED) == {exposed_name(metric) for metric in OURS.values()}


@pytest.mark.parametrize(
    "name",
    OURS,
)
def test_every_metric_is_kept(name: str) -> None:
    """A metric that nothing sets would say 0 for ever, which at night reads as all being well."""
    setting = r"\.\s*(labels|inc|dec|set|observe|observe_all|observe_times|time|count_exceptions)\b"
    buffered = rf"\bbuffered\.\w+\(metrics\.{name}\b"
    assert re.search(
        rf"\b{name}\s*{setting}|\(metrics\.{name}, reference\b|labelled\((metrics\.)?{name}, |{buffered}", SOURCE
    )


def test_a_batch_is_observed_as_its_values_would_be() -> None:
    """Sum, count and every bucket, limits and values beyond the last bound included."""
    registry = CollectorRegistry()
    one = BatchHistogram("one", "One by one.", buckets=(0, 1, 2.5), registry=registry)
    many = BatchHistogram("many", "All at once.", buckets=(0, 1, 2.5), registry=registry)
    amounts = [0, 0.5, 1, 1, 2.5, 2.6, 99]
    for amount in amounts:
        one.observe(amount)
    many.observe_all(amounts)
    many.observe_all([])
    for amount in (0.5, 99):
        for _ in range(3):
            one.observe(amount)
        many.observe_times(amount, 3)
    [first, second] = [[(sample.labels, sample.value) for sample in family.samples] for family in registry.collect()]
    assert [entry for entry in first if entry[0]] == [entry for entry in second if entry[0]]
    assert (registry.get_sample_value("many_sum"), registry.get_sample_value("many_count")) == (405.1, 13)


def test_text_format() -> None:
    """Counters are exposed with ``_total``; each family has help and a type."""
    metrics.TEXTS.labels("predicted").inc(0)
    lines = metrics.render().decode().splitlines()
    assert "# TYPE sentiment_texts_total counter" in lines
    assert any(re.match(r'sentiment_texts_total\{(.*,)?outcome="predicted"', line) for line in lines)
    typed = {line.split()[2] for line in lines if line.startswith("# TYPE sentiment_")}
    helped = {line.split()[2] for line in lines if line.startswith("# HELP sentiment_")}
    assert typed == helped


def test_processes_add_up_and_a_restarted_one_goes_on(tmp_path: Path) -> None:
    """A second process of the same role continues the first one's counter and files; engines are told apart."""
    code = (
        "from app import metrics; metrics.COMPUTED.inc(2); metrics.QUEUE_LIMIT.set(7); metrics.begin_process(); "
        "print(metrics.render().decode())"
    )
    output = ""
    for role in ("engine-1", "engine-0", "engine-1", "worker-0"):
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "SENTIMENT_PROCESS_ROLE": role}
        command = [sys.executable, "-W", "error", "-c", code]
        output = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert '\nsentiment_computed_texts_total{engine="0"} 2.0\n' in output
    assert '\nsentiment_computed_texts_total{engine="1"} 4.0\n' in output
    assert "\nsentiment_computed_texts_total " not in output, "what is an engine's is nobody else's"
    assert '\nsentiment_queue_limit{engine="1"} 7.0\n' in output
    assert '\nsentiment_process_restarts_total{engine="0",role="engine"} 0.0\n' in output
    assert '\nsentiment_process_restarts_total{role="worker"} 0.0\n' in output
    found = {path.name.split("_", 1)[1] for path in tmp_path.glob("counter_*")}
    assert found == {"worker-0.db", "engine-0.db", "engine-1.db"}
    assert "pid=" not in output


def test_a_process_begins_with_a_clean_slate(tmp_path: Path) -> None:
    """Of a killed worker the supervisor clears every gauge there is, with all labels; its successor counts itself, and
    counters go on."""
    before = (
        "metrics.FILE_ROWS.inc()\n"
        "for metric in vars(metrics).values():\n"
        "    if isinstance(metric, metrics.Gauge):\n"
        "        (metric.labels(*['left']*len(metric._labelnames)) if metric._labelnames else metric).set(77)"
    )
    after = "print(metrics.render().decode())"
    output = ""
    for code, restarted in ((before, {}), (after, {"PROCESS_RESTARTED": "1"})):
        environment = {
            **os.environ,
            "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
            "SENTIMENT_PROCESS_ROLE": "worker-3",
            **restarted,
        }
        begin = "from app import metrics\nmetrics.begin_process()\n"
        command = [sys.executable, "-W", "error", "-c", begin + code]
        output = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        if not restarted:
            assert "gauge_livesum_worker-3.db" in {path.name for path in tmp_path.iterdir()}
            Child("worker-3", [], metrics=tmp_path, process=Process(1)).collected(0)
    assert "77.0" not in output
    assert '"left"' not in output
    assert "\nsentiment_requests_in_flight 0.0\n" in output
    assert "\nsentiment_file_rows_total 1.0\n" in output
    assert '\nsentiment_process_restarts_total{role="worker"} 1.0\n' in output
    assert '\nsentiment_cache_lookups_total{result="error",tier="redis"} 0.0\n' in output
    assert re.search(r'\nsentiment_process_seen_timestamp_seconds\{process="worker-3"\} \d', output)


def test_what_rules_and_dashboards_ask_for_by_name_is_there_from_the_start(tmp_path: Path) -> None:
    """Of a series that begins with its first event ``rate`` misses the event: a burst of errors would not be seen."""
    routes = sorted(inference_routes(json.loads((ROOT / "docs/openapi.json").read_text())))
    code = (
        "from types import SimpleNamespace; from app import metrics; metrics.begin_process(); "
        f"metrics.serve(SimpleNamespace(name='m', version=1), {routes}); print(metrics.render().decode())"
    )
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "SENTIMENT_PROCESS_ROLE": "worker-0"}
    command = [sys.executable, "-W", "error", "-c", code]
    output = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    series = [
        (sample.name, sample.labels) for family in text_string_to_metric_families(output) for sample in family.samples
    ]
    asked = [path.read_text() for path in (ROOT / "monitoring").glob("rules/*.yml")]
    asked += [path.read_text().replace('\\"', '"') for path in (ROOT / "monitoring").glob("grafana/dashboards/*.json")]
    selectors = set(re.findall(r"(sentiment_\w+_total)\{([^}]*)\}", "\n".join(asked)))
    named = [(name, dict(re.findall(r'(\w+)="([^"$]*)"', matchers))) for name, matchers in selectors]
    # Those of a shadow name two versions, and begin with it: see tests/serving/test_shadow.py.
    named = [(name, wanted) for name, wanted in named if not name.startswith("sentiment_shadow_")]
    assert len([wanted for _, wanted in named if wanted]) > 10
    for name, wanted in named:
        assert not wanted or any(name == found and wanted.items() <= labels.items() for found, labels in series), (
            name,
            wanted,
        )
    for route in routes:
        for status in ("200", "429", "500", "503", "504"):
            labels = {"route": route, "method": "POST", "status": status, "model": "m", "version": "1"}
            assert ("sentiment_requests_total", labels) in series


def test_the_model_is_named_where_metrics_are_read(registry: CollectorRegistry) -> None:
    """In every series of the metrics that are about it, and in no other."""
    for name in ("texts", "other"):
        Counter(name, "Texts.", ["outcome"], registry=registry).labels("done").inc()
    Histogram("seconds", "Seconds.", buckets=(1,), registry=registry).observe(0.5)
    shown = LabelledCollector(registry, frozenset({"texts", "seconds"}), {"model": "m", "version": "2"})
    text = generate_latest(shown).decode()
    assert 'texts_total{model="m",outcome="done",version="2"} 1.0\n' in text
    assert 'seconds_bucket{le="1.0",model="m",version="2"} 1.0\n' in text
    assert 'seconds_sum{model="m",version="2"} 0.5\n' in text
    assert 'other_total{outcome="done"} 1.0\n' in text


def test_what_versions_are_compared_by_is_told_apart() -> None:
    """Requests and their errors, times, predictions, confidence and judgement: of each version its own."""
    compared = {"requests", "request_duration_seconds", "texts", "predictions", "confidence", "texts_judged"}
    assert {f"sentiment_{name}" for name in compared} <= metrics._BY_MODEL


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


async def test_what_a_turn_counted_is_written_at_its_end(registry: CollectorRegistry) -> None:
    """Once for all of it; what comes in the next turn is added."""
    buffer, counter = MetricsBuffer(), Counter("texts", "Texts.", registry=registry)
    for _ in range(3):
        buffer.count(counter)
    buffer.count(counter, 4)
    assert registry.get_sample_value("texts_total") == 0
    await asyncio.sleep(0)
    assert registry.get_sample_value("texts_total") == 7
    buffer.count(counter)
    await asyncio.sleep(0)
    assert registry.get_sample_value("texts_total") == 8


async def test_a_gauge_goes_up_and_down(registry: CollectorRegistry) -> None:
    """What came and went within a turn leaves it as it was."""
    buffer, gauge = MetricsBuffer(), Gauge("waiting", "Waiting.", registry=registry)
    buffer.count(gauge, 2)
    buffer.count(gauge, -1)
    await asyncio.sleep(0)
    assert registry.get_sample_value("waiting") == 1
    buffer.count(gauge)
    buffer.count(gauge, -1)
    await asyncio.sleep(0)
    assert registry.get_sample_value("waiting") == 1


async def test_every_observation_counts(registry: CollectorRegistry) -> None:
    """Each goes into its bucket and into the sum."""
    buffer, histogram = MetricsBuffer(), BatchHistogram("seconds", "Seconds.", buckets=(1, 2), registry=registry)
    for amount in (0.5, 1.5, 1.75, 9):
        buffer.observe(histogram, amount)
    await asyncio.sleep(0)
    counts = [registry.get_sample_value("seconds_bucket", {"le": bound}) for bound in ("1.0", "2.0", "+Inf")]
    assert (counts, registry.get_sample_value("seconds_sum")) == ([1, 3, 4], 12.75)


def test_what_a_loop_left_is_written_by_the_next(registry: CollectorRegistry) -> None:
    """An event loop that ends before its turn is over takes nothing with it."""
    buffer, counter = MetricsBuffer(), Counter("texts", "Texts.", registry=registry)
    ended = asyncio.new_event_loop()

    async def count() -> None:
        buffer.count(counter)

    def count_and_end() -> None:
        ended.stop()
        buffer.count(counter)

    ended.call_soon(count_and_end)
    ended.run_forever()
    ended.close()
    assert registry.get_sample_value("texts_total") == 0
    asyncio.run(count())
    assert registry.get_sample_value("texts_total") == 2


def _figures(path: Path) -> dict[str, float]:
    return {key: value for key, value, *_ in MmapedDict.read_all_values_from_file(str(path))}  # type: ignore[no-untyped-call]


@pytest.fixture
def reserved(tmp_path: Path) -> Iterator[Callable[[], ReservedFile]]:
    """Opens the file of a process."""
    with ExitStack() as stack:
        path = str(tmp_path / "counter_worker-0.db")
        yield lambda: stack.enter_context(closing(ReservedFile(path)))


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_files_have_their_room_before_they_are_written(tmp_path: Path, reserved: Callable[[], ReservedFile]) -> None:
    """Also when they have grown: into a hole of a file nothing could be written where the disk is full."""
    path, file = tmp_path / "counter_worker-0.db", reserved()
    for number in range(5_000):
        assert path.stat().st_blocks * 512 >= path.stat().st_size
        file.write_value(f"series {number}", float(number), 0.0)  # type: ignore[no-untyped-call]
    assert _figures(path) == {f"series {number}": float(number) for number in range(5_000)}
    assert reserved().read_value("series 4321")[0] == 4321.0  # type: ignore[no-untyped-call]


def test_a_full_disk_costs_new_series(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reserved: Callable[[], ReservedFile]
) -> None:
    """Those that are there go on, and so does the process; also when there is room again."""
    path, file = tmp_path / "counter_worker-0.db", reserved()
    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", _full)
        for number in range(5_000):
            file.write_value(f"series {number}", 1.0, 0.0)  # type: ignore[no-untyped-call]
    for number in range(5_000, 10_000):
        file.write_value(f"series {number}", 1.0, 0.0)  # type: ignore[no-untyped-call]
    for number in range(5_000):
        file.write_value(f"series {number}", 2.0, 0.0)  # type: ignore[no-untyped-call]
    found = _figures(path)
    assert 1_000 < len(found) < 5_000
    assert found == {f"series {number}": 2.0 for number in range(len(found))}


def test_a_process_that_starts_on_a_full_disk_keeps_its_figures_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reserved: Callable[[], ReservedFile]
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", _full)
    path, file = tmp_path / "counter_worker-0.db", reserved()
    file.write_value("series", 1.0, 0.0)  # type: ignore[no-untyped-call]
    assert (file.read_value("series")[0], path.stat().st_size) == (1.0, 0)  # type: ignore[no-untyped-call]


def test_what_cannot_be_noted_is_said(
    tmp_path: Path, tiny_model: StoredModel, caplog: pytest.LogCaptureFixture
) -> None:
    """The supervisor, who notes it, goes on."""
    metrics.show(tmp_path / "gone", tiny_model, serves=True)
    assert "what metrics in gone are of cannot be noted (No such file or directory)" in caplog.text


def test_files_of_processes_that_begin_or_end_are_passed_over(tmp_path: Path) -> None:
    """A process that starts makes its files before it writes to them, and one that ends takes gauges away."""
    written, empty = tmp_path / "counter_worker-0.db", tmp_path / "counter_explainer-0.db"
    values = MmapedDict(str(written))  # type: ignore[no-untyped-call]
    key = mmap_key("texts", "texts_total", [], [], "Texts.")
    values.write_value(key, 2.0, 0.0)  # type: ignore[no-untyped-call]
    values.close()  # type: ignore[no-untyped-call]
    empty.touch()
    files = [str(written), str(empty), str(tmp_path / "gauge_livesum_explainer-0.db")]
    collector = GenerationsCollector([GenerationFiles({}, files, serves=True)], frozenset(), frozenset(), "info")
    assert "\ntexts_total 2.0\n" in generate_latest(collector).decode()


def test_generations_are_told_apart_by_model(tmp_path: Path) -> None:
    """What depends on the model is shown by model, whichever processes counted it, and the rest summed up; of those
    who only finish what they have nobody hears what is served, and nothing of those who never served."""
    code = (
        "import os; from pathlib import Path; from types import SimpleNamespace; from app import metrics; "
        "from app.model_info import set_model_info; config = SimpleNamespace(architecture='gru'); "
        "served = dict(name='m', version={version}, digest='d' * 32, metrics=dict(), reference='m', config=config); "
        "served |= dict(path=Path('none')); "
        "model = SimpleNamespace(**served); metrics.serve(model, []); metrics.PREDICTIONS.labels('good').inc({texts}); "
        "metrics.CONFIDENCE.observe(0.7); metrics.FILE_ROWS.inc({texts}); metrics.CONNECTIONS.set(1); "
        "set_model_info(model, 'native', 'float32', 'cpu'); "
        "{shown} and metrics.show(Path(os.environ['PROMETHEUS_MULTIPROC_DIR']), model, serves={serves}); "
        "print(metrics.render().decode())"
    )
    output = ""
    for folder, version, texts, shown, serves in (
        ("unmet", 3, 100, False, False),
        ("m-1.0", 1, 2, True, False),
        ("m-2.0", 2, 5, True, False),
        ("m-2.1", 2, 7, True, True),
    ):
        (tmp_path / folder).mkdir()
        environment = {
            **os.environ,
            "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / folder),
            "SENTIMENT_PROCESS_ROLE": "worker-0",
        }
        command = [sys.executable, "-c", code.format(version=version, texts=texts, shown=shown, serves=serves)]
        output = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert 'sentiment_predictions_total{label="good",model="m",version="1"} 2.0\n' in output
    assert 'sentiment_predictions_total{label="good",model="m",version="2"} 12.0\n' in output
    assert 'sentiment_confidence_count{model="m",version="2"} 2.0\n' in output
    assert "\nsentiment_file_rows_total 14.0\n" in output
    assert "\nsentiment_connections 3.0\n" in output
    assert output.count("\nsentiment_model_info{") == 1
    assert 'version="2"} 1.0' in output[output.index("\nsentiment_model_info{") :].splitlines()[1]
    assert 'version="3"' not in output


def test_a_version_is_counted_once_wherever_it_was(tmp_path: Path) -> None:
    """Beside what others serve, by its own engine there, and by those who serve it: one series, of the sum."""
    code = (
        "import os; from pathlib import Path; from types import SimpleNamespace; from app import metrics; "
        "from app.serving.counting import TextMetrics; metrics.begin_process(); "
        "model = SimpleNamespace(name='m', version={version}, digest='d' * 32); metrics.serve(model, []); "
        "beside = TextMetrics(('m', '2')) if {version} == 1 else TextMetrics(); "
        "beside.judged('ok').inc({texts}); beside.confidence.observe_all([0.7] * {texts}); "
        "TextMetrics().judged('ok').inc({own}); "
        "seconds = metrics.labelled(metrics.REQUEST_SECONDS, ('m', '2') if {version} == 1 else None); "
        "seconds('/classify', 'text', '2xx').observe(0.5); "
        "metrics.show(Path(os.environ['PROMETHEUS_MULTIPROC_DIR']), model, serves=True); "
        "print(metrics.render().decode())"
    )
    output = ""
    for folder, version, texts, own in (("m-1.0", 1, 3, 7), ("m-2.0", 2, 5, 0), ("m-2.1", 2, 11, 0)):
        (tmp_path / folder).mkdir()
        names = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / folder), "SENTIMENT_PROCESS_ROLE": "worker-0"}
        command = [sys.executable, "-c", code.format(version=version, texts=texts, own=own)]
        environment = {**os.environ, **names}
        output = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = [line.rpartition(" ")[0] for line in output.splitlines() if not line.startswith("#")]
    assert len(lines) == len(set(lines))
    assert 'sentiment_texts_judged_total{judgement="ok",model="m",version="1"} 7.0\n' in output
    assert 'sentiment_texts_judged_total{judgement="ok",model="m",version="2"} 19.0\n' in output
    assert 'sentiment_confidence_count{model="m",version="2"} 19.0\n' in output
    assert 'sentiment_confidence_bucket{le="+Inf",model="m",version="2"} 19.0\n' in output
    seconds = 'sentiment_request_duration_seconds_count{code="2xx",kind="text",model="m",route="/classify",version="2"}'
    assert f"{seconds} 3.0\n" in output
