"""The way of a text through a running service: cache, coalescing, micro-batches, engine. asyncio only, no torch."""
