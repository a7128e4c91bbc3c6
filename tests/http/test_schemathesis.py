"""The OpenAPI document says the truth: schemathesis sends what it allows and what it does not to a real service, and
holds every answer against it. ``make fuzz`` sends more."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from app.keys import SCOPES, new_key
from tests.service import Service, serving

pytestmark = pytest.mark.extra
ROOT = Path(__file__).parent.parent.parent
CASES = int(os.environ.get("FUZZ_CASES", "100"))
"""Random cases of each operation, beside those that schemathesis works out."""


@pytest.mark.parametrize("with_keys", [False, True], ids=["open", "with keys"])
def test_all_operations_all_checks(tiny_store: Path, tmp_path: Path, with_keys: bool) -> None:
    """No server error, nothing undocumented, nothing right refused, nothing wrong accepted, no way past the keys."""
    (tmp_path / "feedback").mkdir()
    limits, options = {"max_texts": "5", "max_characters": "100", "feedback_folder": str(tmp_path / "feedback")}, []
    if with_keys:
        key, kept = new_key("tester", SCOPES)
        (tmp_path / "keys").write_text(kept.line)
        limits["api_keys"] = str(tmp_path / "keys")
        options = ["--header", f"Authorization: Bearer {key}"]
    with serving(tiny_store, workers="1", **limits) as service:
        _warm_up(service, options[1] if options else "")
        command = ["-m", "schemathesis.cli", "run", f"{service.url}/openapi.json", *options]
        command += [
            "--checks",
            "all",
            "--max-examples",
            str(CASES),
            "--no-shrink",
            "--suppress-health-check",
            "all",
        ]
        environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.http.schemathesis_hooks", "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout[-8000:] + ended.stderr[-2000:]
        assert f"Tested: {_operations()}\n" in ended.stdout
        passed = re.search(r"(\d+) generated, (\d+) passed", ended.stdout)
        assert passed
        assert passed[1] == passed[2]
        assert int(passed[1]) >= CASES
        print(f"{passed[1]} cases passed")
        assert "Traceback" not in service.output.read_text()


def _warm_up(service: Service, header: str) -> None:
    """The first explanation waits for a process to start, which a deadline may not."""
    name, _, value = header.partition(": ")
    document = {"text": "a good film", "explain": ["tokens"]}
    headers = {name: value} if header else {}
    assert httpx.post(f"{service.url}/classify", json=document, headers=headers, timeout=60).status_code == 200


def _operations() -> int:
    return len(re.findall(r'"operationId"', (ROOT / "docs" / "openapi.json").read_text()))
