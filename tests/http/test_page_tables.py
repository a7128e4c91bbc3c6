"""What the page's script makes of rows, in a JavaScript engine without a browser."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from app.http.page import routes
from tests.files.test_writing import FORMULAS, NO_FORMULAS

FOLDER = Path(routes.__file__).parent
NODE = shutil.which("node")


@pytest.mark.extra
@pytest.mark.skipif(NODE is None and not os.environ.get("CI"), reason="node is not installed")
def test_downloads_hold_no_formulas(tmp_path: Path) -> None:
    """Values that a spreadsheet would compute have an apostrophe before them, as in the service's own CSV."""
    (tmp_path / "package.json").write_text('{"type": "module"}')
    for name in ("table.js", "service.js"):
        shutil.copy(FOLDER / name, tmp_path)
    values = [*FORMULAS, *NO_FORMULAS, -5, 1.5, None, True]
    program = f"import {{ csvLine }} from './table.js'; console.log(JSON.stringify(csvLine({json.dumps(values)})))"
    assert NODE, "node is not installed"
    command = [NODE, "--input-type=module", "--eval", program]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    [found] = csv.reader(io.StringIO(json.loads(ended.stdout), newline=""))
    assert found == [*(f"'{value}" for value in FORMULAS), *NO_FORMULAS, "-5", "1.5", "", "true"]
