"""API keys: who may do what. A file holds one key a line, ``NAME SCOPES SHA-256``; the keys themselves are nowhere.

A key is 256 random bits, so a plain SHA-256 of it cannot be guessed back; passwords that people make up need a slow
hash and are not meant to be used here. ``python -m app keys`` makes a key and its line.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app import metrics
from app.errors import DataError, told_of
from app.settings import default_path

CLASSIFY = "classify"
FEEDBACK = "feedback"
ADMIN = "admin"
SCOPES = (CLASSIFY, FEEDBACK, ADMIN)
MOST_KEYS = 1_000
"""Every key is compared with what a request brings, in the time that all of them take."""

logger = logging.getLogger(__name__)

_PREFIX = "sk-sentiment-"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Key:
    """Whom a key belongs to.

    Attributes:
        name: of its owner; what the rate limit counts by, and no secret.
        scopes: some of ``SCOPES``.
        digest: SHA-256 of the key.
    """

    name: str
    scopes: frozenset[str]
    digest: bytes

    @property
    def line(self) -> str:
        """As it stands in the file."""
        return f"{self.name} {','.join(sorted(self.scopes))} {self.digest.hex()}"


class KeyFile:
    """The keys in a file, read again when the file changes. A file that is malformed then, or gone, changes nothing: a
    slip of the editor must not lock everybody out. The log and a metric say so, as keys that were to be revoked are
    good until it is mended.

    Args:
        path: the file.

    Raises:
        DataError: it cannot be read, or a line is malformed; names file and line, never the line's content.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: object = self._look()
        self._keys = read_keys(path)
        self._looked = time.monotonic()
        self._fault = ""

    def find(self, presented: str) -> Key | None:
        """Whose key this is, in a time that depends on neither the key nor the answer."""
        self._refresh()
        digest = digest_of(presented)
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        try:
            if (stamp := self._look()) == self._stamp:
                return
            self._keys, self._stamp, self._fault = read_keys(self._path), stamp, ""
            metrics.KEYS_STALE.set(0)
            logger.info("read %d API keys", len(self._keys))
        except DataError as error:
            if str(error) != self._fault:
                logger.error("the file of API keys cannot be used, those read before stay good: %s", error)
            metrics.KEYS_STALE.set(1)
            self._stamp, self._fault = None, str(error)

    def _look(self) -> tuple[int, int, int]:
        with told_of(self._path):
            status = self._path.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns


def digest_of(key: str) -> bytes:
    """What of a key is stored."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def new_key(name: str, scopes: Sequence[str]) -> tuple[str, Key]:
    """A new key, and what is to be kept of it.

    Raises:
        DataError: the name or a scope will not do.
    """
    key = _PREFIX + secrets.token_urlsafe(32)
    return key, _parse(f"{name} {','.join(scopes)} {digest_of(key).hex()}", "new key")


def read_keys(path: Path) -> list[Key]:
    """The keys in a file. Empty lines and lines that begin with ``#`` do not count.

    Raises:
        DataError: see ``KeyFile``.
    """
    try:
        with told_of(path):
            lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a list of keys") from error
    keys = [_parse(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if not _says_nothing(line)]
    if not keys:
        raise DataError(f"{path}: no key in it, so nobody could call the service")
    if len(keys) > MOST_KEYS:
        raise DataError(f"{path}: {len(keys)} keys; the limit is {MOST_KEYS}")
    if len({key.digest for key in keys}) < len(keys):
        raise DataError(f"{path}: the same key stands there twice")
    return keys


def _says_nothing(line: str) -> bool:
    """Whether it is empty or a comment."""
    return not line.strip() or line.lstrip().startswith("#")


def _parse(line: str, where: str) -> Key:
    parts = line.split()
    if len(parts) != 3 or not _NAME.fullmatch(parts[0]) or not _DIGEST.fullmatch(parts[2]):
        raise DataError(f"{where}: must be NAME SCOPES SHA-256, in letters, digits, '.', '_' and '-'")
    scopes = frozenset(parts[1].split(","))
    if not scopes <= set(SCOPES):
        raise DataError(f"{where}: scopes must be of {', '.join(SCOPES)}, separated by commas")
    return Key(parts[0], scopes, bytes.fromhex(parts[2]))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``keys``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="make a key; what is printed for the file can be appended to it")
    new.add_argument("--name", required=True, help="whose it is; the rate limit counts by name")
    new.add_argument("--scope", action="append", choices=SCOPES, help="default: classify; may be given several times")
    new.add_argument("--file", type=Path, help="append to this file instead of printing its line")
    new.set_defaults(action=_new)
    default = default_path("api_keys")
    said = "the file (default: $SENTIMENT_API_KEYS)"
    check = actions.add_parser("check", help="say whether a file of keys is well-formed, before a service reads it")
    check.set_defaults(action=_check)
    listing = actions.add_parser("list", help="whose keys are in a file, and what they may do")
    listing.add_argument("--json", action="store_true", help="one array of objects, for programs")
    listing.set_defaults(action=_list)
    revoke = actions.add_parser("revoke", help="take all keys of one name out of a file; a service notices it soon")
    revoke.add_argument("--name", required=True, help="whose keys")
    for action in (check, listing, revoke):
        action.add_argument("--file", type=Path, default=default, help=said)
    for action in (check, listing):  # as it was written before
        action.add_argument("given", type=Path, nargs="?", help=argparse.SUPPRESS)
    revoke.set_defaults(action=_revoke)


def run(options: argparse.Namespace) -> int:
    """Run the parsed subcommand; the exit status."""
    options.file = getattr(options, "given", None) or options.file
    return int(options.action(options))


def _check(options: argparse.Namespace) -> int:
    """Say who is in a file of keys.

    Raises:
        DataError: see ``KeyFile``.
    """
    keys = _keys_in(options.file)
    for key in keys:
        print(f"{key.name}: {', '.join(sorted(key.scopes))}")
    print(f"{options.file}: ok, {len(keys)} keys")
    return 0


def _list(options: argparse.Namespace) -> int:
    """Say whose keys are in a file; the keys themselves nobody knows."""
    keys = _keys_in(options.file)
    if options.json:
        print(json.dumps([{"name": key.name, "scopes": sorted(key.scopes)} for key in keys]))
    else:
        print("\n".join(f"{key.name}: {', '.join(sorted(key.scopes))}" for key in keys))
    return 0


def _revoke(options: argparse.Namespace) -> int:
    """Take keys out of a file, which is there before and after, whatever happens; comments stay."""
    keys = _keys_in(options.file)
    left = [key for key in keys if key.name != options.name]
    if len(left) == len(keys):
        raise DataError(f"{options.file}: no key of {options.name!r}; `keys list` says whose there are")
    if not left:
        raise DataError(f"{options.file}: no other key is in it, so nobody could call the service; make one first")
    kept = {key.digest.hex() for key in left}
    with told_of(options.file, "written"):
        lines = options.file.read_text(encoding="utf-8-sig").splitlines(keepends=True)
        text = "".join(line for line in lines if _says_nothing(line) or line.split()[-1] in kept)
        replacement = options.file.with_name(f".{options.file.name}.new")
        shutil.copy2(options.file, replacement)  # with its rights
        replacement.write_text(text, encoding="utf-8")
        replacement.replace(options.file)
    print(f"{options.file}: {len(keys) - len(left)} keys of {options.name} revoked, {len(left)} left")
    return 0


def _keys_in(file: Path | None) -> list[Key]:
    if file is None:
        raise DataError("name a file of keys with --file, or set SENTIMENT_API_KEYS")
    return read_keys(file)


def _new(options: argparse.Namespace) -> int:
    """Make a key. It is shown once and kept nowhere."""
    key, kept = new_key(options.name, options.scope or [CLASSIFY])
    if options.file is None:
        print(f"key:      {key}\nfor file: {kept.line}")
        return 0
    with told_of(options.file, "written"):
        # Private where it is new: nobody else needs to know who calls.
        descriptor = os.open(options.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as file:
            file.write(kept.line + "\n")
    print(f"key: {key}")
    return 0
