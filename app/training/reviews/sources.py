"""Labelled texts of several sources, each with a weight: ``FILE[:WEIGHT]`` on the command line.

A file has the columns ``text`` and ``label`` (negative, neutral or positive) and may have ``stars``, 1 to 5.
"""

from __future__ import annotations

import csv
import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.errors import DataError

LABELS = ("negative", "neutral", "positive")
_SCALE = 9 / 4
"""One to five stars become 1 to 10: so many of ten for each of five."""


@dataclass(frozen=True)
class Source:
    """Labelled texts of one kind.

    Attributes:
        name: the file's name without its endings.
        texts: N texts.
        labels: (N,) index into ``LABELS``.
        stars: (N,) 1 to 10, fractions included; 0 where there are none.
        weight: how often each text counts.
    """

    name: str
    texts: list[str]
    labels: np.ndarray
    stars: np.ndarray
    weight: float = 1.0

    def __len__(self) -> int:
        return len(self.texts)


def ten_stars(stars: float) -> float:
    """1 to 5 stars as 1 to 10."""
    return 1 + (stars - 1) * _SCALE


def read_source(path: Path, weight: float = 1.0) -> Source:
    """One file.

    Raises:
        DataError: unreadable, or with another label.
    """
    texts, labels, stars = [], [], []
    try:
        with lzma.open(path, "rt", encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE), start=2):
                if row["label"] not in LABELS:
                    raise DataError(f"{path}: line {number}: label {row['label']!r} is none of {', '.join(LABELS)}")
                texts.append(row["text"])
                labels.append(LABELS.index(row["label"]))
                stars.append(ten_stars(float(row["stars"])) if row.get("stars") else 0.0)
    except (OSError, KeyError, ValueError, lzma.LZMAError) as error:
        raise DataError(f"{path}: not readable as labelled texts ({error})") from error
    return Source(path.name.split(".")[0], texts, np.asarray(labels), np.asarray(stars, dtype=np.float32), weight)


def parse_sources(arguments: Sequence[str]) -> list[tuple[Path, float]]:
    """``FILE[:WEIGHT]`` arguments.

    Raises:
        DataError: a weight is no number above 0.
    """
    parsed = []
    for argument in arguments:
        name, _, weight = argument.rpartition(":")
        try:
            parsed.append((Path(name), float(weight)) if name else (Path(argument), 1.0))
        except ValueError:
            parsed.append((Path(argument), 1.0))
        if parsed[-1][1] <= 0:
            raise DataError(f"{argument}: a weight must be above 0")
    return parsed
