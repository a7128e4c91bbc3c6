"""The way of a text through an HTTP worker: cache, tokenizing, coalescing, to the engine. asyncio only, no torch."""
