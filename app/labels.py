"""How a version in the store is called: ``NAME``, ``NAME/VERSION`` or ``NAME@LABEL``, and the labels themselves.

Labels are names for versions that move, while versions never change: ``champion`` is what should be served,
``candidate`` what may become that; others are the operator's own. They stand in ``<root>/<name>/labels.json``, with
their newest changes.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from app.atomic import replace_file
from app.errors import CheckpointError, told_of

LABELS_FILE = "labels.json"
CHAMPION = "champion"
"""What should be served."""
CANDIDATE = "candidate"
"""What may become the champion; training may set it."""
REFERENCES = "NAME for its highest version, NAME/VERSION or NAME@LABEL"
"""What a reference may be, for the help of commands."""
MAX_LABELS = 32
MAX_HISTORY = 100
"""Changes that are remembered; older ones are forgotten."""

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_REFERENCE = re.compile(rf"(?P<name>{NAME.pattern})(?:/(?P<version>[1-9][0-9]{{0,8}})|@(?P<label>{_LABEL.pattern}))?")

D = TypeVar("D", bound=BaseModel)
How = Literal["label", "remove", "promote", "roll-back"]
Label = Annotated[str, Field(pattern=rf"^{_LABEL.pattern}$")]
Version = Annotated[int, Field(ge=1, le=999_999_999)]


class Reference(NamedTuple):
    """A reference in its parts; without version and label it is the highest version."""

    name: str
    version: int | None
    label: str | None


def parse_reference(reference: str) -> Reference:
    """The parts of ``NAME``, ``NAME/VERSION`` or ``NAME@LABEL``.

    Raises:
        CheckpointError: it is none of these.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise CheckpointError(f"model {reference!r}: must be NAME, NAME/VERSION or NAME@LABEL, in lower case")
    return Reference(match["name"], int(match["version"]) if match["version"] else None, match["label"])


def checked_name(name: str) -> str:
    """The name of a model, if it may be one.

    Raises:
        CheckpointError: it may not.
    """
    if NAME.fullmatch(name) is None:
        raise CheckpointError(f"model name {name!r}: must be 1 to 64 of a-z, 0-9, '-' and '_'")
    return name


def checked_label(label: str) -> str:
    """The label, if it may be one.

    Raises:
        CheckpointError: it may not.
    """
    if _LABEL.fullmatch(label) is None:
        raise CheckpointError(f"label {label!r}: must be 1 to 64 of a-z, 0-9, '-' and '_', a letter first")
    return label


class Change(BaseModel):
    """A label was set, moved or removed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    time: AwareDatetime
    label: Label
    before: Version | None
    after: Version | None
    how: How


class Labels(BaseModel):
    """The labels of one model, and how they came to be; never changed, but replaced by another."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    """Version of this document's layout."""
    labels: dict[Label, Version] = Field(default={}, max_length=MAX_LABELS)
    """Versions by label."""
    history: tuple[Change, ...] = Field(default=(), max_length=MAX_HISTORY)
    """The newest changes, oldest first."""

    def of(self, version: int) -> list[str]:
        """All labels of a version, in alphabetical order."""
        return sorted(label for label, named in self.labels.items() if named == version)

    def moved(self, label: str, version: int | None, how: How) -> Labels:
        """With a label on a version, or on none, and the change in the history.

        Raises:
            CheckpointError: there would be too many labels, or it is no label.
        """
        labels = {**self.labels, checked_label(label): version}
        change = Change(
            time=datetime.now(UTC).replace(microsecond=0),
            label=label,
            before=self.labels.get(label),
            after=version,
            how=how,
        )
        if len(labels) > MAX_LABELS:
            raise CheckpointError(f"label {label!r}: there are {MAX_LABELS} already, which is the limit; remove one")
        kept = {name: named for name, named in sorted(labels.items()) if named is not None}
        return Labels(labels=kept, history=(*self.history, change)[-MAX_HISTORY:])

    def promoted(self) -> Labels:
        """With the candidate as champion, and no candidate.

        Raises:
            CheckpointError: there is no candidate.
        """
        candidate = self.labels.get(CANDIDATE)
        if candidate is None:
            raise CheckpointError(
                f"there is no {CANDIDATE} to promote; `models label NAME/VERSION {CANDIDATE}` names it"
            )
        return self.moved(CHAMPION, candidate, "promote").moved(CANDIDATE, None, "promote")

    def rolled_back(self) -> Labels:
        """With the champion before this one as champion; again, the one before that.

        Raises:
            CheckpointError: none is remembered.
        """
        current = self.labels.get(CHAMPION)
        earlier = [version for version in self._champions() if version != current]
        if not earlier:
            raise CheckpointError(f"no {CHAMPION} before version {current} is known; `models label` names any version")
        return self.moved(CHAMPION, earlier[-1], "roll-back")

    def _champions(self) -> list[int]:
        """Champions one on top of the other: setting one adds it, rolling back takes the last away."""
        stack: list[int] = []
        for change in self.history:
            if change.label != CHAMPION:
                continue
            if not stack and change.before is not None:
                stack.append(change.before)
            if change.how == "roll-back":
                while stack and stack[-1] != change.after:
                    stack.pop()
            if change.after is not None and stack[-1:] != [change.after]:
                stack.append(change.after)
        return stack


def read_labels(folder: Path) -> Labels:
    """The labels of the model with this folder; none where there is no file.

    Raises:
        CheckpointError: the file is malformed; the message names it and the field.
    """
    return read_document(Labels, folder / LABELS_FILE, missing=Labels())


def read_document(kind: type[D], path: Path, missing: D | None = None) -> D:
    """A file of JSON in the model store, checked.

    Args:
        kind: what it holds.
        path: of the file.
        missing: what a file that is not there stands for; None: it must be there.

    Raises:
        CheckpointError: it cannot be read, or is malformed; the message names it and the field.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        if missing is not None and isinstance(error, FileNotFoundError):
            return missing
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "document"
        raise CheckpointError(f"{path}: {field}: {first['msg']}") from error


def change_labels(folder: Path, change: Callable[[Labels], Labels]) -> Labels:
    """Change the labels of the model with this folder. Whoever else wants to waits until this is done.

    Args:
        folder: of the model, not of a version.
        change: makes the new labels of the old ones; its errors leave everything as it was.

    Returns:
        The new labels.

    Raises:
        CheckpointError: the folder cannot be written to, or the labels in it are malformed.
    """
    path = folder / LABELS_FILE
    with told_of(path, "written", CheckpointError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            labels = change(read_labels(folder))
            replace_file(path, labels.model_dump_json(indent=2) + "\n")
        finally:
            os.close(descriptor)
    return labels
