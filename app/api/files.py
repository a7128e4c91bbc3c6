"""``POST /files``: a table in, the same table with labels out, while it is computed.

The body is spooled to disk, looked through once, and then scored in small pieces, one at a time, so that everybody
else's texts wait for one such piece at most. Nothing of it is in memory but the rows that are on their way.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, TypeVar

from starlette.types import Message, Receive, Scope, Send

from app import metrics
from app.api.body import ClientGoneError, respond_and_discard
from app.api.file_request import ANSWERS, FileRequest, parse_file_request
from app.api.meter import Meter, meter_of
from app.api.piecewise import BrokenOffError, Piecewise
from app.api.problems import Problem, problem_of
from app.api.slow_client import SlowClient, TooSlowError
from app.api.spool import spool_body
from app.errors import DataError, EngineUnavailableError, OverloadedError, ServiceError
from app.files.layout import Format, Layout
from app.files.reading import Survey, open_table
from app.files.results import ResultColumns
from app.files.table import Table
from app.files.writing import encoder_for
from app.serving.classifier import Classifier
from app.settings import Settings

logger = logging.getLogger(__name__)

_WINDOW_ROWS = 64
_WINDOW_CHARACTERS = 1 << 20
_SENT_BYTES = 65_536
"""Most of the results that are sent at once: what a client must take in the time in which it may stall."""
_RETRY_SECONDS = 5.0
_NAME = "file"
"""What messages call it."""

_Item = TypeVar("_Item")


class _Upload:
    """The body of a request, and whether all of it was read."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.complete = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self.complete = not message.get("more_body", False)
        return message


class FilesEndpoint:
    """Answers ``POST /files``.

    Args:
        classifier: gives the classifier, or None while there is none.
        settings: limits.
    """

    def __init__(self, classifier: Callable[[], Classifier | None], settings: Settings) -> None:
        self._classifier = classifier
        self._settings = settings
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outcome, upload = "failed", _Upload(receive)
        try:
            with self._place():
                await self._answer(scope, upload, send)
            outcome = "done"
        except (Problem, ServiceError) as error:
            problem = error if isinstance(error, Problem) else problem_of(error)
            metrics.REJECTED.labels(problem.code).inc()
            outcome = "refused"
            if upload.complete:
                await problem.response()(scope, receive, send)
            else:
                await respond_and_discard(problem.response(), scope, upload, send)
        except ClientGoneError:
            outcome = "abandoned"
        except BrokenOffError as error:
            # The response stays without its end, so that nobody takes it for a whole one.
            logger.warning("a file was broken off: %s", error)
        finally:
            metrics.FILES.labels(outcome).inc()

    @contextmanager
    def _place(self) -> Iterator[None]:
        limit = self._settings.max_files
        if self._open >= limit:
            raise OverloadedError(f"{self._open} files are being scored; the limit is {limit}", _RETRY_SECONDS)
        self._open += 1
        metrics.FILES_IN_PROGRESS.inc()
        try:
            yield
        finally:
            self._open -= 1
            metrics.FILES_IN_PROGRESS.dec()

    async def _answer(self, scope: Scope, upload: _Upload, send: Send) -> None:
        request, settings = parse_file_request(scope), self._settings
        classifier = self._classifier()
        if classifier is None:
            raise EngineUnavailableError("the service is starting", retry_after=1.0)
        with ExitStack() as stack:
            try:
                # Without a name, so that it is gone with the process, whatever becomes of that.
                file = stack.enter_context(tempfile.TemporaryFile(dir=settings.file_folder))
                await spool_body(scope, upload, file, settings.max_file, settings.file_stall)
            except OSError as error:
                logger.exception("no file can be kept")
                raise OverloadedError("there is no room for files", _RETRY_SECONDS) from error
            try:
                table = await _open(file, request)
            except DataError as error:
                raise Problem(422, "invalid_file", str(error)) from error
            gone = asyncio.create_task(_disconnected(upload))
            try:
                await self._stream(table, request.answer, classifier, send, gone, meter_of(scope))
            finally:
                gone.cancel()

    async def _stream(
        self,
        table: Table,
        answer: Format,
        classifier: Classifier,
        send: Send,
        gone: asyncio.Task[None],
        meter: Meter,
    ) -> None:
        config, patience = classifier.model.config, self._settings.file_patience
        columns = ResultColumns.beside(table.columns, config.labels, rating=config.rating)
        try:
            encoder = encoder_for(table, columns, Layout(answer))
        except DataError as error:
            raise Problem(422, "invalid_file", str(error)) from error
        # A window that has just ended weighs on the next one, so that its texts may wait for up to two.
        longest_window = patience / 2
        await meter.beyond(longest_window).request(table.rows or 0)
        # Rows of a file are not asked for again: they would only push everybody else's out of the cache.
        limited = meter.within(longest_window)
        piecewise = Piecewise(classifier.uncached(), patience, gone, limited)
        await send(_start(answer, table, columns, classifier.model.reference))
        client = SlowClient(self._settings.file_stall, "took")
        await _send(send, encoder.head(), gone, client)
        # Rows that have to wait for each other's allowance are not to wait for all of a window's.
        windows = table.windows(min(_WINDOW_ROWS, limited.most), _WINDOW_CHARACTERS)
        try:
            while (window := await _next(windows)) is not None:
                results = [columns.result(outcome) for outcome in await piecewise.classify(window.texts)]
                await _send(send, await asyncio.to_thread(encoder.encode, window, results), gone, client)
                metrics.FILE_ROWS.inc(len(results))
        except DataError as error:
            raise BrokenOffError(str(error)) from error
        await send({"type": "http.response.body", "body": b"", "more_body": False})


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


async def _open(file: IO[bytes], request: FileRequest) -> Table:
    """The table in a file, after it was looked through a few rows at a time."""
    survey = Survey()
    steps = survey.steps(file, _NAME, request.layout, request.text_column, _WINDOW_ROWS)
    while await _next(steps) is not None:
        pass
    table = await asyncio.to_thread(open_table, file, _NAME, request.layout, request.text_column, survey.columns)
    table.rows = survey.rows
    return table


async def _next(steps: Iterator[_Item]) -> _Item | None:
    # In a thread, and not for long: reading holds the interpreter, and everybody else waits for that.
    return await asyncio.to_thread(next, steps, None)


def _start(answer: Format, table: Table, columns: ResultColumns, model: str) -> Message:
    headers = {
        "content-type": ANSWERS[answer],
        "x-model": model,
        "x-rows": str(table.rows),
        "x-result-columns": ",".join(columns.names.values()),
    }
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": 200, "headers": pairs}


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
