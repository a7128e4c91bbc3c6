"""``POST /files`` in front of a classifier with faults to order: answers, refusals, bounds, and what is left behind."""

from __future__ import annotations

import asyncio
import csv
import errno
import gzip
import io
import json
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.types import Message, Receive

from app.errors import DeadlineError, OverloadedError
from app.files import workbook as workbooks
from app.files.lines import OLD_MARK
from app.http.body import ClientGoneError
from app.http.uploads.file_places import Turns
from app.http.uploads.files import FilesEndpoint
from app.report.findings import Findings, Wanted
from app.report.page import page_of
from app.sentiment import Outcome, Prediction
from app.serving.pending import Listener
from app.settings import Settings
from tests.fakes import MODEL, FakeClassifier, application, client_of
from tests.files.tables import table_of, workbook
from tests.http.shapes import assert_problem, sample
from tests.report.scored import Row, scored

MEDIA_OF_WORKBOOKS = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
REVIEWS = b"id,review\n1,a good film\n2,\n3,bad\n"
CSV_TYPE = {"Content-Type": "text/csv"}
OK = {"unknown": 0.0, "judgement": "ok"}
RESULTS: list[dict[str, Any]] = [
    {"label": "positive", "score": 0.75, "tokens": 3, "truncated": False, **OK, "error": None},
    {"label": None, "score": None, "tokens": None, "truncated": None, **dict.fromkeys(OK), "error": "empty_cell"},
    {"label": "positive", "score": 0.75, "tokens": 3, "truncated": False, **OK, "error": None},
]
ROWS: list[dict[str, Any]] = [
    {"id": number, "review": text, **result}
    for (number, text), result in zip((("1", "a good film"), ("2", ""), ("3", "bad")), RESULTS, strict=True)
]


async def post(
    content: bytes | AsyncIterator[bytes] = REVIEWS,
    query: str = "",
    headers: dict[str, str] = CSV_TYPE,
    classifier: FakeClassifier | None = None,
    **settings: Any,
) -> httpx.Response:
    async with client_of(application(classifier, **settings)) as client:
        return await client.post(f"/files{query}", content=content, headers=headers)


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.splitlines()]


async def test_rows_come_back_with_results() -> None:
    """In order, the user's columns first; the headers say what there will be."""
    response = await post()
    assert lines(response) == ROWS
    assert list(lines(response)[0]) == list(ROWS[0])
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.headers["x-rows"] == "3"
    assert response.headers["x-model"] == "tiny/1"
    assert response.headers["x-result-columns"] == "label,score,tokens,truncated,unknown,judgement,error"
    assert response.headers["x-text-column"] == "review"
    assert response.headers["x-layout"] == "CSV, values between commas, 2 columns named in the first row"
    assert response.headers["x-bad-rows"] == "0"


def as_parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"id": ["1", "2", "3"], "review": ["a good film", "", "bad"]}), file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "query", "headers"),
    [
        (REVIEWS, "?format=csv", {}),
        (REVIEWS, "?text_column=review&output=jsonl", {"Content-Type": "Text/CSV; charset=utf-8"}),
        (REVIEWS.replace(b",", b";"), "?delimiter=;", CSV_TYPE),
        (REVIEWS.replace(b",", b";"), "", CSV_TYPE),
        (REVIEWS.replace(b",", b"\t"), "?delimiter=%5Ct", CSV_TYPE),
        (REVIEWS, "", {"Content-Type": "text/csv; charset=cp1252"}),
        (gzip.compress(REVIEWS[:9]) + gzip.compress(REVIEWS[9:]), "", {**CSV_TYPE, "Content-Encoding": "gzip"}),
        (json.dumps([{"id": row["id"], "review": row["review"]} for row in ROWS]).encode(),
         "?format=json", {"Content-Type": "application/json"}),
        (REVIEWS.replace(b",", b"\t"), "", {"Content-Type": "text/tab-separated-values"}),
        (b"\n".join(json.dumps({"id": row["id"], "review": row["review"]}).encode() for row in ROWS),
         "", {"Content-Type": "application/x-ndjson"}),
        (as_parquet(), "", {"Content-Type": "application/vnd.apache.parquet"}),
    ],
)  # fmt: skip
async def test_every_format(content: bytes, query: str, headers: dict[str, str]) -> None:
    """By parameter or by header."""
    assert lines(await post(content, query, headers)) == ROWS


@pytest.mark.parametrize(("query", "headers"), [("?output=csv", {}), ("", {"Accept": "text/csv"})])
async def test_results_as_csv(query: str, headers: dict[str, str]) -> None:
    """By parameter or by header."""
    response = await post(REVIEWS, query, {**CSV_TYPE, **headers})
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    found = list(csv.DictReader(io.StringIO(response.text, newline="")))
    assert [(row["id"], row["label"], row["truncated"], row["error"]) for row in found] == [
        ("1", "positive", "false", ""),
        ("2", "", "", "empty_cell"),
        ("3", "positive", "false", ""),
    ]


async def test_many_rows_arrive_in_order() -> None:
    """Across windows and pieces, each exactly once."""
    content = b"text\n" + b"".join(b"text %d\n" % number for number in range(500))
    answers = {f"text {number}": Prediction((0.5, 0.5), number + 1, False) for number in range(500)}
    response = await post(content, classifier=FakeClassifier(answers))
    assert [row["tokens"] for row in lines(response)] == list(range(1, 501))


@pytest.mark.parametrize(
    ("content", "query", "headers", "status", "code", "named"),
    [
        (REVIEWS, "", {}, 415, "unsupported_media_type", "text/csv"),
        (REVIEWS, "", {"Content-Type": "multipart/form-data; boundary=x"}, 415, "unsupported_media_type", "not a form"),
        (REVIEWS, "", {**CSV_TYPE, "Content-Encoding": "br"}, 415, "unsupported_encoding", "must be gzip"),
        (REVIEWS, "", {**CSV_TYPE, "Content-Encoding": "gzip"}, 400, "invalid_encoding", "not valid gzip"),
        (gzip.compress(REVIEWS)[:-4], "", {**CSV_TYPE, "Content-Encoding": "gzip"}, 400, "invalid_encoding", "gzip"),
        (
            gzip.compress(b"text\n" + b"a" * 2000),
            "",
            {**CSV_TYPE, "Content-Encoding": "gzip"},
            413,
            "body_too_large",
            "",
        ),
        (gzip.compress(REVIEWS), "", CSV_TYPE, 422, "invalid_file", "compressed with gzip"),
        (b"<html></html>", "", CSV_TYPE, 422, "invalid_file", "a web page"),
        (REVIEWS, "?format=xls", {}, 422, "invalid_request", "format"),
        (REVIEWS, "", {"Content-Type": "application/vnd.ms-excel"}, 415, "unsupported_media_type", "save it as .xlsx"),
        (OLD_MARK, "?format=xlsx", {}, 422, "invalid_file", "an old spreadsheet (.xls)"),
        (REVIEWS.decode().encode("utf-16"), "", CSV_TYPE, 422, "invalid_file", "this is UTF-16; save it as UTF-8"),
        (REVIEWS, "?on_bad_row=burn", CSV_TYPE, 422, "invalid_request", "on_bad_row"),
        (REVIEWS, "?no_header=yes", CSV_TYPE, 422, "invalid_request", "no_header"),
        (REVIEWS, "?quoting=some", CSV_TYPE, 422, "invalid_request", "quoting"),
        (REVIEWS, "?encoding=utf-16", CSV_TYPE, 422, "invalid_request", "encoding"),
        (REVIEWS, "", {"Content-Type": "text/csv; charset=none"}, 422, "invalid_request", "encoding"),
        (REVIEWS, "?output=parquet", CSV_TYPE, 422, "invalid_request", "output"),
        (REVIEWS, "?delimiter=%22", CSV_TYPE, 422, "invalid_request", "delimiter"),
        (REVIEWS, "?colour=red", CSV_TYPE, 422, "invalid_request", "colour"),
        (REVIEWS, "?format=csv&format=csv", {}, 422, "invalid_request", "query"),
        (REVIEWS, "?text_column=%FF", CSV_TYPE, 422, "invalid_request", "query"),
        (REVIEWS, "?text_column=text", CSV_TYPE, 422, "invalid_file", "no column 'text'; there are 'id', 'review'"),
        (b"", "", CSV_TYPE, 422, "invalid_file", "empty"),
        (REVIEWS + b"4,x,y\n", "", CSV_TYPE, 422, "invalid_file", "file, line 5: 3 values"),
        (REVIEWS, "?format=parquet", {}, 422, "invalid_file", "not a readable Parquet file"),
        (b"text\n" + b"a" * 2000, "", CSV_TYPE, 413, "body_too_large", "1024 bytes"),
    ],
)
async def test_refusals(
    content: bytes, query: str, headers: dict[str, str], status: int, code: str, named: str, tmp_path: Path
) -> None:
    """A problem document before anything is scored, also for what is off in the last row; nothing is left on disk."""
    refused = sample("sentiment_files_total", outcome="refused")
    response = await post(content, query, headers, max_file=1024, file_folder=tmp_path)
    assert named in assert_problem(response, status, code)["detail"]
    assert sample("sentiment_files_total", outcome="refused") == refused + 1
    assert not os.listdir(tmp_path)  # noqa: PTH208 - a test may block


async def test_a_starting_service_refuses() -> None:
    """As it does every text."""
    async with client_of(application(lambda: None)) as client:
        response = await client.post("/files", content=REVIEWS, headers=CSV_TYPE)
    assert_problem(response, 503, "engine_unavailable")


async def test_how_a_file_is_read_can_be_said() -> None:
    """As at the command line, by the same names."""
    content = "1,caf\xe9\n2,NA\n3\n".encode("cp1252")
    query = "?encoding=cp1252&no_header=true&text_column=column_2&on_bad_row=mark&keep_na=true"
    response = await post(content, query)
    rows = [(row["column_1"], row["column_2"], row["error"]) for row in lines(response)]
    assert rows == [("1", "café", None), ("2", "NA", None), ("", "3", "bad_row")]
    assert response.headers["x-bad-rows"] == "1"
    assert response.headers["x-layout"] == "CSV, values between commas, 2 columns, no header"
    rest = lines(await post(REVIEWS + b"4,a,b\n", "?on_bad_row=skip"))
    assert [(row["id"], row["error"]) for row in rest] == [("1", None), ("2", "empty_cell"), ("3", None)]
    assert [row["id"] for row in lines(await post(b'id,text\n"1,a\n', "?quoting=none"))] == ['"1']
    absent = {"Content-Type": "text/csv; header=absent"}
    assert [row["column_1"] for row in lines(await post(b"good\n", "", absent))] == ["good"]


async def test_a_workbook() -> None:
    """Its first sheet."""
    response = await post(workbook([("id", "review"), (1, "a good film"), (2, None)]), "?format=xlsx")
    assert [(row["id"], row["review"], row["error"]) for row in lines(response)] == [
        (1, "a good film", None),
        (2, None, "empty_cell"),
    ]


async def test_a_workbook_is_the_answer() -> None:
    """Whole, in the end, with the headers of any other; nothing is left on the disk; too many rows are refused."""
    response = await post(b"id,review\n1,a good film\n2,=1+1\n3,\n", "?format=csv&output=xlsx")
    assert response.headers["content-type"] == MEDIA_OF_WORKBOOKS
    assert (response.headers["x-rows"], response.headers["x-model"]) == ("3", "tiny/1")
    [sheet] = openpyxl.load_workbook(io.BytesIO(response.content)).worksheets
    assert [row[:3] for row in sheet.iter_rows(values_only=True)] == [
        ("id", "review", "label"),
        (1, "a good film", "positive"),
        (2, "=1+1", "positive"),
        (3, None, None),
    ]


async def test_what_no_workbook_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """422, before anything is computed."""
    monkeypatch.setattr(workbooks, "MOST_ROWS", 3)
    response = await post(b"review\na\nb\nc\n", "?format=csv&output=xlsx")
    assert "do not fit into a sheet of Excel" in assert_problem(response, 422, "invalid_file")["detail"]


async def test_names_in_headers_are_encoded() -> None:
    """Whatever a column is called."""
    response = await post("Bewertung\r\n".replace("w", "ü").encode() + b"good\n")
    assert response.headers["x-text-column"] == "Be%C3%BCertung"


async def test_what_may_help_is_named() -> None:
    """By parameters that there are, beside a detail that is true for every interface."""
    response = await post(b"id,body2\n1,a\n")
    problem = assert_problem(response, 422, "invalid_file")
    assert [error["field"] for error in problem["errors"]] == ["text_column", "no_header"]
    problem = assert_problem(await post(gzip.compress(REVIEWS)), 422, "invalid_file")
    assert [error["field"] for error in problem["errors"]] == ["Content-Encoding"]


async def test_formulas_are_kept_from_spreadsheets() -> None:
    """On demand, in CSV."""
    content = b"text,x\na good film,=1+1\n"
    plain, safe = [(await post(content, f"?output=csv{more}")).text for more in ("", "&escape_formulas=true")]
    assert ",=1+1," in plain
    assert ",'=1+1," in safe


async def test_the_columns_of_a_file_by_its_start() -> None:
    """The same guess as of the whole file, also where the start ends within a row."""
    start = (b"id;Review\n" + b'1;"good, very good"\n' * 4000)[:65_536]
    async with client_of(application()) as client:
        response = await client.post("/files/columns", content=start, headers=CSV_TYPE)
        assert response.json() == {
            "columns": ["id", "Review"],
            "text_column": "Review",
            "layout": "CSV, values between ';', 2 columns named in the first row",
            "delimiter": ";",
            "rows": [["1", "good, very good"]] * 5,
        }
        response = await client.post("/files/columns?format=jsonl", content=b'{"a":1,"b":"x"}\n{"a"')
        found = {"columns": ["a", "b"], "text_column": None, "layout": "JSON, an object a line", "delimiter": None}
        assert response.json() == {**found, "rows": [["1", "x"]]}
        for content, query, status, code in [
            (b"<html>", "", 422, "invalid_file"),
            (b"PAR1", "?format=parquet", 422, "invalid_file"),
            (b"a" * (1 << 20) + b"b", "", 413, "body_too_large"),
        ]:
            response = await client.post(f"/files/columns{query}", content=content, headers=CSV_TYPE)
            assert_problem(response, status, code)


async def test_the_columns_of_a_small_workbook() -> None:
    """Whose start would tell nothing: it is sent as a whole. Values are text, long ones shortened."""
    content = workbook([["date", "text"], [date(2025, 1, 2), "good " * 100], [None, "bad"]])
    async with client_of(application()) as client:
        response = await client.post("/files/columns?format=xlsx", content=content)
    found = response.json()
    assert (found["columns"], found["text_column"], found["layout"]) == (
        ["date", "text"],
        "text",
        "XLSX, sheet 'Sheet'",
    )
    assert [row[0] for row in found["rows"]] == ["2025-01-02T00:00:00", ""]
    assert [len(row[1]) for row in found["rows"]] == [300, 3]


SCORED = scored(
    [Row("good film", more=("A", "2025-01-02")), Row("bad", "negative", more=("B", "2025-02-03"))] * 300,
    ("shop", "day"),
)


async def test_a_report_on_a_scored_file() -> None:
    """The page that the command writes of the same file, with its name and its model; nothing is classified."""
    classifier = FakeClassifier()
    query = "?output=html&group_by=shop&time_column=day&name=shop.csv&scored_by=tiny/7"
    async with client_of(application(classifier)) as client:
        response = await client.post(f"/files{query}", content=SCORED, headers=CSV_TYPE)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["x-rows"] == "600"
    findings = Findings(Wanted(("shop",), "day"))
    findings.add(table_of(SCORED), "shop.csv", "")
    assert response.text == page_of(findings, "tiny/7")
    assert "By tiny/7" in response.text
    assert not classifier.started.is_set()


@pytest.mark.parametrize(
    ("content", "query", "code", "says", "field"),
    [
        (b"text\ngood\n", "", "invalid_file", "this file was not scored", None),
        (SCORED, "&group_by=store", "invalid_file", "no column 'store'; there are 'text', 'shop'", "group_by"),
        (SCORED, "&time_column=shop", "invalid_file", "cannot be read as times", "time_column"),
        (SCORED, "&time_format=%25d", "invalid_request", "must say how dates are written", "time_format"),
        (SCORED, "".join(f"&group_by={n}" for n in range(11)), "invalid_request", "at most 10 columns", "group_by"),
        (SCORED, "&name=a&name=b", "invalid_request", "must not name a parameter twice", "query"),
        (SCORED, "&scored=1", "invalid_request", "unknown parameter", "scored"),
    ],
)
async def test_a_report_that_cannot_be(content: bytes, query: str, code: str, says: str, field: str | None) -> None:
    """The field and what there is instead; nothing of a report was sent before."""
    async with client_of(application()) as client:
        response = await client.post(f"/files?output=html{query}", content=content, headers=CSV_TYPE)
    problem = assert_problem(response, 422, code)
    assert says in problem["detail"]
    assert field in {None, *(error["field"] for error in problem.get("errors", []))}


async def test_a_report_as_a_workbook() -> None:
    """The rows as they were sent, and the report's tables."""
    query = "?output=report-xlsx&group_by=shop&time_column=day"
    async with client_of(application()) as client:
        response = await client.post(f"/files{query}", content=SCORED, headers=CSV_TYPE)
    assert response.headers["content-type"] == MEDIA_OF_WORKBOOKS
    book = openpyxl.load_workbook(io.BytesIO(response.content))
    assert book.sheetnames[0] == "rows"
    assert {"shares", "by-shop", "over-time"} < set(book.sheetnames)
    assert book["rows"].max_row == 601
    assert [cell.value for cell in book["rows"][1]] == next(csv.reader(SCORED.decode().splitlines()))


async def test_what_only_a_report_knows() -> None:
    """Is an unknown parameter elsewhere."""
    async with client_of(application()) as client:
        response = await client.post("/files?group_by=shop", content=SCORED, headers=CSV_TYPE)
    assert "group_by: unknown parameter" in assert_problem(response, 422, "invalid_request")["detail"]


async def test_the_number_of_files_is_bounded() -> None:
    """One more is told to come back; when one ends there is room again."""
    gate = asyncio.Event()
    classifier = FakeClassifier(gate=gate)
    async with client_of(application(classifier, max_transfers=1)) as client:
        first = asyncio.create_task(client.post("/files", content=REVIEWS, headers=CSV_TYPE))
        await classifier.started.wait()
        assert sample("sentiment_files_in_progress") == 1
        refused = await client.post("/files", content=REVIEWS, headers=CSV_TYPE)
        assert "limit is 1" in assert_problem(refused, 503, "overloaded")["detail"]
        gate.set()
        assert lines(await first) == ROWS
        assert lines(await client.post("/files", content=REVIEWS, headers=CSV_TYPE)) == ROWS
    assert sample("sentiment_files_in_progress") == 0


def open_upload(started: asyncio.Event) -> AsyncIterator[bytes]:
    """A body that begins, and goes on for ever with nothing."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"text\n"
        started.set()
        await asyncio.sleep(3600)

    return pieces()


async def test_slow_uploads_close_the_service_for_nobody_else() -> None:
    """As many as files may be scored at once are on their way from others, and this one is answered at once."""
    app = application(max_files=1, max_transfers=8)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client_of(app, address)) for address in ("10.0.0.1", "10.0.0.2")]
        slow, started = [], [asyncio.Event() for _ in range(2)]
        for event in started:
            slow.append(asyncio.create_task(clients[0].post("/files", content=open_upload(event), headers=CSV_TYPE)))
            await event.wait()
        refused = await clients[0].post("/files", content=REVIEWS, headers=CSV_TYPE)
        assert "2 files of this client" in assert_problem(refused, 503, "overloaded")["detail"]
        assert lines(await clients[1].post("/files", content=REVIEWS, headers=CSV_TYPE)) == ROWS
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
    assert sample("sentiment_files_in_progress") == 0


async def test_a_slow_reader_keeps_no_turn() -> None:
    """While one client takes nothing of its results, those of another are computed."""
    endpoint = FilesEndpoint(FakeClassifier, Settings(max_files=1, file_stall=30))
    taking = asyncio.Event()
    sent: list[Message] = []

    async def send_nothing(message: Message) -> None:
        if message.get("body"):
            taking.set()
            await asyncio.sleep(3600)

    async def send(message: Message) -> None:
        sent.append(message)

    stuck = asyncio.create_task(endpoint(file_scope(), uploading([UPLOADED]), send_nothing))
    await taking.wait()
    async with asyncio.timeout(20):
        await endpoint(file_scope(), uploading([UPLOADED]), send)
    assert sent[-1]["more_body"] is False
    stuck.cancel()
    await asyncio.gather(stuck, return_exceptions=True)


async def test_a_turn_is_waited_for_within_bounds() -> None:
    """503 before anything is answered; nobody waits for a client that is gone."""
    turns, gone = Turns(1, patience=0.05), asyncio.create_task(asyncio.sleep(3600))
    async with turns.turn(gone):
        with pytest.raises(OverloadedError, match="other files had their turns"):
            async with turns.turn(gone):
                pytest.fail("two at once")
    async with turns.turn(gone):
        pass
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    with pytest.raises(ClientGoneError):
        async with turns.turn(gone):
            pytest.fail("for nobody")


async def test_no_room_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody must look at the machine, and the client may come back."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    response = await post(file_folder=tmp_path)
    assert "no room" in assert_problem(response, 503, "overloaded")["detail"]


async def test_a_disk_that_is_full_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where what there is no room for is so little that it was still in a buffer."""
    full = Path("/dev/full")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda buffering=-1, **_: full.open("r+b", buffering))
    assert "no room" in assert_problem(await post(), 503, "overloaded")["detail"]


async def test_a_disk_that_is_full_before_the_answer_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A workbook that cannot be finished is broken off, the log says why, and nothing is left."""

    class Full(tempfile.TemporaryDirectory[str]):
        def __init__(self, **_: object) -> None:
            super().__init__(dir=tmp_path)
            (Path(self.name) / "partial").symlink_to("/dev/full")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", Full)
    sent: list[Message] = []
    await exchange(FakeClassifier(), [UPLOADED], sent, form=b"csv&output=xlsx")
    assert all(message["more_body"] for message in sent[1:])
    assert "a file was broken off" in caplog.text
    assert "No space left" in caplog.text
    assert not os.listdir(tmp_path)  # noqa: PTH208 - a test may block


class BusyClassifier(FakeClassifier):
    """Full at first, then out of time for a text, then at work."""

    def __init__(self, faults: Iterator[Outcome | None]) -> None:
        super().__init__()
        self.faults = faults
        self.calls = 0

    async def classify(
        self, texts: Sequence[str], *, timeout: float | None = None, early: Listener | None = None
    ) -> list[Outcome]:
        self.calls += 1
        fault = next(self.faults, None)
        if isinstance(fault, OverloadedError):
            raise fault
        outcomes = await super().classify(texts, timeout=timeout)
        return outcomes if fault is None else [fault, *outcomes[1:]]


async def test_a_full_service_is_waited_for() -> None:
    """No row gets an error that another moment would have spared it."""
    faults = [OverloadedError("full", 0.01), DeadlineError("late"), OverloadedError("full", 0.01)]
    classifier = BusyClassifier(iter(faults))
    assert lines(await post(classifier=classifier)) == ROWS
    assert classifier.calls == 4


def file_scope(form: bytes = b"csv") -> dict[str, Any]:
    """A request as a server hands it on."""
    return {"type": "http", "method": "POST", "path": "/files", "query_string": b"format=" + form, "headers": []}


def uploading(upload: Sequence[Message]) -> Receive:
    """What gives these messages, and then nothing."""
    waiting = list(upload)

    async def receive() -> Message:
        if waiting:
            return waiting.pop(0)
        await asyncio.sleep(3600)
        raise AssertionError

    return receive


async def exchange(
    classifier: FakeClassifier,
    upload: Sequence[Message],
    sent: list[Message],
    stall: float = 0.0,
    form: bytes = b"csv",
    **settings: Any,
) -> None:
    """Call the endpoint as a server does; each ``send`` of a body takes ``stall`` seconds."""

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.sleep(stall)
        sent.append(message)

    async with asyncio.timeout(30):
        await FilesEndpoint(lambda: classifier, Settings(**settings))(file_scope(form), uploading(upload), send)


UPLOADED: Message = {"type": "http.request", "body": REVIEWS, "more_body": False}
GONE: Message = {"type": "http.disconnect"}


def test_fake_model_has_no_rating() -> None:
    """What the expected rows above take for granted."""
    assert not MODEL.config.rating


async def test_patience_has_an_end() -> None:
    """The response stays without its end, so that nobody takes it for a whole one."""
    sent: list[Message] = []
    failed = sample("sentiment_files_total", outcome="failed")
    await exchange(FakeClassifier(error=OverloadedError("full", 0.01)), [UPLOADED], sent, file_patience=0.2)
    assert sent[0]["status"] == 200
    assert all(message["more_body"] for message in sent[1:])
    assert sample("sentiment_files_total", outcome="failed") == failed + 1


async def test_a_slow_reader_is_waited_for_within_bounds() -> None:
    """One that takes something now and then gets everything; one that takes nothing is given up."""
    sent: list[Message] = []
    await exchange(FakeClassifier(), [UPLOADED], sent, stall=0.1, file_stall=5)
    assert sent[-1]["more_body"] is False
    sent.clear()
    await exchange(FakeClassifier(), [UPLOADED], sent, stall=10, file_stall=0.1)
    assert [message["type"] for message in sent] == ["http.response.start"]


async def test_results_are_sent_in_small_pieces() -> None:
    """So that taking one, not a whole portion of large rows, is what a slow reader must do in time."""
    sent: list[Message] = []
    content = b"text,more\n" + b"".join(b"a good film,%b\n" % (b"x" * 20_000) for _ in range(64))
    await exchange(FakeClassifier(), [{"type": "http.request", "body": content, "more_body": False}], sent)
    bodies = [message["body"] for message in sent[1:]]
    assert max(map(len, bodies)) == 65_536
    assert [len(json.loads(line)["more"]) for line in b"".join(bodies).splitlines()] == [20_000] * 64


async def test_a_client_that_stops_sending() -> None:
    """408, and what it had sent is gone."""
    sent: list[Message] = []
    half: Message = {"type": "http.request", "body": b"text\n", "more_body": True}
    done = asyncio.create_task(exchange(FakeClassifier(), [half], sent, file_stall=0.1))
    await asyncio.wait_for(done, 20)
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["code"] == "upload_stalled"


@pytest.mark.parametrize("upload", [[UPLOADED, GONE], [GONE]])
async def test_a_client_that_goes_away(upload: list[Message]) -> None:
    """What was begun for it is given up at once."""
    sent: list[Message] = []
    abandoned = sample("sentiment_files_total", outcome="abandoned")
    await exchange(FakeClassifier(gate=asyncio.Event()), upload, sent)
    assert sample("sentiment_files_total", outcome="abandoned") == abandoned + 1
    assert sample("sentiment_files_in_progress") == 0


async def test_a_file_damaged_in_its_middle() -> None:
    """Parquet is not read twice: damage found on the way breaks the response off."""
    file = io.BytesIO()
    reviews = [f"a good film, number {number}" for number in range(200)]
    pq.write_table(pa.table({"text": reviews}), file, row_group_size=100, compression="none", use_dictionary=False)
    data = bytearray(file.getvalue())
    middle = data.index(b"number 150")
    data[middle - 400 : middle] = b"\xff" * 400
    sent: list[Message] = []
    upload: Message = {"type": "http.request", "body": bytes(data), "more_body": False}
    await exchange(FakeClassifier(), [upload], sent, form=b"parquet")
    assert sent[0]["status"] == 200
    assert sent[-1]["more_body"] is True
