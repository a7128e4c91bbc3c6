"""Tokenizing as a part of serving: measured, and off the event loop where it would hold it up."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Sequence
from operator import lt

from app import metrics
from app.errors import NoWordsError
from app.sentiment import TOKEN_TYPECODE, Encoding, EncodingTable
from app.text.tokenizer import Tokenizer

LONG_CHARACTERS = 50_000
"""Characters tokenized at once; a longer text is tokenized off the event loop."""
LONG_TABLE = 100_000
"""Likewise of a table: more, because each costs a way to the engine and back."""


class TextEncoder:
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
        self._count(time.perf_counter() - started, table)
        return table

    def encode_one(self, text: str) -> Encoding | NoWordsError:
        """The encoding of one text, or why there is none. For the thread of the event loop."""
        started = time.perf_counter()
        encoding = self._tokenizer.encode_one(text)
        metrics.buffered.observe(metrics.TOKENIZE_SECONDS, time.perf_counter() - started)
        if isinstance(encoding, Encoding):
            kept, tokens = len(encoding.ids), encoding.tokens
            metrics.buffered.observe(metrics.TEXT_TOKENS, tokens)
            if encoding.words:
                metrics.buffered.observe(metrics.UNKNOWN_RATIO, encoding.unknown / encoding.words)
            if kept < tokens:
                metrics.buffered.count(metrics.TRUNCATED)
        return encoding

    def encode_now(self, texts: Sequence[str]) -> list[Encoding | NoWordsError]:
        """One encoding per text, or why there is none."""
        if not texts:
            return []
        started = time.perf_counter()
        results = self._tokenizer.encode_all(texts)
        seconds = time.perf_counter() - started
        nothing = Encoding(array(TOKEN_TYPECODE), 0, False, 0, 0, 0)  # a text without words takes its time too
        found = [result if isinstance(result, Encoding) else nothing for result in results]
        # A list: a tuple made from a generator is cut to its size, and CPython then keeps more and more freed ones.
        columns = zip(*[(len(ids), tokens, *counts) for ids, tokens, _, *counts in found], strict=True)
        self._count(seconds, EncodingTable(nothing.ids, *map(list, columns)))
        return results

    @staticmethod
    def _count(seconds: float, table: EncodingTable) -> None:
        """Count texts: how long all took to tokenize, and what is known of each; ids do not matter."""
        metrics.TOKENIZE_SECONDS.observe_times(seconds / len(table.kept), len(table.kept))
        metrics.TEXT_TOKENS.observe_all(list(filter(None, table.tokens)))
        shares = [part / whole for part, whole in zip(table.unknown, table.words, strict=True) if whole]
        metrics.UNKNOWN_RATIO.observe_all(shares)
        if truncated := sum(map(lt, table.kept, table.tokens)):
            metrics.TRUNCATED.inc(truncated)
