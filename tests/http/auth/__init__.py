"""Tests of ``app/http/auth``."""
