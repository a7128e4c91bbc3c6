"""What a request's head must be beyond what the parser asks (RFC 9112): one host, one framing, a path; and the part of
the HTTP/1.1 connection that sees to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.http.problems import Problem
from app.http.routing import reduced

_TELLING = frozenset({b"host", b"expect", b"transfer-encoding", b"upgrade"})
"""Headers that ``check`` looks at."""


def check(version: str, telling: Sequence[tuple[bytes, bytes]]) -> None:
    """Refuse a head without the one host it must have, or with a framing that this service does not read.

    Args:
        version: of HTTP.
        telling: those of the head's headers that are in ``_TELLING``.

    Raises:
        Problem: 400, or 501 for a transfer coding.
    """
    hosts = sum(name == b"host" for name, _ in telling)
    if hosts > 1 or (not hosts and version != "1.0"):
        raise Problem(400, "bad_request", f"there must be one Host header, not {hosts}")
    codings = [value.strip().lower() for name, value in telling if name == b"transfer-encoding"]
    if codings and version == "1.0":
        # Who stands in between may have read another length (RFC 9112, section 6.1).
        raise Problem(400, "bad_request", "Transfer-Encoding needs HTTP/1.1")
    if codings not in ([], [b"chunked"]):
        raise Problem(501, "unsupported_transfer_coding", "Transfer-Encoding must be chunked, or absent")


def origin_form(target: bytes) -> bytes:
    """The path and query of a request target in absolute form (RFC 9112, section 3.2.2); any other one as it is."""
    if b"://" not in target.partition(b"?")[0]:
        return target
    url = httptools.parse_url(target)
    return (url.path or b"/") + (b"?" + url.query if url.query else b"")


def without_offer(method: bytes, target: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The bytes of a head without its offer to speak another protocol."""
    lines = [b"%b %b HTTP/%b" % (method, target, version.encode())]
    lines += [b"%b: %b" % header for header in headers if header[0] != b"upgrade"]
    return b"\r\n".join([*lines, b"", b""])


class CheckedHttpProtocol(HttpToolsProtocol):
    """Reads requests with such heads alone, and knows no protocol but this one.

    Args:
        root_path: what paths may begin with before this service's own, because a proxy in front did not take it away.
        arguments: uvicorn's.

    Attributes:
        offered: whether the head that was just read offers another protocol, and will be read again without that.
    """

    def __init__(self, *arguments: Any, root_path: str | None = None, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.offered = False
        self._telling: list[tuple[bytes, bytes]] = []
        self._below = f"{root_path}/".encode() if root_path else b""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._telling = []
        self.offered = False

    def on_header(self, name: bytes, value: bytes) -> None:
        # In the place of uvicorn's, which looks for one name as this does for several.
        name = name.lower()
        if name in _TELLING:
            self._telling.append((name, value))
        self.headers.append((name, value))

    def parse(self, data: bytes) -> None:
        """Let the parser read. It takes what follows a head that offers another protocol for that protocol, but none
        is spoken here (RFC 9110, section 7.8): such a head is read again without the offer."""
        rest: bytes | memoryview = data
        while True:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as pause:
                if not self.offered:
                    # CONNECT needs no offer; it is answered as it is, and nothing may follow it.
                    self.cycle.keep_alive = False
                    return
                rest, parser = memoryview(rest)[pause.args[0] :], self.parser
                head = without_offer(parser.get_method(), self.url, parser.get_http_version(), self.headers)
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                self.parser.feed_data(head)
            else:
                return

    def check_head(self) -> bool:
        """Check the head that was just read, and reduce its target to a path of this service's own; whether it stands.

        Raises:
            Problem: see ``check``.
        """
        if len(self._telling) != 1 or self._telling[0][0] != b"host":
            check(self.parser.get_http_version(), self._telling)
            told = {name: value.lower() for name, value in self._telling}
            self.offered = b"upgrade" in told and self.parser.should_upgrade()
            self.expect_100_continue = told.get(b"expect") == b"100-continue"
        if self.url[:1] != b"/":
            self.url = origin_form(self.url)
        if self._below and self.url.startswith(self._below):
            self.url = self.url[len(self._below) - 1 :]
        self.url = reduced(self.url)
        return not self.offered
