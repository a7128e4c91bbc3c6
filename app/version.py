"""Version and name of this software: of the package, the HTTP interface, and what the protocols say of the server."""

from __future__ import annotations

VERSION = "0.1.0"

PACKAGE = str(__package__)
"""What this package is called: ``app``, and where it is installed ``sentiment_service._app``; see ``setup.py``."""
