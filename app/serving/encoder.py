"""Tokenizing as a part of serving: measured, and off the event loop where it would hold it up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from operator import lt

from app import metrics
from app.errors import NoWordsError
from app.sentiment import Encoding, EncodingTable
from app.text.tokenizer import Tokenizer

LONG_CHARACTERS = 50_000
"""Characters tokenized at once; a longer text is tokenized off the event loop."""
LONG_TABLE = 100_000
"""Likewise of a table: more, because each costs a way to the engine and back."""


class Encoder:
    """A tokenizer whose work is counted.

    Args:
        tokenizer: the model's tokenizer.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    async def encode(self, texts: Sequence[str]) -> list[Encoding | NoWordsError]:
        """One encoding per text, or why there is none; in a thread where the texts are long."""
        if sum(map(len, texts)) > LONG_CHARACTERS:
            return await asyncio.to_thread(self.encode_now, texts)
        return self.encode_now(texts)

    async def encode_table(self, texts: Sequence[str]) -> EncodingTable:
        """Encodings of several texts in one piece; in a thread where they are long."""
        if sum(map(len, texts)) > LONG_TABLE:
            return await asyncio.to_thread(self._encode_table, texts)
        return self._encode_table(texts)

    def _encode_table(self, texts: Sequence[str]) -> EncodingTable:
        started = time.perf_counter()
        table = self._tokenizer.encode_table(texts)
        self._count(time.perf_counter() - started, table.kept, table.tokens, table.unknown)
        return table

    def encode_one(self, text: str) -> Encoding | NoWordsError:
        """The encoding of one text, or why there is none. For the thread of the event loop."""
        started = time.perf_counter()
        encoding = self._tokenizer.encode_one(text)
        metrics.tally.observe(metrics.TOKENIZE_SECONDS, time.perf_counter() - started)
        if isinstance(encoding, Encoding):
            kept, tokens = len(encoding.ids), encoding.tokens
            metrics.tally.observe(metrics.TEXT_TOKENS, tokens)
            metrics.tally.observe(metrics.UNKNOWN_RATIO, encoding.unknown / kept)
            if kept < tokens:
                metrics.tally.count(metrics.TRUNCATED)
        return encoding

    def encode_now(self, texts: Sequence[str]) -> list[Encoding | NoWordsError]:
        """One encoding per text, or why there is none."""
        if not texts:
            return []
        started = time.perf_counter()
        results = self._tokenizer.encode_all(texts)
        seconds = time.perf_counter() - started
        found = [result for result in results if isinstance(result, Encoding)]
        kept, tokens = [len(encoding.ids) for encoding in found], [encoding.tokens for encoding in found]
        # A text without words has no encoding, and takes its time.
        none = [0] * (len(texts) - len(found))
        self._count(seconds, kept + none, tokens + none, [encoding.unknown for encoding in found] + none)
        return results

    @staticmethod
    def _count(seconds: float, kept: list[int], tokens: list[int], unknown: list[int]) -> None:
        """Count texts: how long all took to tokenize, and what ``EncodingTable`` says of each."""
        metrics.TOKENIZE_SECONDS.observe_times(seconds / len(kept), len(kept))
        metrics.TEXT_TOKENS.observe_all(list(filter(None, tokens)))
        metrics.UNKNOWN_RATIO.observe_all([part / whole for part, whole in zip(unknown, kept, strict=True) if whole])
        if truncated := sum(map(lt, kept, tokens)):
            metrics.TRUNCATED.inc(truncated)
