"""Docker Hub's search as hub.docker.com has it, or as the index that Docker asks: one at a time."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

DESCRIBED = "made for a test"


class Hub(NamedTuple):
    """A server that runs, and what it was asked: paths with their queries."""

    url: str
    asked: list[str]


@contextlib.contextmanager
def hub(form: str, names: Sequence[str], page: int = 2) -> Iterator[Hub]:
    """A search among names until the block ends; ``form`` is v1 or v2, a page has so many names."""
    asked: list[str] = []
    hub = type("_Hub", (_Handler,), {"form": form, "names": names, "page": page, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), hub)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield Hub(f"http://127.0.0.1:{server.server_port}", asked)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    form = ""
    names: Sequence[str] = ()
    page = 0
    asked: list[str]

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing on stderr."""

    def do_GET(self) -> None:
        self.asked.append(self.path)
        parts = urlsplit(self.path)
        given = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        answer = None
        if (self.form, parts.path) == ("v2", "/v2/search/repositories/"):
            answer = self._second(given["query"], int(given["page"]), int(given["page_size"]))
        elif (self.form, parts.path) == ("v1", "/v1/search"):
            answer = self._first(given["q"], int(given["page"]), int(given["n"]))
        data = json.dumps(answer).encode()
        self.send_response(200 if answer is not None else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _second(self, query: str, page: int, size: int) -> dict[str, Any] | None:
        """As hub.docker.com answers: 404 for a page after the last."""
        found, start = self._found(query), (page - 1) * min(size, self.page)
        shown = found[start : start + min(size, self.page)]
        if page > 1 and not shown:
            return None
        results = [
            {
                "repo_name": name,
                "short_description": DESCRIBED,
                "star_count": 7,
                "pull_count": 1,
                "repo_owner": None,
                "is_automated": False,
                "is_official": "/" not in name,
            }
            for name in shown
        ]
        return {"count": len(found), "next": None, "previous": None, "results": results}

    def _first(self, query: str, page: int, size: int) -> dict[str, Any]:
        """As the index answers: the last page again for one after it."""
        found, length = self._found(query), min(size, self.page)
        pages = max(1, -(-len(found) // length))
        start = (min(page, pages) - 1) * length
        results = [
            {
                "name": name,
                "description": DESCRIBED,
                "star_count": 7,
                "is_official": "/" not in name,
                "is_automated": False,
                "is_trusted": False,
            }
            for name in found[start : start + length]
        ]
        known = {"num_pages": pages, "num_results": len(found), "page": page, "page_size": length}
        return {**known, "query": query, "results": results}

    def _found(self, query: str) -> list[str]:
        return [name for name in self.names if query in name]
