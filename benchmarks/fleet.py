"""A fleet of instances on paper: how many a load takes, and how autoscaling reacts when it becomes five times as much.

``python -m benchmarks.fleet capacity`` and ``... autoscaling``. Nothing here is measured: what an instance
does comes from the options, whose defaults are the figures in benchmarks/README.md, the bounds of its queue
from the service's settings, and the behaviour of the autoscalers from the chart's values. The autoscaler is that of
Kubernetes as it is documented: every 15 s pods times metric over target, pods that are not ready counting as idle for
the CPU, 10 % tolerance, policies by period, a window before pods go.
"""

from __future__ import annotations

import argparse
import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from app.settings import Settings

CHART_VALUES = Path(__file__).parent.parent / "deploy" / "helm" / "sentiment-service" / "values.yaml"
MAX_QUEUE: int = Settings.model_fields["max_queue"].default
MAX_WAIT: float = Settings.model_fields["max_queue_seconds"].default

SYNC = 15
"""Seconds between two decisions of the autoscaler."""
TOLERANCE = 0.1
SCRAPE = 15
"""Seconds by which a metric is behind; its own window comes on top."""
WINDOWS = {"cpu": 30, "queue": 60}
"""Seconds that each metric is the mean of; the queue's is that of its recording rule."""


@dataclass(frozen=True)
class Scaling:
    """The chart's values in ``autoscaling``; see there."""

    smallest: int
    largest: int
    cpu: float
    saturation: float
    up_percent: int
    up_pods: int
    up_period: int
    down_percent: int
    down_period: int
    down_window: int

    @classmethod
    def of_chart(cls, smallest: int, largest: int) -> Scaling:
        """As the chart has them, for so many pods."""
        values: dict[str, Any] = yaml.safe_load(CHART_VALUES.read_text(encoding="utf-8"))["autoscaling"]
        up, down = values["scaleUp"], values["scaleDown"]
        return cls(
            smallest, largest, values["cpuUtilization"] / 100, values["queueSaturation"],
            up["percent"], up["pods"], up["periodSeconds"],
            down["percent"], down["periodSeconds"], down["stabilizationWindowSeconds"],
        )  # fmt: skip


@dataclass
class Fleet:
    """Pods under a load, second by second.

    Attributes:
        rate: texts a second that a pod computes.
        start: seconds from the decision for a pod until it is ready.
        ready: pods that answer.
        starting: when each of the others will.
        queue: texts that wait, on each pod.
        busy, filled, refusing: what the metrics saw of the last seconds.
    """

    rate: float
    start: int
    ready: int
    starting: list[int] = field(default_factory=list)
    queue: float = 0.0
    busy: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOWS["cpu"] + SCRAPE))
    filled: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOWS["queue"] + SCRAPE))
    refusing: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOWS["queue"] + SCRAPE))

    @property
    def pods(self) -> int:
        return self.ready + len(self.starting)

    def second(self, now: int, load: float) -> tuple[float, float]:
        """Let a second pass; refused texts, and seconds that the last admitted one waits."""
        arrived = [at for at in self.starting if at <= now]
        self.starting = [at for at in self.starting if at > now]
        # New pods begin with an empty queue.
        self.queue *= self.ready / (self.ready + len(arrived))
        self.ready += len(arrived)
        bound = min(MAX_QUEUE, MAX_WAIT * self.rate)
        waiting = self.queue + load / self.ready
        computed = min(waiting, self.rate)
        refused = max(0.0, waiting - computed - bound)
        self.queue = waiting - computed - refused
        self.busy.append(computed / self.rate)
        self.filled.append(max(self.queue / MAX_QUEUE, self.queue / self.rate / MAX_WAIT))
        self.refusing.append(refused > 0)
        return refused * self.ready, self.queue / self.rate

    def by_cpu(self, scaling: Scaling) -> int:
        """Pods that the CPU asks for."""
        seen = list(self.busy)[: WINDOWS["cpu"]]
        return self._wanted(sum(seen) / len(seen) * self.ready / self.pods / scaling.cpu)

    def by_queue(self, scaling: Scaling) -> int:
        """Pods that the saturation of the queue asks for; the recording rule says 1 while requests are refused."""
        seen = list(self.filled)[: WINDOWS["queue"]]
        saturation = 1.0 if any(list(self.refusing)[: WINDOWS["queue"]]) else sum(seen) / len(seen)
        return self._wanted(saturation * self.ready / self.pods / scaling.saturation)

    def _wanted(self, ratio: float) -> int:
        return self.pods if abs(ratio - 1) <= TOLERANCE else math.ceil(self.pods * ratio)

    def resize(self, now: int, wanted: int) -> None:
        """Start pods, or end some; those that are starting go first."""
        self.starting += [now + self.start] * max(0, wanted - self.pods)
        surplus = max(0, self.pods - wanted)
        early = min(surplus, len(self.starting))
        self.starting = self.starting[: len(self.starting) - early]
        self.ready -= surplus - early


class Autoscaler:
    """Decides by the metrics that ask; whichever asks for most wins."""

    def __init__(self, scaling: Scaling, metrics: Iterable[Callable[[Fleet, Scaling], int]]) -> None:
        self._scaling = scaling
        self._metrics = list(metrics)
        self._wanted: deque[tuple[int, int]] = deque()
        self._sizes: deque[tuple[int, int]] = deque()

    def decide(self, now: int, fleet: Fleet) -> None:
        """Resize the fleet within the policies."""
        scaling = self._scaling
        wanted = max(metric(fleet, scaling) for metric in self._metrics)
        self._wanted.append((now, wanted))
        self._sizes.append((now, fleet.pods))
        if wanted < fleet.pods:
            # Not fewer than anything that was wanted within the window.
            wanted = min(fleet.pods, max(pods for at, pods in self._wanted if at > now - scaling.down_window))
        before_up = self._size(now - scaling.up_period)
        most = before_up + max(math.ceil(before_up * scaling.up_percent / 100), scaling.up_pods)
        before_down = self._size(now - scaling.down_period)
        least = math.floor(before_down * (1 - scaling.down_percent / 100))
        bounded = max(min(wanted, max(most, fleet.pods)), min(least, fleet.pods))
        fleet.resize(now, min(scaling.largest, max(scaling.smallest, bounded)))

    def _size(self, at: int) -> int:
        """Pods at a time, or at the first one that is known after it."""
        return next((pods for time, pods in self._sizes if time >= at), self._sizes[-1][1])


@dataclass
class Course:
    """What a simulation came to.

    Attributes:
        last_refusal: seconds after the step at which the last text was refused; 0 where none was.
        refused: share of the texts after the step.
        refused_again: whether texts were refused after none had been for longer than between two decisions.
        longest: seconds that an admitted text waited at most.
        most_pods: that were ready at a time; ``pods``: at the end.
    """

    last_refusal: int
    refused: float
    refused_again: bool
    longest: float
    most_pods: int
    pods: int


def simulate(fleet: Fleet, autoscaler: Autoscaler, load: float, step: float, seconds: int) -> Course:
    """Two minutes of a load, then so many seconds of a multiple of it."""
    calm = 120
    last, quiet, again, refused, longest, most = 0, 0, False, 0.0, 0.0, 0
    for now in range(calm + seconds):
        lost, wait = fleet.second(now, load if now < calm else load * step)
        if now >= calm:
            again |= lost > 0 and quiet > SYNC and last > 0
            quiet = 0 if lost else quiet + 1
            last = now - calm + 1 if lost else last
            refused += lost
            longest, most = max(longest, wait), max(most, fleet.ready)
        if now % SYNC == 0:
            autoscaler.decide(now, fleet)
    return Course(last, refused / (load * step * seconds), again, longest, most, fleet.ready)


METRICS = {
    "CPU (`hpa`)": [Fleet.by_cpu],
    "queue alone": [Fleet.by_queue],
    "both (`keda`)": [Fleet.by_cpu, Fleet.by_queue],
}


def print_autoscaling(options: argparse.Namespace) -> None:
    """The table of docs/scale.md."""
    rate = options.cores * 1000 / options.cpu_seconds
    needed = math.ceil(options.pods * options.step)
    load = options.pods * rate * options.utilization
    print(
        f"Simulated: {options.pods} pods of {rate:,.0f} texts/s, {load:,.0f} texts/s offered, after two minutes "
        f"{options.step:g} times that, for {options.minutes} min; at most {2 * needed} pods; chart's values otherwise\n"
    )
    print("| scales by | pod ready in | last refusal | refused | longest wait | pods: most, end | refuses again |")
    print("|---|---|---|---|---|---|---|")
    for name, metrics in METRICS.items():
        for start in options.start:
            scaling = Scaling.of_chart(options.pods, 2 * needed)
            autoscaler = Autoscaler(scaling, metrics)
            found = simulate(Fleet(rate, start, options.pods), autoscaler, load, options.step, options.minutes * 60)
            print(
                f"| {name} | {start} s | {found.last_refusal} s | {found.refused:.1%} | {found.longest:.2f} s "
                f"| {found.most_pods}, {found.pods} | {'yes' if found.refused_again else 'no'} |"
            )


def print_capacity(options: argparse.Namespace) -> None:
    """Pods, cores, network and cost by load."""
    core = 1000 / options.cpu_seconds
    cost = options.price / (core * options.utilization * 3600) * 1e6
    print(
        f"Computed: {core:,.0f} texts/s a core ({options.cpu_seconds} CPU s per 1,000), used to "
        f"{options.utilization:.0%}, one pod more than needed; {options.bytes:,} bytes a text; {options.price} an hour "
        f"and core: {cost:.4f} per million texts at that use\n"
    )
    print("| texts/s | pods | cores | network in | cost per hour | per million texts |")
    print("|---|---|---|---|---|---|")
    for load in (100, 1_000, 10_000, 100_000, 1_000_000):
        pods = math.ceil(load / (core * options.cores * options.utilization)) + 1
        hourly = pods * options.cores * options.price
        print(
            f"| {load:,} | {pods:,} | {pods * options.cores:,} | {load * options.bytes * 8 / 1e6:,.1f} Mbit/s "
            f"| {hourly:,.2f} | {hourly / (load * 3600) * 1e6:,.4f} |"
        )


def main() -> None:
    """Print one of the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--cpu-seconds", type=float, default=0.2, help="CPU seconds per 1,000 texts (default: %(default)s)"
    )
    shared.add_argument("--cores", type=int, default=2, help="cores of a pod (default: %(default)s)")
    shared.add_argument("--utilization", type=float, default=0.7, help="share of them in use (default: %(default)s)")
    commands = parser.add_subparsers(required=True)
    capacity = commands.add_parser("capacity", parents=[shared], help="pods, network and cost by load")
    capacity.add_argument(
        "--price", type=float, default=0.04, help="of a core for an hour, yours (default: %(default)s)"
    )
    capacity.add_argument("--bytes", type=int, default=1500, help="of a text's request, yours (default: %(default)s)")
    capacity.set_defaults(run=print_capacity)
    scaling = commands.add_parser("autoscaling", parents=[shared], help="a step of the load, simulated")
    scaling.add_argument("--pods", type=int, default=4, help="pods before the step (default: %(default)s)")
    scaling.add_argument("--step", type=float, default=5, help="how many times the load (default: %(default)s)")
    scaling.add_argument("--start", type=int, nargs="+", default=[5, 30], help="seconds until a pod is ready")
    scaling.add_argument("--minutes", type=int, default=30, help="after the step (default: %(default)s)")
    scaling.set_defaults(run=print_autoscaling)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
