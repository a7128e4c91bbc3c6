"""The Large Movie Review Dataset v1.0 (Maas et al. 2011, "Learning word vectors for sentiment analysis", ACL).

Reads the official archive's layout, ``aclImdb/{train,test}/{pos,neg}/ID_STARS.txt`` and ``aclImdb/train/unsup``, from
an archive (.tar.gz, .tar.xz) or an unpacked folder, and downloads the archive from the data set's own site where no
path is given.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import tarfile
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tqdm import tqdm

from app.errors import DataError

ARCHIVE_URL = "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
ARCHIVE_MD5 = "7c2ac02c03563afcf9b574c7e56c153a"
"""Published digest of the archive; guards against a broken download, not against an attacker."""
DOWNLOAD_TIMEOUT = 60.0


_MEMBER = re.compile(r"(?:.*/)?(train|test)/(pos|neg|unsup)/(\d+)_(\d+)\.txt$")
_VALIDATION_SHARE = 10


@dataclass(frozen=True, slots=True)
class Review:
    """One review.

    Attributes:
        text: the review as published, with its HTML line breaks.
        label: 1 positive, 0 negative, None in the unlabelled part.
        stars: 1 to 10, None in the unlabelled part.
        number: the review's number within its folder.
    """

    text: str
    label: int | None
    stars: int | None
    number: int


@dataclass(frozen=True)
class Corpus:
    """All reviews by split, each ordered by label and number."""

    train: list[Review]
    validation: list[Review]
    test: list[Review]
    unsup: list[Review]


def load_corpus(path: Path | None, cache: Path = Path("data")) -> Corpus:
    """Read the corpus.

    Args:
        path: archive or folder; None downloads the archive into ``cache`` (once).
        cache: where a downloaded archive is kept.

    Raises:
        DataError: nothing usable there, a review twice, or the download's checksum is off.

    The order depends on the reviews' numbers alone, never on that of the archive or of the file system. The validation
    split is fixed: of each label the tenth of the training reviews with the highest numbers. The numbering keeps
    reviews of one film together, so that, as in the test split, hardly any film is on both sides.
    """
    source = path if path is not None else download(cache)
    if not source.exists():
        raise DataError(f"{source}: does not exist")
    parts: dict[tuple[str, str], list[Review]] = {}
    for name, content in _files(source):
        if (match := _MEMBER.fullmatch(name)) is None:
            continue
        split, folder, number, stars = match.groups()
        label = {"pos": 1, "neg": 0}.get(folder)
        review = Review(_decoded(source, name, content), label, int(stars) if label is not None else None, int(number))
        parts.setdefault((split, folder), []).append(review)
    for part in (("train", "pos"), ("train", "neg"), ("test", "pos"), ("test", "neg")):
        if part not in parts:
            raise DataError(f"{source}: holds no reviews in {'/'.join(part)}")
    for (split, folder), reviews in parts.items():
        reviews.sort(key=lambda review: review.number)
        for first, second in pairwise(reviews):
            if first.number == second.number:
                raise DataError(f"{source}: holds review {first.number} of {split}/{folder} twice")
    return _split(parts)


def _split(parts: dict[tuple[str, str], list[Review]]) -> Corpus:
    train, validation = [], []
    for folder in ("neg", "pos"):
        reviews = parts["train", folder]
        cut = len(reviews) - len(reviews) // _VALIDATION_SHARE
        train += reviews[:cut]
        validation += reviews[cut:]
    test = parts["test", "neg"] + parts["test", "pos"]
    return Corpus(train, validation, test, parts.get(("train", "unsup"), []))


def download(folder: Path) -> Path:
    """Fetch the official archive (84 MB) with a progress bar, unless it is there already.

    Raises:
        DataError: the download failed or its checksum is off.
    """
    target = folder / ARCHIVE_URL.rpartition("/")[2]
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".part")
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with urllib.request.urlopen(ARCHIVE_URL, timeout=DOWNLOAD_TIMEOUT) as response, partial.open("wb") as file:
            total = int(response.headers.get("Content-Length", 0)) or None
            with tqdm(total=total, unit="B", unit_scale=True, desc="download") as bar:
                while chunk := response.read(1 << 16):
                    file.write(chunk)
                    digest.update(chunk)
                    bar.update(len(chunk))
    except OSError as error:
        raise DataError(f"{ARCHIVE_URL}: download failed ({error})") from error
    if digest.hexdigest() != ARCHIVE_MD5:
        partial.unlink()
        raise DataError(f"{ARCHIVE_URL}: checksum of the download is off")
    return partial.rename(target)


def _decoded(source: Path, name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{source}: {name} is not UTF-8") from error


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        for path in source.rglob("*.txt"):
            yield path.relative_to(source.parent).as_posix(), path.read_bytes()
        return
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is not None:
                    yield member.name, file.read()
    except (tarfile.TarError, OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{source}: not a readable tar archive") from error
