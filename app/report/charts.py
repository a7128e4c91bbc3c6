"""Tables with bars, and plots as inline SVG. Positions are percentages, so that text keeps its size on a phone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

from app.report.markup import Child, element
from app.report.statistics import Interval

_STYLES = {"negative": "bad", "neutral": "neutral", "positive": "good", "mixed": "other-0"}
_OTHERS = 4
_PLOT_HEIGHT = 110
_SCALE_HEIGHT = 18


def style_of(label: str, labels: Sequence[str]) -> str:
    """Colour and pattern of a label."""
    return _STYLES.get(label) or f"other-{labels.index(label) % _OTHERS}"


def percent(share: float) -> str:
    """A share as people read it."""
    return f"{100 * share:.1f}\xa0%"


def between(interval: Interval) -> str:
    """An interval of shares, in whole percents."""
    return f"{100 * interval.low:.0f} to {100 * interval.high:.0f}\xa0%"


def patterns() -> Element:
    """What tells labels apart where colours do not: hatching, dots, lines, nothing."""
    marks = {
        "bad": element("path", {"d": "M-2 2 L2 -2 M0 8 L8 0 M6 10 L10 6"}),
        "neutral": element("circle", {"cx": 4, "cy": 4, "r": 1.2}),
        "good": None,
        "plain": None,
        "other-0": element("path", {"d": "M0 4 H8"}),
        "other-1": element("path", {"d": "M4 0 V8"}),
        "other-2": element("path", {"d": "M0 0 L8 8 M-2 6 L2 10 M6 -2 L10 2"}),
        "other-3": element("path", {"d": "M4 1 V7 M1 4 H7"}),
    }
    size = {"width": 8, "height": 8}
    defined = [
        element(
            "pattern",
            {"id": f"fill-{style}", **size, "patternUnits": "userSpaceOnUse"},
            element("rect", {**size, "class": style}),
            mark,
        )
        for style, mark in marks.items()
    ]
    return element(
        "svg", {"class": "patterns", "aria-hidden": "true", "width": 0, "height": 0}, element("defs", {}, *defined)
    )


def stacked(shares: Sequence[tuple[str, float]], height: int = 16) -> Element:
    """Shares of a whole side by side, each in its style. The numbers stand beside it."""
    parts, at = [], 0.0
    for style, share in shares:
        if share > 0:
            parts.append(_rect(at, 0, share, 1, f"url(#fill-{style})"))
            parts[-1].set("class", "part")
        at += share
    return element("svg", {"class": "bar", "width": "100%", "height": height, "aria-hidden": "true"}, *parts)


def bar(share: float, style: str) -> Element:
    """One share as a bar. The number stands beside it."""
    return stacked([(style, share)], 12)


def swatch(style: str) -> Element:
    """A little field of a style, for legends."""
    field = element("rect", {"width": 14, "height": 14, "rx": 3, "fill": f"url(#fill-{style})"})
    return element("svg", {"class": "swatch", "width": 14, "height": 14, "aria-hidden": "true"}, field)


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[Child]], numbers: Sequence[int] = ()) -> Element:
    """A table that scrolls by itself; the first cell of each row is its header.

    Args:
        caption: what it is.
        head: names of the columns.
        rows: their cells.
        numbers: columns of numbers.
    """

    def cell(place: int, child: Child) -> Element:
        attributes = {"class": "number"} if place in numbers else {}
        return element("td", attributes, child) if place else element("th", {"scope": "row"}, child)

    names = [
        element("th", {"scope": "col", **({"class": "number"} if place in numbers else {})}, name)
        for place, name in enumerate(head)
    ]
    body = [element("tr", {}, *(cell(place, child) for place, child in enumerate(row))) for row in rows]
    inside = element(
        "table",
        {},
        element("caption", {"class": "visually-hidden"}, caption),
        element("thead", {}, element("tr", {}, *names)),
        element("tbody", {}, *body),
    )
    return element("div", {"class": "table", "role": "region", "aria-label": caption, "tabindex": 0}, inside)


class Tick(NamedTuple):
    """A word under a plot.

    Attributes:
        at: where, from 0 to 1.
        text: the word.
    """

    at: float
    text: str


def columns(heights: Sequence[float], fill: str, says: str, ticks: Sequence[Tick], height: int = 90) -> Element:
    """Upright bars.

    Args:
        heights: of each bar, from 0 to 1.
        fill: what they are filled with.
        says: the plot in words.
        ticks: words under it.
        height: of the plot.
    """
    width = 1 / max(1, len(heights))
    gap = 0.12 * width
    bars = [
        _rect(place * width + gap / 2, 1 - tall, width - gap, tall, fill)
        for place, tall in enumerate(heights)
        if tall > 0
    ]
    return _plot(height, says, ticks, element("svg", {"width": "100%", "height": height}, *bars))


def lines(
    points: Sequence[tuple[float, Interval] | None], style: str, top: float, says: str, ticks: Sequence[Tick]
) -> Element:
    """Shares over time, with a band in which they lie; None breaks the line.

    Args:
        points: a share and its interval for each period.
        style: of the label.
        top: the share at the upper end.
        says: the plot in words.
        ticks: words under it.
    """
    step = 100 / max(1, len(points))

    def at(place: int, share: float) -> str:
        return f"{(place + 0.5) * step:.2f} {100 - 100 * min(1.0, share / top):.2f}"

    runs: list[list[int]] = [[]]
    for place, point in enumerate(points):
        if point is None:
            runs.append([])
        else:
            runs[-1].append(place)
    shapes: list[Element] = []
    for run in filter(None, runs):
        known = [(place, point) for place in run if (point := points[place]) is not None]
        upper = [at(place, interval.high) for place, (_, interval) in known]
        lower = [at(place, interval.low) for place, (_, interval) in reversed(known)]
        middle = [at(place, share) for place, (share, _) in known]
        if len(known) > 1:
            shapes.append(element("path", {"class": f"band {style}", "d": f"M{' L'.join([*upper, *lower])} Z"}))
        # A line of no length is a dot, by its round ends.
        shapes.append(element("path", {"class": f"line {style}", "d": f"M{' L'.join([*middle, middle[-1]])}"}))
    inside = element(
        "svg",
        {"width": "100%", "height": _PLOT_HEIGHT, "viewBox": "0 0 100 100", "preserveAspectRatio": "none"},
        *shapes,
    )
    return _plot(_PLOT_HEIGHT, says, ticks, inside, top)


def _plot(height: int, says: str, ticks: Sequence[Tick], inside: Element, top: float | None = None) -> Element:
    """A plot with its ground line and words, and where it has a scale, the line at its upper end."""
    above = 0 if top is None else _SCALE_HEIGHT
    inside.set("y", str(above))
    parts: list[Child] = [inside, _line(above + height)]
    if top is not None:
        parts += [_line(above), element("text", {"x": 0, "y": above - 4}, f"{100 * top:.0f}\xa0%")]
    for tick in ticks:
        anchor = "start" if tick.at < 0.1 else "end" if tick.at > 0.9 else "middle"
        place = {"x": f"{100 * tick.at:.2f}%", "y": above + height + 15, "text-anchor": anchor}
        parts.append(element("text", place, tick.text))
    attributes = {"class": "plot", "width": "100%", "height": above + height + 20, "role": "img", "aria-label": says}
    return element("svg", attributes, *parts)


def _line(y: float) -> Element:
    return element("line", {"x1": 0, "x2": "100%", "y1": y, "y2": y})


def _rect(x: float, y: float, width: float, height: float, fill: str) -> Element:
    places = {"x": x, "y": y, "width": width, "height": height}
    return element("rect", {name: f"{100 * value:.2f}%" for name, value in places.items()} | {"fill": fill})
