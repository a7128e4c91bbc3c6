"""Writes what the chart's schema says of the service's settings: ``python -m deploy.settings_schema``.

Names, types, limits and sentences are those of ``app/settings.py``, so a value that the service would refuse at its
start is refused by helm before anything is changed. A test fails where the two differ.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from app.settings import PREFIX, Settings

CHART = Path(__file__).parent / "helm" / "sentiment-service"
SCHEMA = CHART / "values.schema.json"

OWN_VALUES = frozenset(
    {
        "api_keys",
        "cache_secret",
        "device",
        "drain_timeout",
        "feedback_folder",
        "file_folder",
        "host",
        "model_store",
        "port",
        "redis_url",
        "root_path",
        "shutdown_grace",
    }
)
"""Settings that other values of the chart, or its image, decide."""


def settings_schema() -> dict[str, Any]:
    """The schema of the value ``settings``, by names of variables."""
    properties: dict[str, Any] = {}
    for name, described in Settings.model_json_schema()["properties"].items():
        if name in OWN_VALUES:
            continue
        [schema] = [choice for choice in described.get("anyOf", [described]) if choice.get("type") != "null"]
        kept = {key: value for key, value in schema.items() if key not in ("title", "default", "description", "format")}
        properties[f"{PREFIX}{name.upper()}"] = {**kept, "description": described["description"]}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def main() -> None:
    """Write them into the chart."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    schema["properties"]["settings"] = settings_schema()
    SCHEMA.write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
