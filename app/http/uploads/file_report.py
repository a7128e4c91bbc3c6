"""A report as the answer to ``POST /files``: the page that ``report`` writes, or a workbook, of a file that was scored
before.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from app.files.layout import WORKBOOK_TYPE
from app.files.table import Table, header_of
from app.report.findings import Findings, Wanted
from app.report.page import add_sheets, page_of

HTML = "html"
WORKBOOK = "report-xlsx"
REPORTS = {
    HTML: "text/html; charset=utf-8",
    WORKBOOK: WORKBOOK_TYPE,
}
"""Media types by ``output``."""
_LONGEST_NAME = 200
_USUAL_NAME = "a file"
_WINDOW_ROWS = 256


@dataclass(frozen=True)
class ReportRequest:
    """What a report is asked to say.

    Attributes:
        wanted: what it compares.
        name: what it calls the file.
        model: what scored the rows, where somebody says so.
        output: see ``REPORTS``.
    """

    wanted: Wanted
    name: str
    model: str | None
    output: str


def report_request(output: str, groups: Sequence[str], fields: dict[str, str]) -> ReportRequest:
    """The parameters of a report, which are taken out of ``fields``.

    Raises:
        OptionError: one of them cannot be.
    """
    time_column, time_format = fields.pop("time_column", None), fields.pop("time_format", None)
    name, model = fields.pop("name", ""), fields.pop("scored_by", "")
    wanted = Wanted(groups, time_column, time_format)
    return ReportRequest(wanted, name[:_LONGEST_NAME] or _USUAL_NAME, model[:_LONGEST_NAME] or None, output)


def report_steps(request: ReportRequest, table: Table) -> Iterator[bytes]:
    """Read the rows, nothing at a time but the report at the end, so that a reader may stop in between.

    Raises:
        DataError: the file was not scored, or lacks a column that was asked for, or that has hardly any times.
    """
    findings, header = Findings(request.wanted), header_of(table)
    rows = findings.begin(request.name, header, table.text_column)

    def counted() -> Iterator[Sequence[Sequence[Any]]]:
        for window in table.windows(_WINDOW_ROWS):
            values = window.values(header)
            rows.add(window.texts, values)
            yield values

    if request.output == HTML:
        for _ in counted():
            yield b""
        findings.end(rows, table, "")
        yield page_of(findings, request.model).encode()
        return
    from app.files.workbook import Workbook, check_rows

    check_rows(table.rows)
    book, file = Workbook(), io.BytesIO()
    for _ in book.steps("rows", header, counted()):
        yield b""
    findings.end(rows, table, "")
    add_sheets(book, findings, request.model)
    book.save(file)
    yield file.getvalue()
