"""``Sentiment``: texts in, results out, wherever they are computed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import Any, NoReturn, Protocol, Self, get_args, overload

from app.errors import OptionError
from app.sentiment import ExplanationKind
from sentiment_service.explanation import Explanation, explanation_of
from sentiment_service.feedback import Feedback, document_of, feedback_of
from sentiment_service.result import Outcome, Result, given
from sentiment_service.texts import cells, deadline_in

USUAL_KINDS: tuple[ExplanationKind, ...] = ("sentences", "curve")
"""What is explained where nothing else is asked for."""


class _Place(Protocol):
    """Where texts are scored; see ``local`` and ``remote``."""

    def start(
        self, texts: Sequence[object], deadline: float | None, stopped: Event | None = None
    ) -> Callable[[], list[Outcome]]: ...

    def explain(
        self, text: str, kinds: Sequence[ExplanationKind], aspects: Sequence[str], deadline: float | None
    ) -> tuple[Result, dict[str, Any]]: ...

    def feedback(self, document: dict[str, Any], deadline: float | None) -> dict[str, Any]: ...

    def close(self) -> None: ...


class Sentiment:
    """Classifies texts, in this process or by a running service. May be used by several threads.

    Args:
        url: address of a running service; None: the texts are scored in this process.
        key: an API key, where the service asks for one.
        concurrency: most requests to the service at once.
        patience: seconds that a request is tried again while the service is full or away; ``Retry-After`` is honoured.
        model: NAME, NAME/VERSION or NAME@LABEL. In this process None is ``$SENTIMENT_MODEL``, else the default one; of
            what a service has loaded, None is what it serves.
        model_store: folder of its models; None: ``$SENTIMENT_MODEL_STORE``, else the folder ``model_store`` where there
            is one, else what is installed with this package.
        device: ``auto``, ``cpu`` or ``cuda``, in this process.
        precision: ``auto``, ``float32``, ``bfloat16`` or ``float16``, in this process.
        threads: of the forward pass, in this process; 0: all cores.

    Raises:
        CheckpointError: there is no such model, or it is damaged.
        SettingsError: an argument cannot be.
        MissingPackageError: a service is asked by httpx, the extra ``http``.
        ServiceError: the address is none.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str | None = None,
        concurrency: int = 4,
        patience: float = 120.0,
        model: str | None = None,
        model_store: str | Path | None = None,
        device: str = "auto",
        precision: str = "auto",
        threads: int = 0,
    ) -> None:
        self._process = os.getpid()
        self._closed = False
        self._place: _Place
        if url is None:
            if key is not None:
                raise OptionError("key", "is of a service, whose url is missing")
            from sentiment_service.local import Local

            self._place = Local(model, model_store, device, precision, threads)
        else:
            here = {"model_store": model_store is None, "device": device == "auto", "precision": precision == "auto"}
            for name, left_out in {**here, "threads": threads == 0}.items():
                if not left_out:
                    raise OptionError(name, "is of models in this process; a service has its own")
            check_concurrency(concurrency)
            from sentiment_service.remote import Remote

            self._place = Remote(url, key, concurrency, patience, model)

    @overload
    def classify(self, texts: str, *, deadline: float | None = None) -> Result: ...

    @overload
    def classify(self, texts: Iterable[Any], *, deadline: float | None = None) -> list[Outcome]: ...

    def classify(self, texts: str | Iterable[Any], *, deadline: float | None = None) -> Result | list[Outcome]:
        """What is said of a text, or of each of several.

        Args:
            texts: one text; or several: a list, a generator, a column of a data frame, an array of Arrow.
            deadline: seconds in which all must be answered.

        Returns:
            A ``Result`` for one text. For several a list in their order, in which a text that cannot be classified has
            an ``Unclassified``, which leaves the others alone.

        Raises:
            TextError: the one text cannot be classified.
            DeadlineError: the deadline passed.
            ServiceError: the service could not answer for too long, or will not.
            TypeError: that is no text, and no list or column.
            RuntimeError: it is closed, or was made in another process.
        """
        if isinstance(texts, str):
            return given(self._open().start([texts], deadline_in(deadline))()[0])
        return list(self.stream(texts, deadline=deadline))

    def stream(self, texts: Iterable[Any], *, deadline: float | None = None) -> Iterator[Outcome]:
        """The same as ``classify`` says of several texts, one by one, while further ones are read and computed.

        Memory does not depend on how many there are: at most three windows of 4,096 texts are on their way.
        """
        from app.files.scorer import cut
        from app.files.table import WINDOW_CHARACTERS, WINDOW_ROWS

        return self._in_order(cut(cells(texts), WINDOW_ROWS, WINDOW_CHARACTERS), deadline_in(deadline))

    def _in_order(self, windows: Iterable[list[object]], deadline: float | None) -> Iterator[Outcome]:
        """The outcomes of all windows. Where one fails, or nobody wants the rest, nothing more is asked."""
        from app.files.pipeline import in_order

        stopped = Event()
        try:
            for _, outcomes in in_order(windows, lambda window: self._open().start(window, deadline, stopped)):
                yield from outcomes
        finally:
            stopped.set()

    def explain(
        self,
        text: str,
        kinds: Sequence[ExplanationKind] = USUAL_KINDS,
        *,
        aspects: Sequence[str] = (),
        deadline: float | None = None,
    ) -> Explanation:
        """Why a text gets its label.

        Args:
            text: one text.
            kinds: of ``sentences``, ``tokens``, ``curve`` and ``aspects``.
            aspects: what to look for, such as ``["battery"]``; none: what the text speaks of.
            deadline: seconds in which it must be answered.

        Raises:
            ExplainerUnavailableError: the service cannot explain now.
            TextError, DeadlineError, ServiceError: see ``classify``.
        """
        result, found = self._open().explain(text, checked(kinds, aspects), aspects, deadline_in(deadline))
        return explanation_of(text, result, found)

    def feedback(
        self,
        text: str,
        label: str,
        *,
        answer: Result | None = None,
        comment: str | None = None,
        deadline: float | None = None,
    ) -> Feedback:
        """Tell a running service the right label of a text. It keeps both, where its operator wants feedback.

        Args:
            text: one text.
            label: its right label, one of the model's.
            answer: the result that this is about; None: it counts for what is served, and as neither right nor wrong.
            comment: for people, at most 1,000 characters.
            deadline: seconds in which it must be kept.

        Raises:
            OptionError: an argument is not as it should be, or there is no service: in this process nothing is kept.
            TextError: a blank text, or one that is too long.
            RefusedError: ``status`` 501 where none is kept, 507 where no more is, 403 for a key without the right.
            UnreachableError: nobody answers; where the connection broke late, the message says that it may be kept.
            DeadlineError, ServiceError: see ``classify``.
        """
        return feedback_of(self._open().feedback(document_of(text, label, answer, comment), deadline_in(deadline)))

    def close(self) -> None:
        """End the threads, close the connections."""
        self._closed = True
        self._place.close()

    def _open(self) -> _Place:
        """Where texts are scored. Threads do not survive a fork: whoever asked there would wait for ever."""
        if self._closed:
            raise RuntimeError("this Sentiment is closed")
        if self._process != os.getpid():
            raise RuntimeError("this Sentiment is of another process; make one in each")
        return self._place

    def __reduce__(self) -> NoReturn:
        """What pickle calls, for whoever sends it to a pool of processes or has it in a function that is sent there."""
        raise TypeError("a Sentiment cannot be sent to another process; make one in each")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def checked(kinds: Sequence[ExplanationKind], aspects: Sequence[str]) -> Sequence[ExplanationKind]:
    """Kinds of explanations that there are.

    Raises:
        OptionError: one of them is none, or there is none; or aspects are named that nobody asks for.
    """
    known = get_args(ExplanationKind)
    if isinstance(kinds, str) or not kinds or not set(kinds) <= set(known):
        raise OptionError("kinds", f"must be a list of {', '.join(known)} (got {kinds!r})")
    if isinstance(aspects, str) or (aspects and "aspects" not in kinds):
        raise OptionError("aspects", 'must be a list, where kinds have "aspects"')
    return kinds


def check_concurrency(number: int) -> None:
    """Let a number of requests at once pass that can be.

    Raises:
        OptionError: it cannot.
    """
    if number < 1:
        raise OptionError("concurrency", f"must be 1 or more (got {number})")
