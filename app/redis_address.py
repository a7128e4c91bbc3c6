"""Whether a Redis URL is well-formed. Stricter than the client, which reads many a mistake as another address.

Nothing that is found in a URL is ever said: in a malformed one any part may be a part of the password.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, urlsplit

_VERIFICATIONS = ("none", "optional", "required")
_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def fault_of_redis_url(url: str) -> str | None:
    """What is wrong with a URL, in words that show nothing of it; None where all is well."""
    try:
        parts = urlsplit(url)
        port = parts.port
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) if parts.query else []
    except ValueError:
        return "has a malformed address, port or option"
    if parts.scheme not in ("redis", "rediss", "unix"):
        return "does not begin with redis://, rediss:// or unix://"
    if parts.fragment or not url.isprintable() or " " in url:
        return "has a sign in it that does not belong there"
    if port == 0:
        return "has a malformed address, port or option"
    return _fault_of_place(parts) or _fault_of_options(parts.scheme, options)


def _fault_of_place(parts: SplitResult) -> str | None:
    if parts.scheme == "unix":
        return None if len(parts.path) > 1 and not parts.port else "has no path of a socket"
    if not parts.hostname:
        return "has no host"
    database = parts.path.removeprefix("/")
    return "has a database that is not a number" if database and not _is_number(database) else None


def _fault_of_options(scheme: str, options: list[tuple[str, str]]) -> str | None:
    given = dict(options)
    allowed = {
        "redis": {"db"},
        "rediss": {"db", "ssl_cert_reqs", "ssl_check_hostname", *_TLS_FILES},
        "unix": {"db", "username", "password"},
    }[scheme]
    if len(given) < len(options) or not given.keys() <= allowed:
        return f"has options other than {', '.join(sorted(allowed))} (for {scheme}://), or one twice"
    if not _is_number(given.get("db", "0")):
        return "has a database that is not a number"
    if given.get("ssl_cert_reqs", "required") not in _VERIFICATIONS:
        return f"has another ssl_cert_reqs than {', '.join(_VERIFICATIONS)}"
    if given.get("ssl_check_hostname", "true").lower() not in ("true", "false"):
        return "has another ssl_check_hostname than true, false"
    for name in _TLS_FILES:
        if name in given and not Path(given[name]).is_file():
            return f"has an {name} that is no file"
    return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
