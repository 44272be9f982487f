"""Lets the suite's network tests be run where there is no internet, against a local server."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from conformance.problem import Problem
from conformance.suite import Test

# What the tests open, and what the copies open in its place.
PUBLIC_URL = "http://commonwl.org"


class _Fine(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """The URL of a server on the loopback interface that answers 200 to everything."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Fine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def redirected(test: Test, url: str, folder: Path) -> Test:
    """The test with a copy of its tool, put into the folder, that opens this URL instead."""
    original = Path(unquote(urlsplit(str(test["tool"])).path))
    text = original.read_text(encoding="utf-8")
    if PUBLIC_URL not in text:
        raise Problem(
            f"'{original}' does not open {PUBLIC_URL}, so it cannot be redirected",
            "use --internet to run it as it is",
        )
    copy = folder / original.name
    copy.write_text(text.replace(PUBLIC_URL, url), encoding="utf-8")
    return {**test, "tool": copy.resolve().as_uri()}
