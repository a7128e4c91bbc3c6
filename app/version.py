"""The version of this software: of the package, of its HTTP interface, and what the protocols say of the server."""

from __future__ import annotations

VERSION = "0.1.0"
