"""The model store: one self-describing, immutable folder per model and version.

``<root>/<name>/<version>/`` holds

- ``config.json``        architecture, sizes, labels, limits (``ModelConfig``)
- ``model.safetensors``  the weights; never a pickle
- ``tokenizer.json``     the vocabulary
- ``metrics.json``       what the version scored, on what, when, with which command
- ``histograms.json``    of its held-out texts (see ``histograms``); optional, may be written later
- ``golden.json``        a few texts with their token ids and scores (see ``golden``), compared at every load; optional
- ``README.md``          the model card, with its plots beside it
- ``SHA256SUMS``         one line per file, in the format of ``sha256sum``; checked at every load

and beside the versions ``labels.json`` names some of them (see ``labels``). Versions are whole numbers and never change
once written. Writing is atomic: a temporary folder beside the version is filled, flushed to disk and renamed.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.atomic import flush, flush_folder
from app.checksums import SUMS_FILE, read_sums, verify, write_sums
from app.errors import CheckpointError
from app.labels import NAME, Labels, change_labels, checked_name, parse_reference, read_document, read_labels
from app.sentiment import Thresholds

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"
METRICS_FILE = "metrics.json"
CARD_FILE = "README.md"
REQUIRED_FILES = (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE)

Pooling = Literal["last", "mean", "max"]
Architecture = Literal["gru", "lstm", "rnn"]
Rate = Annotated[float, Field(ge=0, lt=1)]


class ModelConfig(BaseModel):
    """Everything about a checkpoint that is not a weight. Every field is checked when a checkpoint is read."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = 1
    """Version of this document's layout."""
    architecture: Architecture
    """Recurrent cell: ``gru``, ``lstm`` or ``rnn`` (tanh)."""
    vocabulary_size: int = Field(ge=3, le=2_000_000)
    """Words in the vocabulary, the padding and the unknown token included."""
    embedding_size: int = Field(ge=1, le=8192)
    hidden_size: int = Field(ge=1, le=8192)
    layers: int = Field(default=1, ge=1, le=8)
    bidirectional: bool = False
    pooling: tuple[Pooling, ...] = Field(default=("last",), min_length=1, max_length=3, strict=False)
    """What becomes of the hidden states: each named pooling, concatenated in this order."""
    output: Literal["softmax", "sigmoid"] = "softmax"
    """``sigmoid``: one logit for the second of two labels, served as two classes [1 - p, p]."""
    labels: tuple[str, ...] = Field(default=("negative", "positive"), min_length=2, max_length=1000, strict=False)
    """Names of the classes, in the order of the logits."""
    rating: bool = False
    """Whether there is a second output: a distribution over ten stars, served as its expectation."""
    max_tokens: int = Field(ge=1, le=100_000)
    """Longest text the network reads, in tokens; longer ones keep their head and their tail."""
    head_tokens: int = Field(default=0, ge=0)
    """How many of ``max_tokens`` come from the start of a longer text; the rest is its end."""
    preprocessing: int
    """``PREPROCESSING_VERSION`` the vocabulary was built with."""
    temperature: float = Field(default=1.0, ge=0.01, le=100)
    """Divides the logits before the softmax (Guo et al. 2017), fitted on the validation split."""
    unsure_below: float | None = Field(default=None, ge=0, le=1)
    """An answer whose label is less probable is ``unsure``; None: a fifth above chance."""
    unreadable_above: float = Field(default=0.5, ge=0, le=1)
    """A text with a greater share of unknown and foreign words is ``unreadable``."""
    embedding_dropout: Rate = 0.0
    """Training only: probability that a whole embedding channel is zeroed for a text."""
    word_dropout: Rate = 0.0
    """Training only: probability that a token becomes the unknown token."""
    output_dropout: Rate = 0.0
    """Training only: dropout before the output layer."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.head_tokens > self.max_tokens:
            raise ValueError("head_tokens must not exceed max_tokens")
        if len(set(self.pooling)) != len(self.pooling):
            raise ValueError("pooling names an operation twice")
        if len(set(self.labels)) != len(self.labels) or not all(self.labels):
            raise ValueError("labels must be distinct and not empty")
        if self.output == "sigmoid" and len(self.labels) != 2:
            raise ValueError("a sigmoid output needs exactly 2 labels")
        return self

    @property
    def thresholds(self) -> Thresholds:
        """When an answer is not to be trusted."""
        unsure_below = 1.2 / len(self.labels) if self.unsure_below is None else self.unsure_below
        return Thresholds(unsure_below, self.unreadable_above)

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def features(self) -> int:
        """Size of the pooled vector the output layer sees."""
        return self.hidden_size * self.directions * len(self.pooling)


@dataclass(frozen=True)
class StoredModel:
    """One version in the store, its checksums verified when it was opened.

    Attributes:
        name: the model's name.
        version: its whole-number version.
        path: its folder.
        config: its configuration.
        sums: SHA-256 of every file, by file name.
        unread: files whose checksums were not verified then, as not everybody reads them.
    """

    name: str
    version: int
    path: Path
    config: ModelConfig
    sums: dict[str, str]
    unread: Collection[str] = ()

    def verify(self, file: str) -> None:
        """Make sure that a file is what it was when the version was written. To be called before it is read, where it
        may be one of the unread ones.

        Raises:
            CheckpointError: it is missing, or differs from its checksum.
        """
        if file in self.unread:
            verify(self.path / file, self.sums[file])

    @property
    def reference(self) -> str:
        """``name/version``, as ``SENTIMENT_MODEL`` takes it."""
        return f"{self.name}/{self.version}"

    @cached_property
    def digest(self) -> str:
        """Hexadecimal digest of everything that decides a score: weights, configuration, calibration, tokenizer."""
        digest = hashlib.blake2b(digest_size=16)
        for file in REQUIRED_FILES:
            digest.update(bytes.fromhex(self.sums[file]))
        return digest.hexdigest()

    @property
    def metrics(self) -> dict[str, Any]:
        """Content of ``metrics.json``; empty where there is none.

        Raises:
            CheckpointError: it is not a JSON object.
        """
        path = self.path / METRICS_FILE
        if not path.exists():
            return {}
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise CheckpointError(f"{path}: not a readable JSON object ({type(error).__name__})") from error

    @property
    def size(self) -> int:
        """Bytes on disk of all files together."""
        return sum((self.path / file).stat().st_size for file in self.sums)


def read_config(path: Path) -> ModelConfig:
    """Read and check a ``config.json``.

    Raises:
        CheckpointError: missing, not JSON, or with a field that is off; the message names file and field.
    """
    return read_document(ModelConfig, path)


def write_config(config: ModelConfig, path: Path) -> None:
    """Write a ``config.json`` that ``read_config`` accepts."""
    path.write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")


def open_version(path: Path, unread: Collection[str] = ()) -> StoredModel:
    """Open ``<name>/<version>``, verifying every checksum.

    Args:
        path: of the version.
        unread: files whose checksums are left to ``StoredModel.verify``.

    Raises:
        CheckpointError: a file is missing, differs from its checksum, or the configuration is off.
    """
    sums = read_sums(path / SUMS_FILE)
    for file in REQUIRED_FILES:
        if file not in sums:
            raise CheckpointError(f"{path / SUMS_FILE}: no checksum for {file}")
    for file, expected in sums.items():
        if file not in unread:
            verify(path / file, expected)
    return StoredModel(path.parent.name, int(path.name), path, read_config(path / CONFIG_FILE), sums, unread)


class ModelStore:
    """The folder of all models.

    Args:
        root: the store's folder; need not exist before the first version is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def versions(self, name: str) -> list[int]:
        """Versions of a model, lowest first; empty where there is no such model."""
        folder = self.root / checked_name(name)
        if not folder.is_dir():
            return []
        return sorted(int(entry.name) for entry in folder.iterdir() if re.fullmatch(r"[1-9][0-9]{0,8}", entry.name))

    def models(self) -> dict[str, list[int]]:
        """All model names with their versions."""
        if not self.root.is_dir():
            return {}
        names = sorted(entry.name for entry in self.root.iterdir() if NAME.fullmatch(entry.name))
        return {name: versions for name in names if (versions := self.versions(name))}

    def labels(self, name: str) -> Labels:
        """The labels of a model; see ``read_labels``."""
        return read_labels(self.root / checked_name(name))

    def resolve(self, reference: str) -> tuple[str, int]:
        """Name and version that ``name`` (its highest version), ``name/version`` or ``name@label`` stands for now.

        Raises:
            CheckpointError: no such model, version or label.
        """
        name, version, label = parse_reference(reference)
        versions = self.versions(name)
        if not versions:
            there = ", ".join(self.models()) or "none; --store names another store"
            raise CheckpointError(f"{self.root}: no model {name!r}; there are: {there}")
        if label is not None:
            labels = self.labels(name).labels
            version = labels.get(label)
            if version is None:
                there = ", ".join(f"{known} (version {number})" for known, number in labels.items()) or "none"
                raise CheckpointError(f"{self.root / name}: no label {label!r}; there are: {there}")
        if version is not None and version not in versions:
            which = f", which is {label!r}" if label else ""
            raise CheckpointError(f"{self.root / name}: no version {version}{which}; there are: {versions}")
        return name, versions[-1] if version is None else version

    def open(self, reference: str, digest: str | None = None, unread: Collection[str] = ()) -> StoredModel:
        """Open a version. See ``resolve``.

        Args:
            reference: which.
            digest: what its digest has to be; None: anything.
            unread: see ``open_version``.

        Raises:
            CheckpointError: no such version, or one that fails its checks.
        """
        name, version = self.resolve(reference)
        model = open_version(self.root / name / str(version), unread)
        if digest not in (None, model.digest):
            raise CheckpointError(f"{model.path}: changed since the service started, which must be started again")
        return model

    def relabel(self, name: str, change: Callable[[Labels], Labels]) -> Labels:
        """Change the labels of a model, which nobody else does meanwhile; what they are then. See ``change_labels``."""
        return change_labels(self.root / checked_name(name), change)

    @contextmanager
    def new_version(self, name: str) -> Iterator[Path]:
        """A temporary folder that becomes the next version of ``name`` when the block ends without an error.

        The block writes the files; checksums are added here. Two writers at once get different versions.
        """
        folder = self.root / checked_name(name)
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
        try:
            temporary.chmod(0o755)
            yield temporary
            write_sums(temporary)
            # Whatever wrote a file may have made it private; a version is for everybody who reads the store.
            for entry in temporary.iterdir():
                entry.chmod(0o644)
            flush(temporary)
            _rename_to_next(temporary, folder, self.versions(name))
            flush_folder(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _rename_to_next(temporary: Path, folder: Path, versions: list[int]) -> None:
    version = versions[-1] + 1 if versions else 1
    while True:
        try:
            # Fails where the target exists, because no version is an empty folder.
            temporary.rename(folder / str(version))
            return
        except OSError:
            if not (folder / str(version)).exists():
                raise
            version += 1
