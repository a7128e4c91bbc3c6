"""``AsyncSentiment``: a running service, asked with asyncio."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from app.sentiment import ExplanationKind
from sentiment_service.explanation import Explanation, explanation_of
from sentiment_service.feedback import Feedback, document_of, feedback_of
from sentiment_service.result import Outcome, Result, given
from sentiment_service.synchronous import USUAL_KINDS, check_concurrency, checked
from sentiment_service.texts import cells, deadline_in

if TYPE_CHECKING:
    import asyncio

    from app.files.exchange import Flow

T = TypeVar("T")


class AsyncSentiment:
    """Asks a running service, as ``Sentiment(url)`` does. Of one event loop.

    Args:
        url, key, concurrency, patience, model: see ``Sentiment``.

    Raises:
        MissingPackageError, ServiceError, SettingsError, CheckpointError: likewise.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        concurrency: int = 4,
        patience: float = 120.0,
        model: str | None = None,
    ) -> None:
        check_concurrency(concurrency)
        from app.files.exchange import Exchange, httpx
        from app.files.remote import client_options
        from sentiment_service.remote import headers_of, named

        self._exchange = Exchange(url, patience, named(model))
        self._client = httpx.AsyncClient(**client_options(url, concurrency, headers_of(key)))
        self._concurrency = concurrency

    @overload
    async def classify(self, texts: str, *, deadline: float | None = None) -> Result: ...

    @overload
    async def classify(
        self, texts: Iterable[Any] | AsyncIterable[Any], *, deadline: float | None = None
    ) -> list[Outcome]: ...

    async def classify(
        self, texts: str | Iterable[Any] | AsyncIterable[Any], *, deadline: float | None = None
    ) -> Result | list[Outcome]:
        """What is said of a text, or of each of several. See ``Sentiment.classify``."""
        if isinstance(texts, str):
            return given((await self._outcomes([texts], deadline_in(deadline)))[0])
        return [outcome async for outcome in self.stream(texts, deadline=deadline)]

    async def stream(
        self, texts: Iterable[Any] | AsyncIterable[Any], *, deadline: float | None = None
    ) -> AsyncIterator[Outcome]:
        """The same of several texts, one by one, while further ones are on their way: at most ``concurrency`` requests,
        of up to 64 texts each."""
        import asyncio  # here, because it takes as long to import as everything else together

        until = deadline_in(deadline)
        begun: deque[asyncio.Task[list[Outcome]]] = deque()
        try:
            async for piece in _pieces(texts):
                begun.append(asyncio.create_task(self._outcomes(piece, until)))
                if len(begun) == self._concurrency:
                    for outcome in await begun.popleft():
                        yield outcome
            while begun:
                for outcome in await begun.popleft():
                    yield outcome
        finally:
            for task in begun:
                task.cancel()
            await asyncio.gather(*begun, return_exceptions=True)

    async def explain(
        self,
        text: str,
        kinds: Sequence[ExplanationKind] = USUAL_KINDS,
        *,
        aspects: Sequence[str] = (),
        deadline: float | None = None,
    ) -> Explanation:
        """Why a text gets its label. See ``Sentiment.explain``."""
        from sentiment_service.remote import result_of

        flow = self._exchange.explain(text, checked(kinds, aspects), aspects, deadline_in(deadline))
        entry = await self._carry(flow)
        return explanation_of(text, result_of(entry), entry["explanation"])

    async def feedback(
        self,
        text: str,
        label: str,
        *,
        answer: Result | None = None,
        comment: str | None = None,
        deadline: float | None = None,
    ) -> Feedback:
        """Tell the service the right label of a text. See ``Sentiment.feedback``."""
        flow = self._exchange.feedback(document_of(text, label, answer, comment), deadline_in(deadline))
        return feedback_of(await self._carry(flow))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _outcomes(self, texts: Sequence[object], deadline: float | None) -> list[Outcome]:
        from sentiment_service.remote import outcome_of

        return list(map(outcome_of, await self._carry(self._exchange.classify(texts, deadline))))

    async def _carry(self, flow: Flow[T]) -> T:
        """What comes of asking. See ``RemoteService.carry``."""
        import asyncio

        from app.files.exchange import Pause, httpx
        from app.files.remote import arguments_of

        answer: Any = None
        try:
            while True:
                step = flow.send(answer)
                if isinstance(step, Pause):
                    answer = None
                    await asyncio.sleep(step.seconds)
                    continue
                try:
                    answer = await self._client.request(**arguments_of(step))
                except httpx.TransportError as error:
                    answer = error
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # of a ``Flow[T]`` it is a T


async def _pieces(texts: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[list[object]]:
    """Texts in requests, wherever they come from."""
    from app.files.exchange import REQUEST_CHARACTERS, REQUEST_TEXTS
    from app.files.scorer import cut

    if not isinstance(texts, AsyncIterable):
        for piece in cut(cells(texts), REQUEST_TEXTS, REQUEST_CHARACTERS):
            yield piece
        return
    waiting: list[Any] = []
    async for text in texts:
        waiting.append(text)
        if len(waiting) == REQUEST_TEXTS:
            for piece in cut(cells(waiting), REQUEST_TEXTS, REQUEST_CHARACTERS):
                yield piece
            waiting.clear()
    for piece in cut(cells(waiting), REQUEST_TEXTS, REQUEST_CHARACTERS):
        yield piece
