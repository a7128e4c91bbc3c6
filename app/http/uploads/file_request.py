"""What ``POST /files`` is asked: format and columns of the file, format of the answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message
from enum import StrEnum
from importlib.util import find_spec
from typing import TypeVar
from urllib.parse import parse_qsl

from starlette.types import Scope

from app.errors import DataError, OptionError
from app.files.layout import WORKBOOK_TYPE, Format, Layout
from app.files.options import OnBadRow, Quoting, ReadOptions
from app.http.problems import Problem, invalid
from app.http.uploads.file_report import REPORTS, ReportRequest, report_request

FILES_PATH = "/files"
COLUMNS_PATH = "/files/columns"

MEDIA_TYPES = {
    "text/csv": Format.CSV,
    "text/tab-separated-values": Format.TSV,
    "application/x-ndjson": Format.JSONL,
    "application/jsonl": Format.JSONL,
    WORKBOOK_TYPE: Format.XLSX,
    "application/vnd.apache.parquet": Format.PARQUET,
}
_OLD_EXCEL = "application/vnd.ms-excel"
"""Browsers call CSV so too, where Excel is installed."""
ANSWERS = {
    Format.JSONL: "application/x-ndjson",
    Format.CSV: "text/csv; charset=utf-8",
    Format.XLSX: WORKBOOK_TYPE,
}
_LIBRARIES = {Format.PARQUET: "pyarrow", Format.XLSX: "openpyxl"}
"""What some formats need."""
_REMEDIES = {"compression": ("Content-Encoding", "gzip is taken, where this header says so")}
"""What helps where no parameter does."""
_CLOSE = {"Connection": "close"}
_GROUP_BY = "group_by"
"""The one parameter that may be given several times."""

_Choice = TypeVar("_Choice", bound=StrEnum)


@dataclass(frozen=True)
class FileRequest:
    """One request.

    Attributes:
        layout: how the file is written.
        options: how it is read.
        answer: format of the results.
        escape_formulas: whether values of CSV results that a spreadsheet would compute are kept from it.
        model: what is to score it, of what is loaded; None: what is served.
        report: what the answer says, where it is a report in the place of rows.
    """

    layout: Layout
    options: ReadOptions
    answer: Format
    escape_formulas: bool
    model: str | None
    report: ReportRequest | None = None


def parse_file_request(scope: Scope) -> FileRequest:
    """Query parameters and headers of a request.

    Raises:
        Problem: 415 for a format nobody reads here, 422 for a parameter that is off.
    """
    try:
        query = parse_qsl(scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise _invalid("query", "must be percent-encoded UTF-8") from None
    groups = [value for name, value in query if name == _GROUP_BY]
    fields = dict(query)
    if len(fields) < len(query) - len(groups[1:]):
        raise _invalid("query", "must not name a parameter twice")
    media_type = Message()
    media_type["content-type"] = _header(scope, b"content-type")
    found = _format(fields.pop("format", None), media_type.get_content_type() if media_type["content-type"] else "")
    output = fields.pop("output", None)
    answer, escapes = _answer(output, scope), _flag(fields, "escape_formulas")
    model = fields.pop("model", None)
    # What the type says about a CSV file counts where the query does not (RFC 4180, section 3).
    charset, header = media_type.get_param("charset"), media_type.get_param("header")
    try:
        options = ReadOptions(
            text_column=fields.pop("text_column", None),
            format=found,
            delimiter=fields.pop("delimiter", None),
            encoding=fields.pop("encoding", None) or (charset if isinstance(charset, str) else "utf-8"),
            no_header=_flag(fields, "no_header", default=header == "absent"),
            quoting=_choice(fields, "quoting", Quoting),
            on_bad_row=_choice(fields, "on_bad_row", OnBadRow),
            keep_na=_flag(fields, "keep_na"),
        )
        report = None
        if output in REPORTS:
            fields.pop(_GROUP_BY, None)
            report = report_request(output, groups, fields)
    except OptionError as error:
        raise _invalid(error.option, error.message) from None
    if fields:
        raise _invalid(next(iter(fields)), "unknown parameter")
    return FileRequest(Layout(found), options, answer, escapes, model, report)


def invalid_file(error: DataError) -> Problem:
    """What is wrong with a file, and the parameters that may help."""
    helpful = [_REMEDIES.get(option, (option, "this parameter may help")) for option in error.options]
    return Problem(422, "invalid_file", str(error), [{"field": name, "message": text} for name, text in helpful])


def _choice(fields: dict[str, str], name: str, choices: type[_Choice]) -> _Choice:
    """A parameter that is one of several words, of which the first counts where there is none."""
    given = fields.pop(name, None)
    for choice in choices:
        if given in (None, choice):
            return choice
    raise _invalid(name, f"must be one of {_listed(choices)}")


def _flag(fields: dict[str, str], name: str, *, default: bool = False) -> bool:
    given = fields.pop(name, None)
    if given not in (None, "true", "false"):
        raise _invalid(name, "must be true or false")
    return default if given is None else given == "true"


def _format(given: str | None, media_type: str) -> Format:
    if given is None:
        found = MEDIA_TYPES.get(media_type)
    else:
        found = Format(given) if given in set(Format) else None
        if found is None:
            raise _invalid("format", f"must be one of {_listed(Format)}")
    if found is None:
        if media_type == _OLD_EXCEL:
            raise _unsupported("an old spreadsheet (.xls) is not read; save it as .xlsx or CSV. Of CSV say format=csv")
        wanted = f"content-type must be one of {_listed(MEDIA_TYPES)}, or format one of {_listed(Format)}"
        raise _unsupported(f"the body is the file itself, not a form: {wanted}")
    library = _LIBRARIES.get(found)
    if library and find_spec(library) is None:
        raise _unsupported(f"this service reads no {found}: {library} is not installed")
    return found


def _answer(given: str | None, scope: Scope) -> Format:
    if given is None:
        return Format.CSV if _header(scope, b"accept").partition(";")[0].strip().lower() == "text/csv" else Format.JSONL
    if given in REPORTS:
        return Format.JSONL
    for found in ANSWERS:
        if given == found:
            return found
    raise _invalid("output", f"must be one of {_listed([*ANSWERS, *REPORTS])}")


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _unsupported(detail: str) -> Problem:
    return Problem(415, "unsupported_media_type", detail, headers=_CLOSE)


def _invalid(name: str, message: str) -> Problem:
    return invalid("invalid_request", name[:200], message, _CLOSE)
