"""The way of a text through a running service: cache, coalescing, micro-batches, engine. asyncio only, free of torch."""
