"""Tests of ``app/engine``."""
