"""The service under load while parts of it are slowed, killed, paused and cut; ``python -m tests.chaos --help``."""
