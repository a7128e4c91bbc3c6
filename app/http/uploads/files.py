"""``POST /files``: a table in, the same table with labels out, while it is computed.

The body is spooled to disk, looked through once, and then scored in small pieces, one at a time, so that everybody
else's texts wait for one such piece at most. Nothing of it is in memory but the rows that are on their way.
"""

from __future__ import annotations

import asyncio
import io
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import MappingProxyType
from typing import IO, TypeVar
from urllib.parse import quote

from starlette.types import Message, Receive, Scope, Send

from app import metrics
from app.errors import DataError, EngineUnavailableError, OverloadedError, ServiceError
from app.files.layout import WHOLE_FILES
from app.files.reading import Survey, open_table
from app.files.results import ResultColumns
from app.files.table import Table, texts_of
from app.files.writing import Encoder, Style, encoder_for
from app.http.auth.meter import Meter, meter_of
from app.http.body import ClientGoneError, disconnected, refuse
from app.http.problems import Problem
from app.http.uploads.file_places import Transfers, Turns
from app.http.uploads.file_report import REPORTS, ReportRequest, report_steps
from app.http.uploads.file_request import ANSWERS, FileRequest, invalid_file, parse_file_request
from app.http.uploads.piecewise import BrokenOffError, Piecewise
from app.http.uploads.spool import SlowClient, TooSlowError, Upload, spool_body
from app.serving.classifier import Classifier
from app.serving.versions import FurtherVersions
from app.settings import Settings

logger = logging.getLogger(__name__)

_WINDOW_ROWS = 64
_WINDOW_CHARACTERS = 1 << 20
_SENT_BYTES = 65_536
"""Most of the results that are sent at once: what a client must take in the time in which it may stall."""
_RETRY_SECONDS = 5.0
NAME = "file"
"""What messages call it."""
_SAFE = " ,;'()"
"""Besides letters, what stands in a header as it is."""

_Item = TypeVar("_Item")


class FilesEndpoint:
    """Answers ``POST /files``.

    Args:
        classifier: gives the classifier, or None while there is none.
        settings: limits.
        further: what is loaded beside what the classifier classifies with; None: nothing.
    """

    def __init__(
        self,
        classifier: Callable[[], Classifier | None],
        settings: Settings,
        further: FurtherVersions | None = None,
    ) -> None:
        self._classifier = classifier
        self._further = further or FurtherVersions()
        self._settings = settings
        self._transfers = Transfers(settings.max_transfers)
        self._turns = Turns(settings.max_files, settings.file_patience)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outcome, upload = "failed", Upload(receive)
        try:
            with self._transfers.place(scope):
                await self._answer(scope, upload, send)
            outcome = "done"
        except (Problem, ServiceError) as error:
            outcome = "refused"
            await refuse(error, scope, upload, send, unread=not upload.complete)
        except ClientGoneError:
            outcome = "abandoned"
        except BrokenOffError as error:
            # The response stays without its end, so that nobody takes it for a whole one.
            logger.warning("a file was broken off: %s", error)
        finally:
            metrics.FILES.labels(outcome).inc()

    async def _answer(self, scope: Scope, upload: Upload, send: Send) -> None:
        request, settings = parse_file_request(scope), self._settings
        classifier = self._classifier()
        if classifier is None:
            raise EngineUnavailableError("the service is starting", retry_after=1.0)
        with ExitStack() as stack:
            if request.model is not None and (found := self._further.find(request.model, classifier.model)) is not None:
                classifier = stack.enter_context(found).classifier
                scope["answered_by"] = classifier.named
            try:
                # Without a name, so that it is gone with the process, whatever becomes of that. What is closed in the
                # end has no buffer, for which there may be no room then either.
                kept = stack.enter_context(tempfile.TemporaryFile(dir=settings.file_folder, buffering=0))
                file = io.BufferedRandom(kept)
                client = SlowClient(settings.file_stall, settings.file_transfer, "sent")
                await spool_body(scope, upload, file, settings.max_file, client)
            except OSError as error:
                logger.exception("no file can be kept")
                raise OverloadedError("there is no room for files", _RETRY_SECONDS) from error
            gone = asyncio.create_task(disconnected(upload))
            try:
                table = await self._open(file, request, gone)
                if request.report is not None:
                    await self._report(table, request.report, send, gone)
                else:
                    await self._stream(table, request, classifier, send, gone, meter_of(scope))
            except DataError as error:
                raise invalid_file(error) from error
            finally:
                gone.cancel()

    async def _open(self, file: IO[bytes], request: FileRequest, gone: asyncio.Task[None]) -> Table:
        """The table in a file, after it was looked through a few rows at a time."""
        survey = Survey(request.options)
        async with self._turns.turn(gone):
            steps = survey.steps(file, NAME, request.layout, _WINDOW_ROWS)
            while await _next(steps) is not None:
                if gone.done():
                    raise ClientGoneError
            table = await asyncio.to_thread(open_table, file, NAME, request.layout, request.options, survey.columns)
        table.rows = survey.rows
        table.bad.count = survey.bad.count
        return table

    async def _report(self, table: Table, report: ReportRequest, send: Send, gone: asyncio.Task[None]) -> None:
        """Answer with the report on a table that was scored before."""
        client = SlowClient(self._settings.file_stall, self._settings.file_transfer, "took")
        async with self._turns.turn(gone):
            steps, page = report_steps(report, table), b""
            while (step := await _next(steps)) is not None:
                page = step
                if gone.done():
                    raise ClientGoneError
        await send(_head(REPORTS[report.output], table))
        await _send(send, page, gone, client)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _stream(
        self,
        table: Table,
        request: FileRequest,
        classifier: Classifier,
        send: Send,
        gone: asyncio.Task[None],
        meter: Meter,
    ) -> None:
        config, patience = classifier.model.config, self._settings.file_patience
        columns = ResultColumns.beside(table.columns, config.labels, rating=config.rating)
        encoder = encoder_for(table, columns, Style(request.answer, escape_formulas=request.escape_formulas))
        # A window that has just ended weighs on the next one, so that its texts may wait for up to two.
        longest_window = patience / 2
        await meter.beyond(longest_window).request(table.rows or 0)
        # Rows of a file are not asked for again: they would only push everybody else's out of the cache.
        limited = meter.within(longest_window)
        piecewise = Piecewise(classifier.without_cache(), patience, gone, limited)
        named = {"x-model": classifier.model.reference, "x-result-columns": ",".join(columns.names.values())}
        await send(_head(ANSWERS[request.answer], table, named))
        client = SlowClient(self._settings.file_stall, self._settings.file_transfer, "took")
        whole = _WholeAnswer(encoder, self._settings.file_folder) if request.answer in WHOLE_FILES else None

        async def give(data: bytes) -> None:
            await (_send(send, data, gone, client) if whole is None else asyncio.to_thread(whole.take, data))

        # Rows that have to wait for each other's allowance are not to wait for all of a window's.
        windows = table.windows(min(_WINDOW_ROWS, limited.most), _WINDOW_CHARACTERS)
        try:
            await give(encoder.head())
            while (window := await _next(windows)) is not None:
                texts = texts_of(window, keep_na=request.options.keep_na)
                await piecewise.count(len(texts))
                # Somebody else's while this one waits for its allowance or its client, for as long as that is.
                async with self._turns.turn(gone):
                    results = [columns.result(outcome) for outcome in await piecewise.classify(texts)]
                await give(await asyncio.to_thread(encoder.encode, window, results))
                metrics.FILE_ROWS.inc(len(results))
            pieces = iter(()) if whole is None else whole.pieces()
            while (piece := await _next(pieces)) is not None:
                await _send(send, piece, gone, client)
        except (DataError, OSError, OverloadedError) as error:
            raise BrokenOffError(str(error)) from error
        finally:
            if whole is not None:
                whole.close()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _WholeAnswer:
    """Takes what an encoder gives, then gives the file that it makes of it, such as a workbook, which is complete only
    in the end. Blocking; gone when it is closed.

    Args:
        encoder: makes the file.
        folder: where it lies meanwhile; None: where the system keeps such files.
    """

    def __init__(self, encoder: Encoder, folder: Path | None) -> None:
        self._encoder = encoder
        self._folder = tempfile.TemporaryDirectory(dir=folder)
        self._partial = Path(self._folder.name) / "partial"
        self._file = self._partial.open("wb")

    def take(self, data: bytes) -> None:
        """Keep a part of what was encoded."""
        self._file.write(data)

    def pieces(self) -> Iterator[bytes]:
        """The file, when all is there."""
        self._file.close()
        out = self._partial.with_name("out")
        self._encoder.finish(self._partial, out)
        with out.open("rb") as file:
            while piece := file.read(_SENT_BYTES):
                yield piece

    def close(self) -> None:
        """Leave nothing on the disk."""
        with suppress(OSError):  # there may be no room for what was not written yet
            self._file.close()
        self._folder.cleanup()


async def _send(send: Send, data: bytes, gone: asyncio.Task[None], client: SlowClient) -> None:
    """Send a part of the response, waiting within bounds for a client that reads slowly."""
    for start in range(0, len(data), _SENT_BYTES):
        if gone.done():
            raise ClientGoneError
        piece = data[start : start + _SENT_BYTES]
        try:
            await client.wait_for(send({"type": "http.response.body", "body": piece, "more_body": True}))
        except TooSlowError as error:
            raise BrokenOffError(str(error)) from None
        client.moved(len(piece))


async def _next(steps: Iterator[_Item]) -> _Item | None:
    # In a thread, and not for long: reading holds the interpreter, and everybody else waits for that.
    return await asyncio.to_thread(next, steps, None)


def _head(media_type: str, table: Table, more: Mapping[str, str] = MappingProxyType({})) -> Message:
    headers = {
        "content-type": media_type,
        "x-rows": str(table.rows),
        "x-bad-rows": str(table.bad.count),
        "x-text-column": quote(table.text_column, safe=_SAFE),
        "x-layout": quote(table.found, safe=_SAFE),
        **more,
    }
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": 200, "headers": pairs}
