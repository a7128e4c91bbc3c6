"""Which stored version a training run became, as its folder says, so that it is not stored twice."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from app.errors import CheckpointError
from app.store import ModelStore, StoredModel

_STORED_FILE = "stored.json"


@dataclass(frozen=True)
class StoredRun:
    """Which version a run became, as its folder says.

    Attributes:
        version: its name.
        digest: what tells it from another version of that name.
        step: how far the run was.
    """

    version: str
    digest: str
    step: int

    def save(self, folder: Path) -> None:
        """Say it in the run's folder."""
        (folder / _STORED_FILE).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")


def stored_as(folder: Path, step: int, store: ModelStore, name: str) -> StoredModel | None:
    """The version that a run is already in the store as, where it has not gone on since; None: it is none there."""
    try:
        run = StoredRun(**json.loads((folder / _STORED_FILE).read_text(encoding="utf-8")))
        model = store.open(run.version)
    except (OSError, ValueError, TypeError, CheckpointError):
        return None
    return model if (model.name, model.digest, step) == (name, run.digest, run.step) else None
