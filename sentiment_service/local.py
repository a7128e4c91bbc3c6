"""Texts scored in this process, by the same code as ``sentiment classify``."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from app.errors import OptionError, SettingsError
from app.scoring import load_scorer
from app.sentiment import ExplanationKind, Prediction
from app.settings import PREFIX, Settings, default_of, store_to_read
from app.store import ModelStore
from sentiment_service.result import Outcome, Result, Unclassified, given
from sentiment_service.texts import check

if TYPE_CHECKING:
    from app.model.explainer import NetworkExplainer

_ENVIRONMENT = re.compile(f"{PREFIX}([A-Z_]+)")
"""A setting of the service; the argument here has its name."""


class Local:
    """A model in this process.

    Args:
        model: NAME, NAME/VERSION or NAME@LABEL; None: as ``sentiment classify`` chooses.
        model_store: the folder it is in; None: likewise.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        threads: of the forward pass; 0: all cores.

    Raises:
        CheckpointError: there is no such model, or it is damaged.
        SettingsError: device and precision are not to be had here.
    """

    def __init__(
        self, model: str | None, model_store: str | Path | None, device: str, precision: str, threads: int
    ) -> None:
        store = ModelStore(store_to_read(Path(model_store or default_of("model_store"))))
        if not store.root.is_dir():
            raise OptionError("model_store", f"there is no folder {store.root}; name the one that has the models")
        self._model = store.open(model or default_of("model"))
        known = get_args(Settings.model_fields["precision"].annotation)
        if precision not in known:
            raise OptionError("precision", f"must be one of {', '.join(known)} (got {precision!r})")
        if threads < 0:
            raise OptionError("threads", f"must be 0 or more (got {threads})")
        try:
            self._scorer = load_scorer(self._model, device, "auto", precision, threads)
        except SettingsError as error:
            raise SettingsError(_ENVIRONMENT.sub(lambda found: found[1].lower(), str(error))) from error
        self._explainer: NetworkExplainer | None = None
        self._one_at_a_time = threading.Lock()

    def start(
        self, texts: Sequence[object], deadline: float | None, stopped: threading.Event | None = None
    ) -> Callable[[], list[Outcome]]:
        """Begin with some texts; the call that is returned waits for the outcome of each, in order. What is begun is
        done within a second or so, whoever still wants it."""
        check(deadline)
        wait = self._scorer.start(texts)

        def outcomes() -> list[Outcome]:
            found = [
                self._result(outcome) if isinstance(outcome, Prediction) else Unclassified(outcome)
                for outcome in wait()
            ]
            check(deadline)
            return found

        return outcomes

    def explain(
        self, text: str, kinds: Sequence[ExplanationKind], aspects: Sequence[str], deadline: float | None
    ) -> tuple[Result, dict[str, Any]]:
        """What is said of a text, and why, as the HTTP answer has it."""
        result = given(self.start([text], deadline)()[0])
        target = self._model.config.labels.index(result.label)
        with self._one_at_a_time:
            explainer = self._loaded()
            found: dict[str, Any] = {}
            for kind in kinds:
                found |= explainer.explain(text, kind, target, lambda: check(deadline), aspects)
        return result, found

    def feedback(self, document: dict[str, Any], deadline: float | None) -> dict[str, Any]:
        """There is no place for it.

        Raises:
            OptionError: says where there is one.
        """
        raise OptionError("url", "is missing: feedback is kept by a running service, and not in this process")

    def close(self) -> None:
        """End the threads."""
        self._scorer.close()

    def _result(self, said: Prediction) -> Result:
        labels = self._scorer.labels
        label, score = said.best(labels)
        return Result(
            label,
            score,
            dict(zip(labels, said.probabilities, strict=True)),
            said.rating,
            said.unknown,
            said.judgement,
            said.tokens,
            said.truncated,
            self._model.name,
            self._model.version,
        )

    def _loaded(self) -> NetworkExplainer:
        if self._explainer is None:
            from app.model.explainer import NetworkExplainer

            self._explainer = NetworkExplainer(self._model)
        return self._explainer
