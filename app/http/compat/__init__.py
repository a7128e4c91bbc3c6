"""Protocols of other servers, so that their clients work here unchanged: translations onto one shared call."""
