"""The texts on which a shadow and what is served differ most, in a file of bounded size, for people to read.

Nothing is kept but where the operator named a folder for it.
"""

from __future__ import annotations

import heapq
import itertools
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from app.atomic import replace_file

logger = logging.getLogger(__name__)

MOST_TEXTS = 100
MOST_CHARACTERS = 2_000
"""Of a longer text, its start is kept."""
MOST_FILES = 16
"""Of versions that were compared before, the oldest files go."""
_PREFIX, _SUFFIX = "shadow.", ".jsonl"


class DifferentTexts:
    """The most different texts of one process and of two versions: lines of JSON, the most different one first.

    What the file holds already counts, so that a process that is started again goes on.

    Args:
        folder: of the files.
        name: of the file, which tells versions and process.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{_PREFIX}{name}{_SUFFIX}"
        self.changed = False
        self._numbers = itertools.count()
        self._kept: list[tuple[float, int, Mapping[str, Any]]] = []
        self._texts: set[str] = set()
        for entry in self._read():
            self.add(entry)
        self.changed = False

    def add(self, entry: Mapping[str, Any]) -> None:
        """Keep an entry, if it is among the most different ones.

        Args:
            entry: with ``text`` and ``difference``.
        """
        text, difference = entry["text"][:MOST_CHARACTERS], float(entry["difference"])
        if text in self._texts or (len(self._kept) == MOST_TEXTS and difference <= self._kept[0][0]):
            return
        self.changed = True
        self._texts.add(text)
        heapq.heappush(self._kept, (difference, next(self._numbers), {**entry, "text": text}))
        if len(self._kept) > MOST_TEXTS:
            self._texts.discard(heapq.heappop(self._kept)[2]["text"])

    def write(self) -> None:
        """Have the file hold what is kept. Blocking; a folder that cannot be written to costs the file alone."""
        self.changed = False
        # By the event loop's thread something may be added meanwhile, for the next time.
        found = sorted(self._kept, reverse=True)
        lines = [json.dumps(entry, ensure_ascii=False) for _, _, entry in found]
        try:
            replace_file(self.path, "".join(f"{line}\n" for line in lines), mode=0o600)
            self._remove_others()
        except OSError as error:
            logger.error("%s cannot be written: %s", self.path, error.strerror)

    def _remove_others(self) -> None:
        files = [path for path in self.path.parent.glob(f"{_PREFIX}*{_SUFFIX}") if path != self.path]
        for path in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True)[MOST_FILES - 1 :]:
            path.unlink(missing_ok=True)

    def _read(self) -> list[Mapping[str, Any]]:
        entries: list[Mapping[str, Any]] = []
        with suppress(OSError, ValueError, LookupError, TypeError):
            for line in self.path.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                entries.append({**entry, "text": str(entry["text"]), "difference": float(entry["difference"])})
        return entries[:MOST_TEXTS]
