"""Prometheus' own tool reads the configuration and runs the rules' unit tests."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.monitoring.stack import MONITORING, program

pytestmark = pytest.mark.extra
TESTS = Path(__file__).parent / "alerts_test.yml"
FILES = sorted(Path(__file__).parent.glob("*_test.yml"))


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [program("promtool"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_the_configuration_is_valid() -> None:
    """With all rules it names."""
    ended = promtool("check", "config", str(MONITORING / "prometheus.yml"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("rules found") == 2


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_alert_fires_and_resolves(file: Path) -> None:
    """On made-up series, with the very text that somebody will read."""
    ended = promtool("test", "rules", str(file))
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_unit_tests_can_fail(tmp_path: Path) -> None:
    """Without the rules nothing fires, and the tool says so."""
    lines = TESTS.read_text().splitlines(keepends=True)
    broken = tmp_path / TESTS.name
    broken.write_text(
        "".join(line for line in lines if "../../monitoring/rules/alerts.yml" not in line).replace(
            "../../monitoring", str(MONITORING)
        )
    )
    assert promtool("test", "rules", str(broken)).returncode != 0
