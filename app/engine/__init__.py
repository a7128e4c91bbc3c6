"""The engine: requests of all HTTP workers become micro-batches here; its queue, threads, and the link to it."""
