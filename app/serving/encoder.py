"""Tokenizing as a part of serving: measured, and off the event loop where it would hold it up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from operator import lt

from app import metrics
from app.sentiment import EncodedTexts
from app.serving.counting import TextMetrics
from app.text.tokenizer import Tokenizer

LONG_CHARACTERS = 100_000
"""Characters tokenized at once; longer texts are tokenized off the event loop."""


class TextEncoder:
    """A tokenizer whose work is counted. For the thread of the event loop.

    Args:
        tokenizer: the model's tokenizer.
        counted: counts the texts.
    """

    def __init__(self, tokenizer: Tokenizer, counted: TextMetrics) -> None:
        self.max_tokens = tokenizer.max_tokens
        self._tokenizer = tokenizer
        self._counted = counted

    async def encode(self, texts: Sequence[str]) -> EncodedTexts:
        """Encodings of texts; made in a thread where they are long."""
        if sum(map(len, texts)) <= LONG_CHARACTERS:
            return self.encode_now(texts)
        encoded, seconds = await asyncio.to_thread(self._timed, texts)
        self._count(seconds, encoded)
        return encoded

    def encode_now(self, texts: Sequence[str]) -> EncodedTexts:
        """Encodings of texts."""
        encoded, seconds = self._timed(texts)
        self._count(seconds, encoded)
        return encoded

    def _timed(self, texts: Sequence[str]) -> tuple[EncodedTexts, float]:
        started = time.perf_counter()
        encoded = self._tokenizer.encode_together(texts)
        return encoded, time.perf_counter() - started

    def _count(self, seconds: float, encoded: EncodedTexts) -> None:
        """Count texts: how long all took to tokenize, and what is known of each."""
        buffered, counted, texts = metrics.buffered, self._counted, len(encoded.kept)
        buffered.observe_all(counted.tokenize_seconds, [seconds / texts] * texts)
        buffered.observe_all(counted.tokens, filter(None, encoded.tokens))
        shares = [part / whole for part, whole in zip(encoded.unknown, encoded.words, strict=True) if whole]
        buffered.observe_all(counted.unknown_ratio, shares)
        if encoded.kept != encoded.tokens:
            buffered.count(counted.truncated, sum(map(lt, encoded.kept, encoded.tokens)))
