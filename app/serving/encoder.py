"""Tokenizing as a part of serving: measured, and off the event loop where it would hold it up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from app import metrics, tracing
from app.errors import NoWordsError
from app.sentiment import Encoding
from app.text.tokenizer import Tokenizer

LONG_CHARACTERS = 50_000
"""Characters tokenized at once; a longer text is tokenized off the event loop."""


class Encoder:
    """A tokenizer whose work is counted.

    Args:
        tokenizer: the model's tokenizer.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    async def encode(self, texts: Sequence[str]) -> list[Encoding | NoWordsError]:
        """One encoding per text, or why there is none; in a thread where the texts are long."""
        with tracing.span("tokenize", len(texts)):
            if sum(map(len, texts)) > LONG_CHARACTERS:
                return await asyncio.to_thread(self.encode_now, texts)
            return self.encode_now(texts)

    def encode_now(self, texts: Sequence[str]) -> list[Encoding | NoWordsError]:
        """One encoding per text, or why there is none."""
        if not texts:
            return []
        started = time.perf_counter()
        results = self._tokenizer.encode_all(texts)
        seconds = (time.perf_counter() - started) / len(texts)
        encodings = [result for result in results if isinstance(result, Encoding)]
        metrics.TOKENIZE_SECONDS.observe_all([seconds] * len(texts))
        metrics.TEXT_TOKENS.observe_all([encoding.tokens for encoding in encodings])
        metrics.UNKNOWN_RATIO.observe_all([encoding.unknown / len(encoding.ids) for encoding in encodings])
        if truncated := sum(encoding.truncated for encoding in encodings):
            metrics.TRUNCATED.inc(truncated)
        return results
