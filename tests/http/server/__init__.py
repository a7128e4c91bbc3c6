"""Tests of ``app/http/server``."""
