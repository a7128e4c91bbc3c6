"""Versions that come and go while others serve: switching, further ones, a canary and its guard."""
