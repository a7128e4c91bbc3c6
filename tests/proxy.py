"""A real nginx in front of a service, for what proxies do to connections and paths."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.monitoring.stack import program
from tests.redis_server import free_port
from tests.waiting import LIMIT

_CONFIGURATION = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream service {{ server {upstream}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port};
        proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
        location / {{ proxy_pass http://service; }}
        location /stripped/ {{ proxy_pass http://service/; }}
    }}
}}
"""


@contextmanager
def nginx(url: str, folder: Path) -> Iterator[str]:
    """The address of an nginx that keeps connections to the service at ``url``: ``/stripped/`` is taken away from the
    front of paths, others pass as they are."""
    found, port = program("nginx"), free_port()
    file = folder / "nginx.conf"
    file.write_text(_CONFIGURATION.format(folder=folder, upstream=url.removeprefix("http://"), port=port))
    process = subprocess.Popen([found, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(file)])
    try:
        deadline = time.monotonic() + LIMIT
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/health/live", timeout=5)
                break
            except httpx.TransportError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)
