"""Histograms of the texts that a version was made for: what traffic is held against, to tell when it drifts.

``histograms.json`` in a version's folder has how many of its held-out texts had which score, how many tokens and which
share of unknown words, in the very bins in which a service counts its texts (see ``metrics``). Training writes it;
``evaluate --reference`` writes it for a version that is stored already, or anew from other texts. No score depends on
it, so it is no part of a version's digest.
"""

from __future__ import annotations

import logging
import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.atomic import replace_file
from app.checksums import sha256, write_sums
from app.store import StoredModel

HISTOGRAMS_FILE = "histograms.json"

BOUNDS: Mapping[str, tuple[float, ...]] = {
    "score": (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99, 1.0),
    "tokens": (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 16384),
    "unknown": (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0),
}
"""Upper bounds of the bins, by what is counted: the probability of the predicted label, the tokens of a text before it
is truncated, the share of its words that are not in the vocabulary. One bin more is above the last."""

logger = logging.getLogger(__name__)

Count = Annotated[int, Field(ge=0)]


class Histogram(BaseModel):
    """How many texts are in which bin."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bounds: tuple[float, ...] = Field(min_length=1, max_length=100)
    counts: tuple[Count, ...]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.counts) != len(self.bounds) + 1:
            raise ValueError("counts must be one more than bounds")
        return self


class Histograms(BaseModel):
    """The document."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    data: str
    """What the texts were."""
    score: Histogram
    tokens: Histogram
    unknown: Histogram


class Bin(NamedTuple):
    """A bin of a histogram: ``above`` to ``bound``, that included, and the share of the texts that are in it."""

    above: float
    bound: float
    share: float


def histograms_of(data: str, score: Iterable[float], tokens: Iterable[float], unknown: Iterable[float]) -> Histograms:
    """The histograms of texts, of which each is one number; they need not be as many.

    Args:
        data: what the texts are.
        score: probability of the predicted label.
        tokens: of each text, before truncation.
        unknown: share of unknown words, of each text that has words.
    """
    values = {"score": score, "tokens": tokens, "unknown": unknown}
    return Histograms(data=data, **{name: _histogram(BOUNDS[name], found) for name, found in values.items()})


def _histogram(bounds: Sequence[float], values: Iterable[float]) -> Histogram:
    counts = [0] * (len(bounds) + 1)
    for value in values:
        # As the library of the metrics does it: a bound belongs to the bin below.
        counts[bisect_left(bounds, value)] += 1
    return Histogram(bounds=tuple(bounds), counts=tuple(counts))


def text_of(histograms: Histograms) -> str:
    """As it stands in the file."""
    return histograms.model_dump_json(indent=1) + "\n"


def replace_histograms(model: StoredModel, histograms: Histograms) -> Path:
    """Write the file of a version that is stored, and its checksum. Whoever opens the version meanwhile finds it sound.

    Raises:
        OSError: the folder cannot be written to.
    """
    path = model.path / HISTOGRAMS_FILE
    others = {name: digest for name, digest in model.sums.items() if name != HISTOGRAMS_FILE}
    if HISTOGRAMS_FILE in model.sums:
        write_sums(model.path, others)
    replace_file(path, text_of(histograms))
    write_sums(model.path, {**others, HISTOGRAMS_FILE: sha256(path)})
    return path


def read_bins(model: StoredModel) -> dict[str, list[Bin]]:
    """The bins of each histogram of a version; of none that traffic cannot be held against.

    The file is for information: where it is missing, malformed or of other bins it costs the measure of drift, never
    the start.
    """
    path = model.path / HISTOGRAMS_FILE
    try:
        document = Histograms.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        logger.info("%s: no %s to measure drift by; `evaluate --reference` writes it", model.reference, path.name)
        return {}
    except (OSError, ValidationError) as error:
        logger.warning("%s: %s is not as training writes it: %s", model.reference, path.name, error)
        return {}
    found = {}
    for name, bounds in BOUNDS.items():
        histogram: Histogram = getattr(document, name)
        total = sum(histogram.counts)
        if histogram.bounds != bounds or not total:
            logger.warning("%s: %s: %s is empty or of other bins", model.reference, path.name, name)
            continue
        edges = (-math.inf, *bounds, math.inf)
        found[name] = [
            Bin(above, bound, count / total)
            for above, bound, count in zip(edges[:-1], edges[1:], histogram.counts, strict=True)
        ]
    return found
