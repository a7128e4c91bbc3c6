"""Tests of ``app/http/uploads``."""
