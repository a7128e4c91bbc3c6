"""Labelled texts of several sources, each with a weight: ``FILE[:WEIGHT]`` on the command line.

A file has the columns ``text`` and ``label`` (negative, neutral or positive) and may have ``stars``, 1 to 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.errors import DataError
from app.files.layout import without_format
from app.files.options import Quoting, ReadOptions
from app.training.labelled import Examples, examples_with_words, read_rows

LABELS = ("negative", "neutral", "positive")
_READ = ReadOptions(quoting=Quoting.NONE, keep_na=True)
_SCALE = 9 / 4
"""One to five stars become 1 to 10: so many of ten for each of five."""


@dataclass(frozen=True)
class Source:
    """Labelled texts of one kind.

    Attributes:
        name: the file's name without its endings.
        examples: the texts, their labels as indices into ``LABELS``, and their stars, 1 to 10.
        weight: how often each text counts.
    """

    name: str
    examples: Examples
    weight: float = 1.0


def ten_stars(stars: float) -> float:
    """1 to 5 stars as 1 to 10."""
    return 1 + (stars - 1) * _SCALE


def read_source(path: Path, weight: float = 1.0) -> Source:
    """One file.

    Raises:
        DataError: see ``read_rows``; or another label, or stars beyond 1 to 5.
    """
    try:
        rows = read_rows(path, "text", "label", stars_column="stars", options=_READ)
    except DataError as error:
        raise DataError(str(error)) from error  # without options: the form of these files is fixed
    for number, label in enumerate(rows.labels, start=1):
        if label not in LABELS:
            raise DataError(f"{path}: row {number}: label {label!r} is none of {', '.join(LABELS)}")
    given = rows.stars or [None] * len(rows.texts)
    for number, stars in enumerate(given, start=1):
        if stars is not None and not 1 <= stars <= 5:
            raise DataError(f"{path}: row {number}: {stars:g} stars, must be 1 to 5")
    scaled = [None if stars is None else ten_stars(stars) for stars in given]
    examples = examples_with_words(rows.texts, [LABELS.index(label) for label in rows.labels], scaled)
    return Source(without_format(path.name), examples, weight)


def parse_sources(arguments: Sequence[str]) -> list[tuple[Path, float]]:
    """``FILE[:WEIGHT]`` arguments as files and weights.

    Raises:
        DataError: a weight is not above 0.
    """
    parsed = []
    for argument in arguments:
        name, _, ending = argument.rpartition(":")
        try:
            path, weight = (Path(name), float(ending)) if name else (Path(argument), 1.0)
        except ValueError:
            path, weight = Path(argument), 1.0
        if not weight > 0:
            raise DataError(f"{argument}: a weight must be above 0")
        parsed.append((path, weight))
    return parsed
