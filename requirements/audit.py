"""Looks for known vulnerabilities of everything that images and wheels bring: ``make audit``.

Fails where there is one. Where the database cannot be asked, says so on standard error and is no proof of anything.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
LISTS = ("image.txt", "torch.txt", "torch-cuda.txt")
_LIMIT_SECONDS = 600
_ACCEPTED: dict[str, str] = {}
"""Vulnerabilities that do not concern this service, and why."""


def main() -> int:
    """Ask about every list; the exit status."""
    statuses = [audit(name) for name in LISTS]
    return max(statuses)


def audit(name: str) -> int:
    """Ask about one list; 1 where a package is vulnerable."""
    options = ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(FOLDER / name), *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False)  # noqa: S603
    try:
        packages: list[dict[str, Any]] = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError):
        sys.stderr.write(f"{name}: NOT AUDITED: {ended.stderr.strip().splitlines()[-1:]}\n")
        return 0
    unknown = [package["name"] for package in packages if "vulns" not in package]
    if unknown:
        sys.stderr.write(f"{name}: NOT AUDITED: {len(unknown)} of {len(packages)} packages are not in the database\n")
    found = [(package, fault) for package in packages for fault in package.get("vulns", ())]
    for package, fault in found:
        accepted = _ACCEPTED.get(fault["id"])
        fixed = ", ".join(fault["fix_versions"]) or "no version"
        print(
            f"{name}: {package['name']} {package['version']}: {fault['id']}, mended by {fixed}; {accepted or 'FAULT'}"
        )
    sys.stderr.write(f"{name}: {len(packages) - len(unknown)} packages audited\n")
    return int(any(fault["id"] not in _ACCEPTED for _, fault in found))


if __name__ == "__main__":
    sys.exit(main())
