"""Tests of ``app/native``."""
