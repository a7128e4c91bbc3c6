"""The promise of a batch's scores: an asyncio future without the event loop's part in it.

A future tells who waits for it through the event loop, one callback and one turn each. A request of hundreds of texts
would spend more on that than on its forward pass. A ticket calls back at once, and costs one object.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator

from app.sentiment import BatchScores

Callback = Callable[["Ticket"], object]


class Ticket:
    """What becomes of a batch of texts: scores, an error, or nothing because it was given up.

    Has the methods of a future that are needed here, and can be awaited. Belongs to one thread.

    Attributes:
        scores: the scores of each text, as soon as all are there.
    """

    __slots__ = ("_callbacks", "_error", "_given_up", "scores")

    def __init__(self) -> None:
        self.scores: BatchScores | None = None
        self._error: Exception | None = None
        self._given_up = False
        self._callbacks: list[Callback] | None = None

    def __await__(self) -> Generator[asyncio.Future[None], None, BatchScores]:
        """Wait for the scores. A waiter that is cancelled gives the texts up."""
        if not self.done():
            waiter = asyncio.get_running_loop().create_future()

            def wake(_: Ticket) -> None:
                if not waiter.done():
                    waiter.set_result(None)

            self.add_done_callback(wake)
            try:
                yield from waiter
            except asyncio.CancelledError:
                self.cancel()
                raise
        return self.result()

    def done(self) -> bool:
        """Whether it is known what became of the texts."""
        return self.scores is not None or self._error is not None or self._given_up

    def cancelled(self) -> bool:
        """Whether the texts were given up."""
        return self._given_up

    def result(self) -> BatchScores:
        """The scores.

        Raises:
            CancelledError: the texts were given up.
            Exception: the error.
        """
        if self.scores is None:
            raise self.exception() or asyncio.InvalidStateError
        return self.scores

    def exception(self) -> Exception | None:
        """The error; None where there is none.

        Raises:
            CancelledError: the texts were given up.
        """
        if self._given_up:
            raise asyncio.CancelledError
        return self._error

    def set_result(self, scores: BatchScores) -> None:
        """The texts have their scores."""
        if not self.done():
            self.scores = scores
            self._finish()

    def set_exception(self, error: Exception) -> None:
        """The texts have failed, all of them."""
        if not self.done():
            self._error = error
            self._finish()

    def cancel(self) -> bool:
        """Give the texts up; whether that was still possible."""
        if self.done():
            return False
        self._given_up = True
        self._finish()
        return True

    def add_done_callback(self, callback: Callback) -> None:
        """Have ``callback`` called with this ticket when it is done; at once where it is."""
        if self.done():
            callback(self)
        elif self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)

    def remove_done_callback(self, callback: Callback) -> None:
        """Have ``callback`` not called."""
        if self._callbacks is not None:
            self._callbacks = [each for each in self._callbacks if each != callback]

    def on_done(self) -> None:
        """What a kind of ticket does itself when it is done, before anybody is told."""

    def _finish(self) -> None:
        self.on_done()
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            try:
                callback(self)
            except Exception as error:
                # Whoever set the result goes on with other texts; a defect of one caller is none of its business.
                context = {"message": "a callback of a ticket failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)


class DeferredTicket(Ticket):
    """The ticket of a text of which it is not known yet whether it is to be computed."""

    __slots__ = ("_source",)

    def __init__(self) -> None:
        super().__init__()
        self._source: Ticket | None = None

    def follow(self, source: Ticket) -> None:
        """Become what another ticket becomes, and give the text up there where it is given up here."""
        self._source = source
        source.add_done_callback(self._take_over)

    def on_done(self) -> None:
        if self.cancelled() and self._source is not None:
            self._source.cancel()

    def _take_over(self, source: Ticket) -> None:
        if source.scores is not None:
            self.set_result(source.scores)
        elif source.cancelled():
            self.cancel()
        elif (error := source.exception()) is not None:
            self.set_exception(error)
