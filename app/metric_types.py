"""How metrics are kept and shown beyond what the library does: whole batches, whole turns, and the model's name."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter as Multiset
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, repeat
from pathlib import Path
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from app.metric_files import GenerationFiles

_ENGINE = "engine"
"""The role of processes that compute."""


class BatchHistogram(Histogram):
    """A histogram that takes the observations of a whole batch for little more than the price of one."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Observe each of the amounts."""
        if len(amounts) == 1:
            self.observe_times(amounts[0], 1)
        elif amounts:
            self._sum.inc(sum(amounts))
            # Counted without leaving C.
            for bucket, count in Multiset(map(bisect_left, repeat(self._upper_bounds), amounts)).items():
                self._buckets[bucket].inc(count)

    def observe_times(self, amount: float, times: int) -> None:
        """Observe the same amount several times."""
        self._sum.inc(amount * times)
        self._buckets[bisect_left(self._upper_bounds, amount)].inc(times)


class MetricsBuffer:
    """What one turn of the event loop counted and observed, written together at its end.

    A request makes a dozen of both. In the multiprocess mode each goes through a lock into a mapped file, which takes a
    microsecond; requests that arrive together share that here. Belongs to the thread of a running event loop.

    Each method looks for itself whether the end of this turn is waited for already: a call for that, a dozen times a
    request, is felt.
    """

    def __init__(self) -> None:
        self._counts: defaultdict[Counter | Gauge, float] = defaultdict(float)
        self._amounts: defaultdict[BatchHistogram, list[float]] = defaultdict(list)
        self._flushed_by: asyncio.AbstractEventLoop | None = None

    def count(self, metric: Counter | Gauge, amount: float = 1) -> None:
        """Add to a counter, or to a gauge."""
        if self._flushed_by is None or self._flushed_by.is_closed():
            self._flush_soon()
        self._counts[metric] += amount

    def observe(self, histogram: BatchHistogram, amount: float) -> None:
        """Observe an amount."""
        if self._flushed_by is None or self._flushed_by.is_closed():
            self._flush_soon()
        self._amounts[histogram].append(amount)

    def observe_all(self, histogram: BatchHistogram, amounts: Iterable[float]) -> None:
        """Observe amounts."""
        if self._flushed_by is None or self._flushed_by.is_closed():
            self._flush_soon()
        self._amounts[histogram] += amounts

    def _flush_soon(self) -> None:
        # What a loop left that was closed before its turn was over, the next one writes.
        self._flushed_by = asyncio.get_running_loop()
        self._flushed_by.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushed_by = None
        for metric, amount in self._counts.items():
            if amount:
                metric.inc(amount)
        for histogram, amounts in self._amounts.items():
            histogram.observe_all(amounts)
        self._counts.clear()
        self._amounts.clear()


class LabelledCollector(Collector):
    """Shows a registry with labels added to some metrics.

    A process serves one model as long as it runs, so its name is added where metrics are read: it costs what counts
    nothing, and cannot be forgotten there.

    Args:
        registry: what is shown.
        names: of the metrics, as their families are called.
        labels: what is added to each of their series.
        of_engines: names of metrics that get the label ``engine``; there is one engine here, which has no role.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        names: frozenset[str],
        labels: Mapping[str, str],
        of_engines: frozenset[str] = frozenset(),
    ) -> None:
        self._registry = registry
        self._names = names
        self._labels = labels
        self._of_engines = of_engines

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            if family.name in self._names:
                family.samples = _with_labels(family, self._labels)
            if family.name in self._of_engines and not any("role" in sample.labels for sample in family.samples):
                family.samples = _with_labels(family, {"engine": "0"})
            yield family


def _with_labels(family: Metric, labels: Mapping[str, str]) -> list[Sample]:
    return [sample._replace(labels={**sample.labels, **labels}) for sample in family.samples]


_Metric = TypeVar("_Metric", bound=MetricWrapperBase)


@lru_cache(maxsize=1024)
def labelled(metric: _Metric, names: tuple[str, str] | None) -> Callable[..., _Metric]:
    """Gives the series of a metric by the values of its labels, with ``model`` and ``version`` added to each.

    Without names these are the metric's own. Else they are of another one of the same name, which is not in the
    registry: it writes into the files of the multiprocess mode, where series are told apart by their labels alone.

    Args:
        metric: with labels or without.
        names: of model and version; the same ones always get the same series, of which there must be one in a process.
    """
    own_names, options = metric._labelnames, metric._kwargs  # noqa: SLF001 - there is no other way to ask for them
    if names is None:
        return metric.labels if own_names else lambda: metric
    [family] = metric.describe()
    all_names = (*own_names, "model", "version")
    copy = type(metric)(family.name, family.documentation, all_names, registry=None, **options)
    return lambda *own: copy.labels(*own, *names)


class GenerationsCollector(Collector):
    """Shows what all processes wrote in the multiprocess mode: summed up, and where it depends on the model, by model.

    Args:
        generations: of processes, the ones of old included.
        by_model: names of the metrics that are shown by model, as their families are called.
        of_engines: names of those that are shown by engine.
        info: name of the gauge that says what is served, which only those say who do.
    """

    def __init__(
        self,
        generations: Sequence[GenerationFiles],
        by_model: frozenset[str],
        of_engines: frozenset[str],
        info: str,
    ) -> None:
        self._generations = generations
        self._by_model = by_model
        self._of_engines = of_engines
        self._info = info

    def collect(self) -> Iterator[Metric]:
        generations = self._generations
        everything = {family.name: family for family in _merged(chain.from_iterable(it.files for it in generations))}
        everything.pop(self._info, None)
        serving = chain.from_iterable(it.files for it in generations if it.serves)
        gauges = (file for file in serving if "gauge_" in file)
        everything |= {family.name: family for family in _merged(gauges) if family.name == self._info}
        for name, samples in self._samples_by_model().items():
            if name in everything:  # else it came meanwhile
                everything[name].samples = list(samples.values())
        by_engine = self._samples_of_engines()
        for name in self._of_engines & everything.keys():
            # What other processes say of the same thing, they say by role.
            others = (it for it in everything[name].samples if it.labels.get("role", _ENGINE) != _ENGINE)
            everything[name].samples = [*others, *by_engine[name]]
        yield from everything.values()

    def _samples_by_model(self) -> dict[str, dict[Hashable, Sample]]:
        """Samples by the name of their family, each with its model; of those that are the same, the sum.

        A version may be counted by processes that serve it, and by others that have it beside what they serve: these
        say themselves whose a sample is.
        """
        found: dict[str, dict[Hashable, Sample]] = {}
        for labels, files in self._files_by_labels().items():
            for family in _merged(files):
                if family.name not in self._by_model:
                    continue
                known = found.setdefault(family.name, {})
                for sample in family.samples:
                    own = {**dict(labels), **sample.labels}
                    key = sample.name, frozenset(own.items())
                    value = sample.value + (known[key].value if key in known else 0.0)
                    known[key] = sample._replace(labels=own, value=value)
        return found

    def _samples_of_engines(self) -> dict[str, list[Sample]]:
        """Samples of engines by the name of their family, each with its engine: files are called by role and number."""
        files: dict[str, list[str]] = {}
        for file in chain.from_iterable(it.files for it in self._generations):
            role, _, number = Path(file).stem.rpartition("_")[2].rpartition("-")
            if role == _ENGINE:
                files.setdefault(number, []).append(file)
        found: dict[str, list[Sample]] = {name: [] for name in self._of_engines}
        for number in sorted(files):
            for family in _merged(files[number]):
                if family.name in found:
                    found[family.name] += _with_labels(family, {"engine": number})
        return found

    def _files_by_labels(self) -> dict[tuple[tuple[str, str], ...], list[str]]:
        """One model may be served, and finished with by others that served it before."""
        files: dict[tuple[tuple[str, str], ...], list[str]] = {}
        for generation in self._generations:
            files.setdefault(tuple(generation.labels.items()), []).extend(generation.files)
        return files


def _merged(files: Iterable[str]) -> Iterable[Metric]:
    """What several processes wrote, as one process would have written it."""
    merged: Iterable[Metric] = MultiProcessCollector.merge(list(filter(_begun, files)))  # type: ignore[no-untyped-call]
    return merged


def _begun(file: str) -> bool:
    """Whether something is written there: a process that starts makes its files first, which the library cannot read
    then, and those of one that has ended may be gone."""
    try:
        return Path(file).stat().st_size > 0
    except FileNotFoundError:
        return False
