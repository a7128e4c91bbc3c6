"""The notebook among the examples: executed by a kernel as a reader has it, and kept without its output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.pictures import STORE
from tests.test_documentation import ROOT

pytestmark = pytest.mark.extra

NOTEBOOK = ROOT / "examples" / "reviews.ipynb"
SECONDS = 300


def read() -> Any:
    """The notebook; raises where it is not one."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    return notebook


def test_its_output_is_not_kept() -> None:
    """What it says is what the model says to whoever runs it."""
    code = [cell for cell in read().cells if cell.cell_type == "code"]
    assert len(code) > 5
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


def shown(notebook: Any, kind: str) -> list[str]:
    """All that cells show of one kind, in order."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [output.data[kind] for output in outputs if kind in output.get("data", {})]


async def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first cell to the last, in a folder that is not the repository; tables, plots and the mixed review are
    what its text says they are."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("SENTIMENT_MODEL_STORE", str(STORE))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    notebook = read()
    place = {"metadata": {"path": str(tmp_path)}}
    await NotebookClient(notebook, timeout=SECONDS, startup_timeout=SECONDS, resources=place).async_execute()
    scored, judged, _, monthly, _ = shown(notebook, "text/plain")
    assert [scored.count(label) for label in ("positive", "neutral", "negative", "empty_cell")] == [4, 2, 3, 1]
    assert "ok" in judged
    assert "2026-03" in monthly
    assert len(shown(notebook, "image/png")) == 2
    [printed] = [
        output.text for cell in notebook.cells for output in cell.get("outputs", ()) if output.output_type == "stream"
    ]
    assert [line.split()[0] for line in printed.splitlines()] == ["positive", "negative"]
