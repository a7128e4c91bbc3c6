"""``python -m sentiment_service``, and where it is installed ``sentiment``."""

from __future__ import annotations

import sys

from app.cli import main

if __name__ == "__main__":
    sys.exit(main())
