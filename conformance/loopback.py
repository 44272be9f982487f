"""Lets the suite's network tests be run where there is no internet, against a local server."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
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


class Network(NamedTuple):
    """What becomes of the suite's network tests in a cell."""

    # Tests that open a server on the loopback interface in place of their URL.
    replaced: dict[str, Test]
    # Tests that pass here whatever the engine does.
    vacuous: list[str]


def stand_ins(
    tests: Mapping[str, Test], told: bool, folder: Path, stack: contextlib.ExitStack
) -> Network:
    """The tests as they are run without internet, with a server that ends with the stack.

    Without internet a tool that may not have the network fails even if nothing was cut off. So it
    gets our server to try, too, unless the engine is not told that it may not (`told`).
    """
    names = ["networkaccess", *(["networkaccess_disabled"] if told else [])]
    names = [name for name in names if name in tests]
    vacuous = [name for name in ("networkaccess_disabled",) if name in tests and name not in names]
    if not names:
        return Network({}, vacuous)
    url = stack.enter_context(serving())
    return Network({name: redirected(tests[name], url, folder) for name in names}, vacuous)


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
