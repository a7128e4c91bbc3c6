"""Labelled texts from the corpus or from any labelled file, in splits."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from app.errors import DataError
from app.text.preprocessing import words
from app.training.corpus import Corpus, Review

CORPUS_LABELS = ("negative", "positive")
CORPUS_SOURCE = "Large Movie Review Dataset v1.0 (Maas et al. 2011)"
MAX_CLASSES = 100

_VALIDATION_SHARE = 0.1
_LONGEST_FIELD = 64 << 20


@dataclass(frozen=True)
class Examples:
    """Texts with their labels, in order.

    Attributes:
        texts: the texts; each has at least one word.
        labels: class of each text, as an index into the label names.
        stars: star rating of each text, None where there is none.
        skipped: how many texts of the source were left out because they have no word.
    """

    texts: list[str]
    labels: list[int]
    stars: list[int | None]
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Sequence[int]) -> Examples:
        """The texts at ``rows``."""
        return Examples([self.texts[r] for r in rows], [self.labels[r] for r in rows], [self.stars[r] for r in rows])


@dataclass(frozen=True)
class Splits:
    """Everything a training run reads.

    Attributes:
        source: what the data is, for the record.
        labels: names of the classes.
        train: what is trained on.
        validation: what decides which epoch is kept, and the temperature.
        test: what the final figures are measured on; None where the data has no such split.
        unlabelled: texts without a label.
    """

    source: str
    labels: tuple[str, ...]
    train: Examples
    validation: Examples
    test: Examples | None
    unlabelled: list[str]

    @property
    def sizes(self) -> dict[str, int]:
        """Number of texts by split."""
        sizes = {"train": len(self.train), "validation": len(self.validation)}
        if self.test is not None:
            sizes["test"] = len(self.test)
        return {**sizes, "unlabelled": len(self.unlabelled)}


def corpus_splits(corpus: Corpus) -> Splits:
    """The corpus' own splits."""
    return Splits(
        CORPUS_SOURCE,
        CORPUS_LABELS,
        corpus_examples(corpus.train, CORPUS_LABELS),
        corpus_examples(corpus.validation, CORPUS_LABELS),
        corpus_examples(corpus.test, CORPUS_LABELS),
        [review.text for review in corpus.unsup],
    )


def corpus_examples(reviews: Sequence[Review], labels: Sequence[str]) -> Examples:
    """Reviews of one labelled split, their classes numbered as in ``labels``.

    Raises:
        DataError: the labels are not those of the corpus.
    """
    if set(labels) != set(CORPUS_LABELS):
        raise DataError(f"the corpus is labelled {', '.join(CORPUS_LABELS)}; the model knows {', '.join(labels)}")
    index = [labels.index(label) for label in CORPUS_LABELS]
    return _with_words(
        [review.text for review in reviews],
        [index[review.label or 0] for review in reviews],
        [review.stars for review in reviews],
    )


def file_splits(path: Path, text_column: str, label_column: str, seed: int) -> Splits:
    """A labelled file as a training and a validation split, stratified by class and drawn by ``seed``.

    The classes are the labels found, in alphabetical order.

    Raises:
        DataError: see ``read_rows``; or fewer than 2 classes, more than 100, or a class with a single text.
    """
    texts, found = read_rows(path, text_column, label_column)
    labels = tuple(sorted(set(found)))
    if not 2 <= len(labels) <= MAX_CLASSES:
        raise DataError(f"{path}: {len(labels)} different labels in {label_column!r}; must be 2 to {MAX_CLASSES}")
    index = {label: number for number, label in enumerate(labels)}
    examples = _with_words(texts, [index[label] for label in found], [None] * len(texts))
    train, validation = _stratified(examples.labels, labels, path, seed)
    return Splits(path.name, labels, examples.take(train), examples.take(validation), None, [])


def file_examples(path: Path, text_column: str, label_column: str, labels: Sequence[str]) -> Examples:
    """A labelled file for evaluation. A label is the name of a class or, where it names none, its index.

    Raises:
        DataError: see ``read_rows``; or a label the model does not know.
    """
    texts, found = read_rows(path, text_column, label_column)
    index = {str(number): number for number in range(len(labels))}
    index.update({label: number for number, label in enumerate(labels)})
    for label in found:
        if label not in index:
            raise DataError(f"{path}: label {label!r} is none of the model's: {', '.join(labels)}")
    return _with_words(texts, [index[label] for label in found], [None] * len(texts))


def read_rows(path: Path, text_column: str, label_column: str) -> tuple[list[str], list[str]]:
    """Texts and labels of a CSV (``.csv``), TSV (``.tsv``) or JSON-lines (``.jsonl``) file in UTF-8, or of Parquet.

    Raises:
        DataError: unreadable, of another kind, empty, without those columns, or with a row that lacks one; names the
            file and where possible the line, which in Parquet is the row.
    """
    readers: dict[str, Callable[[Path], Iterator[tuple[int, Mapping[str, Any]]]]] = {
        ".csv": _csv_rows,
        ".tsv": _csv_rows,
        ".jsonl": _json_rows,
        ".ndjson": _json_rows,
        ".parquet": partial(_parquet_rows, text_column=text_column),
    }
    if path.suffix.lower() not in readers:
        raise DataError(f"{path}: must end in .csv, .tsv, .jsonl or .parquet")
    texts, labels = [], []
    try:
        for line, row in readers[path.suffix.lower()](path):
            text, label = row.get(text_column), row.get(label_column)
            if text is None or label is None:
                missing = text_column if text is None else label_column
                if missing in row:
                    raise DataError(f"{path}: line {line}: column {missing!r} has no value")
                raise DataError(f"{path}: line {line}: no column {missing!r}; there are: {', '.join(map(str, row))}")
            texts.append(str(text))
            labels.append(str(label).strip())
    except (OSError, UnicodeDecodeError, csv.Error, json.JSONDecodeError) as error:
        raise DataError(f"{path}: not readable as {path.suffix[1:]} in UTF-8 ({error})") from error
    if not texts:
        raise DataError(f"{path}: holds no rows")
    return texts, labels


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    # The default of 128 KiB is less than a long review page.
    csv.field_size_limit(_LONGEST_FIELD)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter=delimiter)
        for row in reader:
            yield reader.line_num, row


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig") as file:
        for line, content in enumerate(file, start=1):
            if not content.strip():
                continue
            row = json.loads(content)
            if not isinstance(row, dict):
                raise DataError(f"{path}: line {line}: must be a JSON object")
            yield line, row


def _parquet_rows(path: Path, text_column: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    # pyarrow is an extra, and imported only where there is Parquet.
    from app.files.parquet import ParquetTable

    with path.open("rb") as file:
        windows = ParquetTable(file, str(path), text_column).windows()
        yield from enumerate((row for window in windows for row in window.objects()), start=1)


def _with_words(texts: Sequence[str], labels: Sequence[int], stars: Sequence[int | None]) -> Examples:
    rows = [row for row, text in enumerate(texts) if words(text)]
    return Examples(
        [texts[row] for row in rows],
        [labels[row] for row in rows],
        [stars[row] for row in rows],
        skipped=len(texts) - len(rows),
    )


def _stratified(labels: Sequence[int], names: Sequence[str], path: Path, seed: int) -> tuple[list[int], list[int]]:
    random = np.random.default_rng(seed)
    classes = np.asarray(labels)
    train: list[int] = []
    validation: list[int] = []
    for number, name in enumerate(names):
        rows = random.permutation(np.flatnonzero(classes == number)).tolist()
        if len(rows) < 2:
            raise DataError(f"{path}: label {name!r} has {len(rows)} texts with words; at least 2 are needed")
        held_out = max(1, round(_VALIDATION_SHARE * len(rows)))
        validation += rows[:held_out]
        train += rows[held_out:]
    return sorted(train), sorted(validation)
