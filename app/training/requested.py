"""What the commands that train were asked for, and the command lines that train the same again."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path

from app.files.arguments import flags_of
from app.files.layout import without_format
from app.files.options import ReadOptions
from app.store import Architecture


@dataclass(frozen=True)
class TrainOptions:
    """What ``train`` was asked for; see ``--help``.

    Attributes:
        corpus: the corpus' archive or folder; None downloads it, unless there is ``data``.
        data: any labelled file instead of the corpus.
        finish: store the best weights of the run so far, without training further.
        balanced: let the classes weigh the same in the loss.
        peers: stored models that are teachers too.
        read: how ``data`` is read.
    """

    name: str
    preset: str
    architecture: Architecture
    corpus: Path | None
    data: Path | None
    text_column: str | None
    label_column: str
    store: Path
    run: Path
    device: str
    seed: int
    threads: int
    resume: bool
    finish: bool
    balanced: bool = False
    peers: tuple[str, ...] = ()
    read: ReadOptions = field(default_factory=ReadOptions)

    @property
    def command(self) -> str:
        """The command line that trains the same again; of paths it keeps only the last part."""
        parts = ["python", "-m", "app", "train", "--preset", self.preset, "--network", self.architecture]
        if self.data is not None:
            parts += ["--data", self.data.name, *flags_of(replace(self.read, text_column=self.text_column))]
            parts += ["--label-column", self.label_column]
        elif self.corpus is not None:
            parts += ["--corpus", self.corpus.name]
        if self.balanced:
            parts.append("--balanced")
        for peer in self.peers:
            parts += ["--peer", peer]
        if self.name != default_name(self.architecture, self.data):
            parts += ["--name", self.name]
        parts += ["--seed", str(self.seed), "--device", self.device, "--threads", str(self.threads)]
        return shlex.join(parts)


@dataclass(frozen=True)
class ReviewOptions:
    """What ``train-reviews`` was asked for; see ``--help``."""

    name: str
    corpus: Path | None
    data: tuple[str, ...]
    development: tuple[str, ...]
    peers: tuple[str, ...]
    start: str
    large: str | None
    students: int
    average: str | None
    words: str | None
    store: Path
    run: Path
    seed: int
    threads: int

    @property
    def command(self) -> str:
        """The command line that trains the same again; of paths it keeps only the last part."""
        parts = ["python", "-m", "app", "train-reviews", "--corpus", self.corpus.name if self.corpus else ""]
        parts += ["--data", *(argument.rpartition("/")[2] for argument in self.data)]
        parts += ["--dev", *(argument.rpartition("/")[2] for argument in self.development)]
        for peer in self.peers:
            parts += ["--peer", peer]
        for flag, model in (("--average", self.average), ("--words", self.words)):
            parts += [flag, model] if model else []
        if self.large:
            parts += ["--large", self.large]
        parts += [
            "--start",
            self.start,
            "--students",
            str(self.students),
            "--name",
            self.name,
            "--seed",
            str(self.seed),
            "--threads",
            str(self.threads),
        ]
        return shlex.join(part for part in parts if part)


def default_name(architecture: str, data: Path | None) -> str:
    """Name of a model for which none was given."""
    stem = "imdb" if data is None else without_format(data.name).lower()
    return f"{re.sub(r'[^a-z0-9]+', '-', stem).strip('-')[:48] or 'model'}-{architecture}"
