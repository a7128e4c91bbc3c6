"""Labelled texts from the corpus or from any labelled file, in splits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from app.errors import DataError, told_of
from app.files.job import say_found
from app.files.layout import layout_of
from app.files.options import ReadOptions
from app.files.reading import Survey, open_table
from app.files.table import Table, header_of, is_nothing, plain_text, texts_of
from app.text.preprocessing import words
from app.text.preprocessing2 import has_words
from app.training.corpus import Corpus, Review

CORPUS_LABELS = ("negative", "positive")
CORPUS_SOURCE = "Large Movie Review Dataset v1.0 (Maas et al. 2011)"
MAX_CLASSES = 100

NAMES, INDICES = "names", "indices"
"""What the labels of a file for evaluation may be."""
READ = ReadOptions()
"""A file that is read as its name and its first lines tell."""
_VALIDATION_SHARE = 0.1


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
    stars: list[float | None]
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Sequence[int]) -> Examples:
        """The texts at ``rows``."""
        return Examples([self.texts[r] for r in rows], [self.labels[r] for r in rows], [self.stars[r] for r in rows])


def joined(parts: Iterable[Examples]) -> Examples:
    """All texts of several parts, one part behind the other."""
    found = Examples([], [], [])
    for part in parts:
        found = Examples(
            found.texts + part.texts,
            found.labels + part.labels,
            found.stars + part.stars,
            found.skipped + part.skipped,
        )
    return found


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
        development: parts of the validation split by the source they are of; empty where it has one source.
    """

    source: str
    labels: tuple[str, ...]
    train: Examples
    validation: Examples
    test: Examples | None
    unlabelled: list[str]
    development: Mapping[str, Examples] = field(default_factory=dict)

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
    if not set(CORPUS_LABELS) <= set(labels):
        raise DataError(f"the corpus is labelled {', '.join(CORPUS_LABELS)}; the model knows {', '.join(labels)}")
    index = [labels.index(label) for label in CORPUS_LABELS]
    return examples_with_words(
        [review.text for review in reviews],
        [index[review.label or 0] for review in reviews],
        [review.stars for review in reviews],
    )


@dataclass(frozen=True)
class LabelledRows:
    """What a labelled file says.

    Attributes:
        texts: of each row; empty where the row has none, so that it is skipped like other texts without words.
        labels: as they stand there, without white space around them.
        stars: star ratings; None without such a column, and for a row that has none.
    """

    texts: list[str]
    labels: list[str]
    stars: list[float | None] | None = None


def file_splits(
    path: Path, text_column: str | None, label_column: str, seed: int, options: ReadOptions = READ
) -> Splits:
    """A labelled file as a training and a validation split, stratified by class and drawn by ``seed``.

    The classes are the labels found, in alphabetical order.

    Raises:
        DataError: see ``read_rows``; or fewer than 2 classes, more than 100, or a class with a single text.
    """
    rows = read_rows(path, text_column, label_column, options=options)
    labels = tuple(sorted(set(rows.labels)))
    if not 2 <= len(labels) <= MAX_CLASSES:
        raise DataError(f"{path}: {len(labels)} different labels in {label_column!r}; must be 2 to {MAX_CLASSES}")
    index = {label: number for number, label in enumerate(labels)}
    examples = examples_with_words(rows.texts, [index[label] for label in rows.labels], [None] * len(rows.texts))
    train, validation = _stratified(examples.labels, labels, path, seed)
    return Splits(path.name, labels, examples.take(train), examples.take(validation), None, [])


def file_examples(
    path: Path,
    text_column: str | None,
    label_column: str,
    labels: Sequence[str],
    options: ReadOptions = READ,
    naming: str | None = None,
) -> Examples:
    """A labelled file for evaluation, whose labels are all names of classes, or all indices of them.

    Raises:
        DataError: see ``read_rows``; or see ``class_indices``.
    """
    rows = read_rows(path, text_column, label_column, options=options)
    return examples_with_words(rows.texts, class_indices(path, rows.labels, labels, naming), [None] * len(rows.texts))


def class_indices(path: Path, found: Sequence[str], labels: Sequence[str], naming: str | None = None) -> list[int]:
    """The classes that the labels of a file mean: all of them are names, or all are indices from 0.

    Args:
        path: what messages call the file.
        found: its labels.
        labels: names of the classes.
        naming: ``names`` or ``indices``; None: what they are is seen.

    Raises:
        DataError: a label is neither, some are the one and some the other, or all may be both and the two do not mean
            the same, as ``1`` and ``2`` of a model whose classes are called ``1``, ``2`` and ``3``.
    """
    names = {label: number for number, label in enumerate(labels)} if naming != INDICES else {}
    indices = {str(number): number for number in range(len(labels))} if naming != NAMES else {}
    different = sorted(set(found))
    listed = ", ".join(labels)
    for label in different:
        if label not in names and label not in indices:
            raise DataError(f"{path}: label {label!r} is none of the model's: {listed}")
    named = all(label in names for label in different)
    numbered = all(label in indices for label in different)
    if not named and not numbered:
        name = next(label for label in different if label not in indices)
        number = next(label for label in different if label not in names)
        raise DataError(
            f"{path}: label {name!r} is the name of a class and label {number!r} only an index; a file must have the "
            f"one or the other (the classes are {listed}, their indices 0 to {len(labels) - 1})"
        )
    if named and numbered and any(names[label] != indices[label] for label in different):
        raise DataError(
            f"{path}: labels {', '.join(different)} may be names of classes or their indices, which do not mean the "
            f"same (the classes are {listed}); say which",
            "labels",
        )
    return [(names if named else indices)[label] for label in found]


def read_rows(
    path: Path,
    text_column: str | None,
    label_column: str,
    *,
    stars_column: str | None = None,
    options: ReadOptions = READ,
) -> LabelledRows:
    """Texts and labels of a file of any format, read as strictly as files that are scored; how it is read is said.

    Args:
        path: the file.
        text_column: the column of the texts; None finds it.
        label_column: the column of the labels.
        stars_column: the column of star ratings, where the file has it.
        options: how the file is read.

    Raises:
        DataError: unreadable, of another format, empty, without those columns, or with a row without a label; names the
            file and the line or row, rows counted from 1 behind the header.
    """
    options = replace(options, text_column=text_column)
    layout = layout_of(str(path), options.format)
    found, stars = LabelledRows([], [], None if stars_column is None else []), stars_column
    with told_of(path), path.open("rb") as file:
        survey = Survey(options)
        for _ in survey.steps(file, str(path), layout):
            pass
        table = open_table(file, str(path), layout, options, survey.columns)
        _check_columns(path, table, [label_column])
        for window in table.windows():
            texts = texts_of(window, keep_na=options.keep_na)
            for text, row in zip(texts, window.objects(), strict=True):
                found.texts.append(text if isinstance(text, str) else "")
                where = f"{path}: row {len(found.texts)}"
                found.labels.append(_label(row.get(label_column), where, label_column, options))
                if found.stars is not None:
                    found.stars.append(_stars(row.get(stars or ""), where))
    if not found.texts:
        raise DataError(f"{path}: holds no rows")
    say_found(str(path), table, table.bad)
    return found


def _check_columns(path: Path, table: Table, names: Sequence[str]) -> None:
    columns = header_of(table)
    for name in names:
        if columns.count(name) != 1:
            number = "two columns are named" if name in columns else "no column"
            said = f"{path}: {number} {name!r}; there are {', '.join(map(repr, columns))}"
            raise DataError(said, "label_column", "delimiter", "no_header")


def _label(value: object, where: str, column: str, options: ReadOptions) -> str:
    label = (plain_text(value) or "").strip()
    if not label or (not options.keep_na and is_nothing(label)):
        said = f", but {label!r}" if label else ""
        raise DataError(f"{where}: column {column!r} has no label{said}", *(["keep_na"] if label else []))
    return label


def _stars(value: object, where: str) -> float | None:
    given = (plain_text(value) or "").strip()
    if is_nothing(given):
        return None
    try:
        number = float(given)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{where}: {given[:20]!r} is not a number of stars")
    return number


def examples_with_words(texts: Sequence[str], labels: Sequence[int], stars: Sequence[float | None]) -> Examples:
    # Of either version of the preprocessing: "&amp;" has a word in the first alone, an emoji in the second.
    rows = [row for row, text in enumerate(texts) if words(text) and has_words(text)]
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
