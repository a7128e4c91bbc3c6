"""The dashboards as documents: stable, complete, and about metrics that exist."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard as GrafanaDashboard
from prometheus_client.metrics import MetricWrapperBase

from app import metrics
from app.http.routing import route_of
from monitoring.dashboards import Dashboard, Panel, fill_in, read_dashboards
from tests.inference_routes import inference_routes

ROOT = Path(__file__).parent.parent.parent
PROVISIONING = ROOT / "monitoring" / "grafana" / "provisioning"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
DASHBOARDS = read_dashboards()
PANELS = [pytest.param(panel, id=f"{board.path.stem}-{panel.id}") for board in DASHBOARDS for panel in board.panels]
RULES = [
    rule
    for path in sorted((ROOT / "monitoring" / "rules").glob("*.yml"))
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
EXPRESSIONS = {
    **{
        f"{board.path.stem}-{panel.id}-{number}": expression
        for board in DASHBOARDS
        for panel in board.panels
        for number, (expression, _) in enumerate(panel.queries)
    },
    **{f"{board.path.stem}-{name}": query for board in DASHBOARDS for name, query in board.variables.items()},
    **{rule.get("record") or rule["alert"]: rule["expr"] for rule in RULES},
}
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
TARGET_LABELS = {"job", "instance"}
LABELS = {
    family.name + suffix: {
        *metric._labelnames,
        *TARGET_LABELS,
        *(("le",) if suffix == "_bucket" else ()),
        *(("model", "version") if family.name in metrics._BY_MODEL else ()),
        *(("engine",) if family.name in metrics._OF_ENGINES else ()),
    }
    for metric in vars(metrics).values()
    if isinstance(metric, MetricWrapperBase)
    for family in metric.describe()
    for suffix in SUFFIXES[family.type]
}
"""Labels of every series that is scraped."""

# Grafana keeps these; the schema that its libraries are made from does not name them.
UNNAMED = {"definition", "step", "textFormat", "titleFormat", "useValueForTime"}


@pytest.fixture(params=DASHBOARDS, ids=lambda board: board.path.stem)
def board(request: pytest.FixtureRequest) -> Dashboard:
    found: Dashboard = request.param
    return found


def without(document: Any, names: set[str]) -> Any:
    if isinstance(document, dict):
        return {name: without(value, names) for name, value in document.items() if name not in names}
    return [without(value, names) for value in document] if isinstance(document, list) else document


def holds(document: Any, part: Any) -> bool:
    """Whether a document has everything that ``part`` has, with the same values."""
    if isinstance(part, dict):
        return isinstance(document, dict) and all(
            name in document and holds(document[name], part[name]) for name in part
        )
    if isinstance(part, list):
        return len(document) == len(part) and all(map(holds, document, part))
    return bool(document == part)


def test_there_are_three() -> None:
    """Under names that links and bookmarks can rely on; each leads to the others."""
    uids = ["sentiment-model", "sentiment-roll-out", "sentiment-service"]
    assert [board.document["uid"] for board in DASHBOARDS] == uids
    for uid, board in zip(uids, DASHBOARDS, strict=True):
        assert {link["url"] for link in board.document["links"]} == {f"/d/{other}" for other in uids if other != uid}


def test_a_roll_out_shows_versions_side_by_side() -> None:
    """Every line and figure is one version's, and says which."""
    [board] = [board for board in DASHBOARDS if board.document["uid"] == "sentiment-roll-out"]
    for panel in board.panels:
        for expression, legend in panel.queries:
            assert "{{model}}/{{version}}" in legend
            assert set(re.findall(r'(\w+)=~"\$\1"', expression)) >= {"model", "version"}
            assert "model, version)" in expression or ":" in expression


def test_grafana_understands_it(board: Dashboard) -> None:
    """Grafana's own schema takes every field, and loses none."""
    understood = json.loads(json.dumps(GrafanaDashboard.from_json(board.document), cls=JSONEncoder))
    assert holds(understood, without(board.document, UNNAMED))


def test_panel_ids_are_unique(board: Dashboard) -> None:
    """Links to a panel name it by its number."""
    ids = [document["id"] for document in board.document["panels"]]
    assert len(set(ids)) == len(ids)
    assert all(isinstance(number, int) and number > 0 for number in ids)


def test_panels_fill_the_grid_without_overlapping(board: Dashboard) -> None:
    """24 columns; no square belongs to two panels."""
    squares: list[tuple[int, int]] = []
    for document in board.document["panels"]:
        place = document["gridPos"]
        assert place["x"] + place["w"] <= 24
        columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        squares += itertools.product(columns, rows)
    assert len(set(squares)) == len(squares)


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows(panel: Panel) -> None:
    """Title, a description in whole sentences, a unit, and the one data source, in every query too."""
    assert panel.title
    assert re.fullmatch(r"[A-Z0-9].{30,}\.", panel.document["description"])
    assert panel.unit
    assert panel.document["datasource"] == SOURCE
    references = [target["refId"] for target in panel.document["targets"]]
    assert len(set(references)) == len(references) > 0
    assert all(target["datasource"] == SOURCE for target in panel.document["targets"])


@pytest.mark.parametrize("panel", PANELS)
def test_gpu_panels_are_marked(panel: Panel) -> None:
    """Exactly those that ask for what only a GPU has."""
    assert panel.needs_gpu == any("sentiment_gpu_" in expression for expression, _ in panel.queries)


def test_variables_are_defined_and_used(board: Dashboard) -> None:
    """Each has a query on the one data source and an All that matches everything; none is there for nothing."""
    text = json.dumps(board.document["panels"])
    for entry in board.document["templating"]["list"]:
        assert entry["datasource"] == SOURCE
        assert entry["includeAll"]
        assert entry["allValue"] == ".*"
        assert entry["label"]
    assert set(re.findall(r"\$([a-z]\w*)", text)) == set(board.variables)


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS.keys())
def test_queries_name_what_exists(expression: str) -> None:
    """Metrics, recorded series and labels of dashboards, variables and rules."""
    selectors = re.findall(r"\b(sentiment[_:][\w:]*\w)(?:\{([^}]*)\})?", fill_in(expression, "1m"))
    for name, matchers in selectors:
        if ":" in name:
            assert name in RECORDED
        else:
            assert set(re.findall(r"(\w+)\s*[=!]", matchers)) <= LABELS[name]
    assert selectors or re.search(r"\b(up|ALERTS|redis_\w+|probe_\w+)\b|^vector\(1\)$", expression)


def test_provisioning_leads_to_source_and_dashboards() -> None:
    """One source under the uid that the dashboards name, one folder."""
    [source] = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert {"type": source["type"], "uid": source["uid"]} == SOURCE
    assert source["isDefault"]
    scraping = yaml.safe_load((ROOT / "monitoring" / "prometheus.yml").read_text())["global"]
    assert source["jsonData"]["timeInterval"] == scraping["scrape_interval"]
    [provider] = yaml.safe_load((PROVISIONING / "dashboards" / "sentiment.yml").read_text())["providers"]
    assert provider["type"] == "file"
    assert provider["folder"]


@pytest.mark.parametrize("name", [name for name, expression in EXPRESSIONS.items() if 'route=~"/|' in expression])
def test_queries_of_routes_take_all_that_answer_texts(name: str) -> None:
    """Every POST of the document but an operator's; where times are looked at, without those about files."""
    document = json.loads((ROOT / "docs" / "openapi.json").read_text())
    posts = inference_routes(document)
    expression = EXPRESSIONS[name]
    for pattern in re.findall(r'route=~"(/\|[^"]+)"', expression):
        taken = {route_of(path) for path in document["paths"] if re.fullmatch(pattern, route_of(path))}
        assert taken == (posts - {"/files", "/files/columns"} if "duration" in expression else posts)
    assert ("_requests_total" in expression) == ('method="POST"' in expression)
