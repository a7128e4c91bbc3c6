"""Golden texts of a version: a few made-up ones with their token ids and scores, as they were when it was written.

Checksums say that the files are the same; golden texts, that this program and this machine make the same of them.
Whoever loads the tokenizer compares the ids, whoever loads the weights the scores. Without the file nobody does.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.errors import CheckpointError
from app.labels import read_document
from app.sentiment import TOKEN_TYPECODE, Predictor, Scores, TokenIds
from app.store import StoredModel

GOLDEN_FILE = "golden.json"
MAX_GOLDEN = 64
TOLERANCES = {"float32": 1e-3, "bfloat16": 2e-2, "float16": 2e-2}
"""How far a probability may be from the stored one, by precision. Sound runtimes differ by a hundredth of the first and
by half of the others; the wrong words or the wrong arithmetic, by tenths."""
STARS = 9
"""A rating, from 1 to 10, may be so many times further from the stored one."""

TEXTS = (
    "A wonderful little film, I loved every minute.",
    "Terrible. Two hours of my life that I will never get back!",
    "It is not bad, but the second half is far too long.",
    "Arrived on Tuesday in a brown box.",
    "The staff couldn't have been friendlier; the room, sadly, smelled of smoke.",
    "10/10 would buy again :)",
    "Qwxzkj vfptq der Film war nicht schlecht",
    "good",
    " ".join(["The first part was dull and slow, then it became the best thing I have seen in years."] * 60),
)
"""What training stores; the last one is longer than most networks read."""


class Golden(BaseModel):
    """One text, its token ids and its scores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = Field(min_length=1, max_length=100_000)
    ids: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1, max_length=100_000)
    probabilities: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...]
    rating: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class GoldenTexts(BaseModel):
    """The document."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    texts: tuple[Golden, ...] = Field(min_length=1, max_length=MAX_GOLDEN)


def write_golden(folder: Path, predictor: Predictor, encode: Callable[[str], TokenIds[int]]) -> None:
    """Write what a predictor in float32 makes of ``TEXTS`` into the folder of a version that is being written."""
    ids = [encode(text) for text in TEXTS]
    # Each alone: what else is in a batch must not matter, and here it does not.
    scores = [predictor.predict([one])[0] for one in ids]
    texts = tuple(
        Golden(text=text, ids=tuple(one), probabilities=found.probabilities, rating=found.rating)
        for text, one, found in zip(TEXTS, ids, scores, strict=True)
    )
    document = GoldenTexts(texts=texts).model_dump_json(exclude_none=True)
    (folder / GOLDEN_FILE).write_text(document + "\n", encoding="utf-8")


def read_golden(folder: Path) -> Sequence[Golden]:
    """The golden texts of a version; none where there is no file.

    Raises:
        CheckpointError: the file is malformed; names it and the field.
    """
    path = folder / GOLDEN_FILE
    return read_document(GoldenTexts, path).texts if path.exists() else ()


def check_ids(model: StoredModel, encode: Callable[[str], TokenIds[int]]) -> None:
    """Compare what a version's tokenizer makes of the golden texts with what it made of them.

    Raises:
        CheckpointError: of one of them it makes something else.
    """
    for number, golden in enumerate(read_golden(model.path), start=1):
        if tuple(encode(golden.text)) != golden.ids:
            raise CheckpointError(
                f"{model.path / GOLDEN_FILE}: text {number} has other token ids here than when the version was written"
            )


def check_scores(model: StoredModel, predictor: Predictor) -> None:
    """Compare what a version's predictor makes of the golden texts with what was stored.

    Raises:
        CheckpointError: of one of them it makes something else, beyond what its precision accounts for.
    """
    tolerance = TOLERANCES[predictor.precision]
    path, config = model.path / GOLDEN_FILE, model.config
    for number, golden in enumerate(read_golden(model.path), start=1):
        if len(golden.ids) > config.max_tokens or max(golden.ids) >= config.vocabulary_size:
            raise CheckpointError(f"{path}: text {number} has token ids that the network does not take")
        difference = _difference(predictor.predict([array(TOKEN_TYPECODE, golden.ids)])[0], golden)
        if not difference <= tolerance:  # so that a difference that is no number fails too
            raise CheckpointError(
                f"{path}: the scores of text {number} are {difference:.2g} off those stored; "
                f"{predictor.runtime} in {predictor.precision} may differ by {tolerance:g}"
            )


def _difference(scores: Scores, golden: Golden) -> float:
    """The largest difference, of a rating in its ninth part; infinite where there are other numbers than stored."""
    if len(scores.probabilities) != len(golden.probabilities) or (scores.rating is None) != (golden.rating is None):
        return float("inf")
    pairs = list(zip(scores.probabilities, golden.probabilities, strict=True))
    if scores.rating is not None and golden.rating is not None:
        pairs.append((scores.rating / STARS, golden.rating / STARS))
    return max(abs(found - stored) for found, stored in pairs)
