"""Reads the dashboards: panels and their queries, with Grafana's variables filled in."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "grafana" / "dashboards"
GPU_TAG = "GPU"
"""Panels whose title begins so have data only where there is a GPU."""


@dataclass(frozen=True)
class Panel:
    """One panel that shows data.

    Attributes:
        row: title of the row it stands in.
        document: the panel as Grafana reads it.
    """

    row: str
    document: dict[str, Any]

    @property
    def id(self) -> int:
        return int(self.document["id"])

    @property
    def title(self) -> str:
        return str(self.document["title"])

    @property
    def kind(self) -> str:
        """``timeseries``, ``stat`` or ``heatmap``."""
        return str(self.document["type"])

    @property
    def unit(self) -> str:
        """Unit of its values; of the vertical axis of a heatmap."""
        if self.kind == "heatmap":
            return str(self.document["options"]["yAxis"]["unit"])
        return str(self.document["fieldConfig"]["defaults"]["unit"])

    @property
    def queries(self) -> list[tuple[str, str]]:
        """Expression and legend of each query."""
        return [(target["expr"], target["legendFormat"]) for target in self.document["targets"]]

    @property
    def needs_gpu(self) -> bool:
        return self.title.startswith(GPU_TAG)


@dataclass(frozen=True)
class Dashboard:
    """One dashboard file."""

    path: Path
    document: dict[str, Any]

    @property
    def title(self) -> str:
        return str(self.document["title"])

    @property
    def variables(self) -> dict[str, str]:
        """Query of each template variable, by name."""
        return {entry["name"]: entry["query"]["query"] for entry in self.document["templating"]["list"]}

    @property
    def panels(self) -> list[Panel]:
        """Panels that show data, in their order."""
        panels, row = [], ""
        for document in self.document["panels"]:
            if document["type"] == "row":
                row = document["title"]
            else:
                panels.append(Panel(row, document))
        return panels


def read_dashboards(folder: Path = FOLDER) -> list[Dashboard]:
    """All dashboards of a folder."""
    return [Dashboard(path, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(folder.glob("*.json"))]


def fill_in(expression: str, interval: str) -> str:
    """A query as Grafana sends it with every variable on All.

    Args:
        expression: PromQL with Grafana's variables.
        interval: value of ``$__rate_interval``, at least four scrapes, such as ``1m``.
    """
    return re.sub(r"\$[a-z]+", ".*", expression.replace("$__rate_interval", interval))
