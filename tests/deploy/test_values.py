"""The chart's values: each is documented and checked, and what they say of the service is true."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from app.process.child import START_SECONDS
from app.settings import Settings
from app.version import VERSION
from deploy.settings_schema import CHART, OWN_VALUES, SCHEMA, settings_schema
from tests.deploy.cases import CASES

TEXT = (CHART / "values.yaml").read_text()
VALUES: dict[str, Any] = yaml.safe_load(TEXT)
VALUES_SCHEMA: dict[str, Any] = json.loads(SCHEMA.read_text())
FREE = ("settings", "annotations", "labels", "Annotations", "Labels", "nodeSelector", "affinity")
"""Maps whose names are the operator's."""


def leaves(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Values by their paths, such as ``image.tag``."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and not name.endswith(FREE):
            found |= leaves(value, f"{before}{name}.")
        else:
            found[before + name] = value
    return found


def test_the_schema_is_one_and_takes_the_defaults() -> None:
    """And is strict: an object without a list of its names is one of the operator's."""
    Draft7Validator.check_schema(VALUES_SCHEMA)
    Draft7Validator(VALUES_SCHEMA).validate(VALUES)


def test_settings_are_checked_as_the_service_does() -> None:
    """Names, types and limits; `python -m deploy.settings_schema` renews them."""
    assert VALUES_SCHEMA["properties"]["settings"] == settings_schema()
    assert Settings.model_fields.keys() >= OWN_VALUES


def test_every_value_is_checked_and_every_check_is_of_a_value() -> None:
    """The schema names what values.yaml has."""

    def named(schema: dict[str, Any], values: dict[str, Any], path: str) -> None:
        properties = schema.get("properties", {}).keys() - ({"global"} if not path else set())
        assert properties == values.keys(), path
        assert schema["additionalProperties"] is False, path
        for name, value in values.items():
            if isinstance(value, dict) and not name.endswith(FREE) and name not in ("requests", "limits"):
                named(schema["properties"][name], value, f"{path}{name}.")

    named(VALUES_SCHEMA, VALUES, "")


def test_every_value_is_explained() -> None:
    """By a comment of its own, or one above its neighbours; names that say all by themselves are few."""
    plain = {"repository", "pullPolicy", "enabled", "labels", "annotations", "interval", "type", "port", "hostnames"}
    plain |= {
        "minReplicas",
        "maxReplicas",
        "stabilizationWindowSeconds",
        "periodSeconds",
        "percent",
        "pods",
        "urlKey",
        "keySecretKey",
    }
    plain |= {"podAnnotations", "podLabels", "nodeSelector", "tolerations", "affinity", "priorityClassName"}
    plain |= {"nameOverride", "fullnameOverride", "requests", "limits"}
    above = ""
    for line in TEXT.splitlines():
        key = re.match(r" *(\w+):", line)
        if key and key[1] not in plain and not line.endswith(":"):
            assert above.lstrip().startswith("#"), line
        above = line


def test_every_option_is_in_a_case() -> None:
    """What is rendered in the tests of the chart leaves no value at its default."""
    default = leaves(VALUES)
    changed = {path for case in CASES.values() for path, value in leaves(case).items() if value != default.get(path)}
    assert changed == default.keys()


def test_it_is_the_chart_of_this_version() -> None:
    """The image that it takes unless told otherwise."""
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == VERSION


@pytest.mark.parametrize(("value", "setting"), [("graceSeconds", "shutdown_grace"), ("stageSeconds", "drain_timeout")])
def test_times_of_the_drain_are_those_of_the_service(value: str, setting: str) -> None:
    """So that what the documentation says of them holds in a cluster, too."""
    assert VALUES["drain"][value] == Settings.model_fields[setting].default


def test_a_pod_may_take_as_long_to_start_as_a_process() -> None:
    """A shorter time would end it while the supervisor still waits."""
    assert VALUES["startupSeconds"] >= START_SECONDS
