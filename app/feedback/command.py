"""``python -m app feedback``: what is kept of feedback, exported or deleted."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from app.errors import DataError, OptionError, SettingsError
from app.feedback.folder import FeedbackEntry, FeedbackFolder
from app.files.writing import harmless
from app.settings import default_path

_MOST_DAYS = 36_500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``feedback``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="how much there is, by version and label, and how often it was right")
    listing.add_argument("--json", action="store_true", help="one document, for programs")
    listing.set_defaults(action=_list)
    export = actions.add_parser("export", help="write all of it to a CSV file")
    export.add_argument("--out", type=Path, required=True, help="the file, which must not be there yet; - for stdout")
    export.add_argument(
        "--escape-formulas",
        action="store_true",
        help="an apostrophe before values that a spreadsheet would compute",
    )
    export.set_defaults(action=_export)
    delete = actions.add_parser("delete", help="delete some of it for good; a service that runs goes on")
    which = delete.add_mutually_exclusive_group(required=True)
    which.add_argument("--text", help="this very text, but for white space around it; - reads it from standard input")
    which.add_argument("--older-than", type=float, metavar="DAYS", help="what came before so many days")
    which.add_argument("--all", action="store_true", help="everything")
    delete.set_defaults(action=_delete)
    for action in (listing, export, delete):
        action.add_argument(
            "--folder",
            type=Path,
            default=default_path("feedback_folder"),
            help="where it is kept (default: $SENTIMENT_FEEDBACK_FOLDER)",
        )


def run(options: argparse.Namespace) -> int:
    """Run the parsed subcommand; the exit status.

    Raises:
        SettingsError: no folder is named.
        DataError: it, or a file in it, is not as it should be.
    """
    if options.folder is None:
        raise SettingsError("name the folder with --folder, or set SENTIMENT_FEEDBACK_FOLDER")
    if not options.folder.is_dir():
        raise DataError(f"{options.folder}: no such folder")
    return int(options.action(options, FeedbackFolder(options.folder, 0)))


def _list(options: argparse.Namespace, folder: FeedbackFolder) -> int:
    """Counts by version: of labels, and of right and wrong answers."""
    rows = _counts(folder.entries())
    document = {"bytes": folder.size(), "files": [str(path) for path in folder.files()], "versions": rows}
    if options.json:
        print(json.dumps(document))
        return 0
    for row in rows:
        known = row["right"] + row["wrong"]
        share = f", {row['right']} of {known} answers right ({row['accuracy']:.3f})" if known else ""
        labels = ", ".join(f"{label} {count}" for label, count in row["labels"].items())
        print(
            f"{row['model']}/{row['version']}: {row['texts']} texts ({labels}){share}, {row['first']} to {row['last']}"
        )
    for path in folder.files():
        print(f"{path}: {path.stat().st_size} bytes")
    if not rows:
        print(f"{options.folder}: no feedback")
    return 0


def _counts(entries: Iterable[FeedbackEntry]) -> list[dict[str, Any]]:
    labels: defaultdict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    answers: defaultdict[tuple[str, int], Counter[bool | None]] = defaultdict(Counter)
    times: dict[tuple[str, int], tuple[datetime, datetime]] = {}
    for entry in entries:
        of = (entry.model, entry.version)
        labels[of][entry.label] += 1
        answers[of][entry.right] += 1
        first, last = times.get(of, (entry.time, entry.time))
        times[of] = (min(first, entry.time), max(last, entry.time))
    rows = []
    for of in sorted(labels):
        right, wrong = answers[of][True], answers[of][False]
        rows.append(
            {
                "model": of[0],
                "version": of[1],
                "texts": labels[of].total(),
                "labels": dict(sorted(labels[of].items())),
                "right": right,
                "wrong": wrong,
                "accuracy": right / (right + wrong) if right + wrong else None,
                "first": times[of][0].date().isoformat(),
                "last": times[of][1].date().isoformat(),
            }
        )
    return rows


def _export(options: argparse.Namespace, folder: FeedbackFolder) -> int:
    """Write all entries as CSV, columns of the names that they have in the files."""
    if str(options.out) == "-":
        _write(folder, sys.stdout, escape=options.escape_formulas)
        return 0
    try:
        with options.out.open("x", encoding="utf-8", newline="") as file:
            count = _write(folder, file, escape=options.escape_formulas)
    except FileExistsError:
        raise DataError(f"{options.out}: is there already; name another file") from None
    except OSError as error:
        raise DataError(f"{options.out}: cannot be written ({error.strerror})") from error
    print(f"{options.out}: {count} texts")
    return 0


def _write(folder: FeedbackFolder, file: Any, *, escape: bool) -> int:
    columns = list(FeedbackEntry.model_fields)
    rows, count = csv.DictWriter(file, columns, lineterminator="\n"), 0
    rows.writeheader()
    for count, entry in enumerate(folder.entries(), start=1):  # noqa: B007 - counts
        values = entry.model_dump(mode="json")
        if escape:
            values = {name: harmless(value) for name, value in values.items()}
        rows.writerow(values)
    return count


def _delete(options: argparse.Namespace, folder: FeedbackFolder) -> int:
    """Delete entries by text or age."""
    if options.text is not None:
        text = (sys.stdin.read() if options.text == "-" else options.text).strip()
        count = folder.delete(lambda entry: entry.text.strip() == text)
    elif options.older_than is not None:
        if not 0 <= options.older_than <= _MOST_DAYS:
            raise OptionError("older_than", f"must be 0 to {_MOST_DAYS} days")
        limit = datetime.now(UTC) - timedelta(days=options.older_than)
        count = folder.delete(lambda entry: entry.time < limit)
    else:
        count = folder.delete(lambda _: True)
    print(f"{options.folder}: {count} texts deleted")
    return 0
