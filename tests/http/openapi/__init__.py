"""Tests of ``app/http/openapi``."""
