"""The alerts as documents: whom they call, what then, and that a test fires and resolves each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml


def seconds(duration: str) -> int:
    return sum(
        int(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in re.findall(r"(\d+)([hms])", duration)
    )


ROOT = Path(__file__).parent.parent.parent
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load((ROOT / "monitoring" / "rules" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
RUNBOOK = re.findall(
    r"^### (\w+)\n\n\*(\w+)\*: (.+?)\n\n(.+?)\n(?=\n### |\Z)",
    (ROOT / "docs" / "runbook.md").read_text(),
    re.MULTILINE | re.DOTALL,
)
"""Alert, severity, meaning and what to do, of each section."""
CASES = [
    case
    for file in sorted(Path(__file__).parent.glob("*_test.yml"))
    for test in yaml.safe_load(file.read_text())["tests"]
    for case in sorted(test["alert_rule_test"], key=lambda case: seconds(case["eval_time"]))
]


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_whom_it_calls_and_what_to_read(name: str) -> None:
    """Severity, a sentence, and the runbook."""
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in {"page", "ticket", "info", "none"}
    assert rule["annotations"]["summary"].endswith(".")
    # The anchor of a heading is its text in small letters.
    assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"


def test_the_runbook_has_a_section_for_each_alert() -> None:
    """One, with its severity, a meaning and something to do; and none for an alert that is not there."""
    assert [(name, severity) for name, severity, _, _ in RUNBOOK] == [
        (name, rule["labels"]["severity"]) for name, rule in ALERTS.items()
    ]
    assert all(len(meaning) > 20 and len(action) > 20 for _, _, meaning, action in RUNBOOK)


@pytest.mark.parametrize("name", sorted(set(ALERTS) - {"Watchdog"}))
def test_each_alert_is_tested_quiet_firing_and_resolved(name: str) -> None:
    """By promtool; see ``test_promtool``."""
    states = "".join("+" if case["exp_alerts"] else "-" for case in CASES if case["alertname"] == name)
    assert "-+-" in states
