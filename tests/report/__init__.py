"""Tests of the report on scored files."""
