"""Tests of ``app/process``."""
