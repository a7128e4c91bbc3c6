"""``python -m monitoring.preview``: draws the dashboards from what a running Prometheus answers.

For looking at the queries' data without Grafana; layout and units are those of the dashboards, the style is not.
"""

from __future__ import annotations

import argparse
import io
import re
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, DateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from monitoring.dashboards import Dashboard, Panel, fill_in, read_dashboards

_COLUMNS = 24
_COLUMN_INCHES, _ROW_INCHES = 0.56, 0.27
_DPI = 80
_POINTS = 240
_GREY = "#555555"
_COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22")


@dataclass(frozen=True)
class Series:
    """One line: its legend, and values over N moments, NaN where there is none."""

    legend: str
    labels: dict[str, str]
    times: np.ndarray
    values: np.ndarray


class Source:
    """A Prometheus and the time that is looked at.

    Args:
        client: talks to it.
        minutes: how much of the time before now.
        interval: value of ``$__rate_interval``.
    """

    def __init__(self, client: httpx.Client, minutes: float, interval: str) -> None:
        self._client = client
        self._interval = interval
        self._end = time.time()
        self._start = self._end - minutes * 60

    def read(self, expression: str, legend: str) -> list[Series]:
        """The series of one query, in the order of their legends."""
        step = (self._end - self._start) / _POINTS
        parameters = {
            "query": fill_in(expression, self._interval),
            "start": self._start,
            "end": self._end,
            "step": step,
        }
        answer = self._client.post("/api/v1/query_range", data=parameters).json()
        if answer["status"] != "success":
            raise SystemExit(f"{expression}: {answer['error']}")
        times = self._start + np.arange(_POINTS + 1) * step
        found = [_series(result, legend, times, step) for result in answer["data"]["result"]]
        return sorted(found, key=lambda series: series.legend)


def _series(result: dict[str, Any], legend: str, times: np.ndarray, step: float) -> Series:
    labels = result["metric"]
    for name, value in labels.items():
        legend = legend.replace(f"{{{{{name}}}}}", value)
    # Of a label that it has not, Grafana shows nothing.
    legend = re.sub(r" ?\{\{\w+\}\}", "", legend)
    values = np.full(len(times), np.nan)
    for moment, value in result["values"]:
        values[round((float(moment) - times[0]) / step)] = float(value)
    return Series(legend, labels, times, values)


def show(value: float, unit: str) -> str:
    """A value as Grafana would write it, about."""
    if np.isnan(value):
        return "–"
    if unit == "bool_on_off":
        return "up" if value else "down"
    if unit == "percentunit":
        return f"{value * 100:.3g} %" if abs(value) < 10 else f"{value * 100:.0f} %"
    if unit == "s" and abs(value) < 1:
        return f"{value * 1000:.3g} ms" if abs(value) >= 1e-3 or not value else f"{value * 1e6:.3g} µs"
    steps = ((2**30, "Gi"), (2**20, "Mi"), (2**10, "Ki")) if unit == "bytes" else ((1e6, "M"), (1e3, "k"))
    factor, prefix = next(((factor, prefix) for factor, prefix in steps if abs(value) >= factor), (1, ""))
    suffix = {"s": " s", "bytes": " B", "watt": " W", "reqps": "/s", "ops": "/s"}.get(unit, "")
    return f"{value / factor:.3g}{' ' * (unit == 'bytes')}{prefix}{suffix.strip() if prefix else suffix}"


def draw(board: Dashboard, source: Source) -> bytes:
    """One dashboard as a PNG file of 256 colours."""
    places = [document["gridPos"] for document in board.document["panels"]]
    rows = max(place["y"] + place["h"] for place in places)
    width, height = _COLUMNS * _COLUMN_INCHES, rows * _ROW_INCHES
    figure = Figure(figsize=(width, height), dpi=_DPI)
    for document in board.document["panels"]:
        place = document["gridPos"]
        left, top = place["x"] / _COLUMNS, 1 - place["y"] / rows
        if document["type"] == "row":
            figure.text(left + 0.004, top - 0.85 / rows, document["title"], weight="bold", fontsize=10, color=_GREY)
            continue
        box = (
            left + 1.25 / _COLUMNS,
            top - (place["h"] - 1.75) / rows,
            (place["w"] - 1.65) / _COLUMNS,
            (place["h"] - 2.85) / rows,
        )
        if document["type"] == "stat":
            box = (left, top - place["h"] / rows, place["w"] / _COLUMNS, (place["h"] - 1) / rows)
        _draw_panel(figure.add_axes(box), Panel("", document), source)
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, metadata={"Software": None})
    small = io.BytesIO()
    Image.open(buffer).convert("RGB").quantize(256).save(small, "PNG", optimize=True)
    return small.getvalue()


def _draw_panel(axes: Any, panel: Panel, source: Source) -> None:
    answers = [source.read(expression, legend) for expression, legend in panel.queries]
    series = [one for answer in answers for one in answer] if answers[0] else []
    axes.set_title(panel.title, fontsize=8.5, loc="center" if panel.kind == "stat" else "left", pad=3)
    if panel.kind == "stat":
        _draw_stat(axes, panel, series)
    elif not series:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no GPU here" if panel.needs_gpu else "no data", ha="center", color=_GREY, fontsize=9)
    elif panel.kind == "heatmap":
        _draw_heatmap(axes, panel, series)
    else:
        _draw_lines(axes, panel, series)


def _draw_stat(axes: Any, panel: Panel, series: list[Series]) -> None:
    axes.set_axis_off()
    parts = []
    for one in series:
        known = one.values[~np.isnan(one.values)]
        value = show(float(known[-1]), panel.unit) if len(known) else "–"
        parts.append(f"{one.legend}: {value}" if panel.document["options"]["textMode"] == "value_and_name" else value)
    axes.text(0.5, 0.45, "\n".join(parts) or "no data", ha="center", va="center", fontsize=15, color=_COLOURS[0])


def _draw_lines(axes: Any, panel: Panel, series: list[Series]) -> None:
    defaults = panel.document["fieldConfig"]["defaults"]
    dashed = [rule["matcher"]["options"].strip("/") for rule in panel.document["fieldConfig"]["overrides"]]
    stacked = defaults["custom"]["stacking"]["mode"] == "normal"
    base = np.zeros(len(series[0].times))
    for number, one in enumerate(series):
        is_dashed, moments = any(part in one.legend for part in dashed), _moments(one.times)
        colour = _GREY if is_dashed else _COLOURS[number % len(_COLOURS)]
        if stacked and not is_dashed:
            top = base + np.nan_to_num(one.values)
            axes.fill_between(moments, base, top, color=colour, alpha=0.45, linewidth=0, label=one.legend)
            base = top
        else:
            style = "--" if is_dashed else "-"
            axes.plot(moments, one.values, color=colour, linewidth=1.2, linestyle=style, label=one.legend)
    highest = max(np.nanmax(one.values, initial=0) for one in series)
    bottom, top = defaults.get("min", 0), defaults.get("max", None if highest else 1)
    axes.set_ylim(bottom=bottom, top=top and top + 0.03 * (top - bottom))
    for step in defaults.get("thresholds", {}).get("steps", [])[1:]:
        if step["value"] < 2.5 * highest:
            axes.axhline(step["value"], color="#d62728", linewidth=0.8, linestyle="--")
    # There is room for three rows; more of them are smaller.
    axes.legend(
        fontsize=6 if len(series) <= 9 else 4.5, frameon=False, ncols=3, loc="upper left",
        bbox_to_anchor=(-0.06, -0.13), borderaxespad=0.2, handlelength=1.2, columnspacing=1.0,
    )  # fmt: skip
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: show(value, panel.unit)))
    _tidy(axes)


def _draw_heatmap(axes: Any, panel: Panel, series: list[Series]) -> None:
    ordered = sorted(series, key=lambda one: float(one.labels["le"]))
    cells = np.diff(
        np.vstack([np.zeros(len(ordered[0].times)), *(np.nan_to_num(one.values) for one in ordered)]), axis=0
    )
    moments = _moments(ordered[0].times)
    axes.pcolormesh(moments, np.arange(len(ordered)), np.sqrt(np.maximum(cells, 0)), cmap="Blues", shading="nearest")
    names = [one.labels["le"] for one in ordered]
    axes.set_yticks(range(len(names)), [name if name == "+Inf" else show(float(name), panel.unit) for name in names])
    _tidy(axes, numbers=False)


def _moments(times: np.ndarray) -> list[datetime]:
    return [datetime.fromtimestamp(moment) for moment in times]


def _tidy(axes: Any, *, numbers: bool = True) -> None:
    axes.tick_params(labelsize=6, length=2, pad=1.5)
    axes.xaxis.set_major_locator(AutoDateLocator(minticks=3, maxticks=7))  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M"))  # type: ignore[no-untyped-call]
    if numbers:
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.grid(visible=True, linewidth=0.3, alpha=0.7)
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Write ``dashboard-NAME.png`` for every dashboard."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="default: %(default)s")
    parser.add_argument("--minutes", type=float, default=30, help="time before now to draw (default: %(default)s)")
    parser.add_argument("--interval", default="1m", help="window of rates (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="default: %(default)s")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with httpx.Client(base_url=options.prometheus, timeout=30) as client:
        source = Source(client, options.minutes, options.interval)
        for board in read_dashboards():
            path = options.out / f"dashboard-{board.path.stem}.png"
            path.write_bytes(draw(board, source))
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
