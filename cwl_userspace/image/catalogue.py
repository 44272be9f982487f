"""What a registry has: its repositories by its own list or Docker Hub's search, and their tags.

The lists are those of the distribution specification (``_catalog``, which not every registry
gives, and ``tags/list``); they come in pages.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlencode

from cwl_userspace.errors import RegistryError
from cwl_userspace.image.registry import Registry
from cwl_userspace.image.transport import Request, Transport, bounded
from cwl_userspace.oci import load_json

HUB_SEARCH = "https://hub.docker.com"
_PAGE = 1000
_HUB_PAGE = 100
# Where a search is, and what it calls the words and the length of a page.
_FORMS = (("/v2/search/repositories/", "query", "page_size"), ("/v1/search", "q", "n"))
_LARGEST = 4 << 20
_MOST = 1000
# No list of a registry goes on for longer, whatever it says: it may be one that never ends.
_MOST_PAGES, _MOST_NAMES, _MOST_BYTES = 1000, 500_000, 32 << 20


class Found(NamedTuple):
    """A repository; what it is said to be is known of Docker Hub's alone."""

    name: str
    description: str = ""
    stars: int = 0
    official: bool = False


def repositories(registry: Registry) -> Iterator[str]:
    """The names of all repositories that a registry lists."""
    return _pages(registry, "", "_catalog", "repositories", "a list of its repositories")


def tags(registry: Registry, repository: str) -> Iterator[str]:
    """The tags of a repository; raise ImageNotFound where there is no such repository."""
    return _pages(registry, repository, "tags/list", "tags", f"the repository {repository}")


def _pages(registry: Registry, repository: str, path: str, key: str, what: str) -> Iterator[str]:
    """Each name once: some registries know nothing of pages and give all names each time.

    Raise RegistryError after the names of a list that is too long to be asked for to its end.
    """
    seen: set[str] = set()
    last = ""
    size = 0
    for _ in range(_MOST_PAGES):
        query = {"n": _PAGE, **({"last": last} if last else {})}
        raw = registry.listing(repository, f"{path}?{urlencode(query)}", what)
        document = load_json(raw, what)
        listed = document.get(key) if isinstance(document, dict) else None
        new = [name for name in listed or () if isinstance(name, str) and name not in seen]
        if not new:
            return
        seen.update(new)
        yield from map(_shown, new)
        last = new[-1]
        size += len(raw)
        if len(seen) > _MOST_NAMES or size > _MOST_BYTES:
            break
    raise RegistryError(
        f"{registry.label} goes on with {what} after {len(seen)} names, which is too many",
        "name the repository as a whole",
    )


def hub_search(words: str, base: str = HUB_SEARCH) -> Iterator[Found]:
    """What Docker Hub's search finds, the best first; raise RegistryError where it fails.

    Where there is none of Docker Hub's own form, that of the index is tried, which Docker asks
    (index.docker.io/v1/search).
    """
    transport = Transport(base, base, sleep=time.sleep)
    place, word, size = _FORMS[0]
    page = 1
    found = 0
    while found < _MOST and page <= _MOST_PAGES:
        query = urlencode({word: words, "page": page, size: _HUB_PAGE})
        response = transport.send(Request(f"{base}{place}?{query}", {}))
        if response.status == 404 and page > 1:
            return
        if response.status == 404 and place == _FORMS[0][0]:
            response.close()
            place, word, size = _FORMS[1]
            continue
        if response.status != 200:
            raise RegistryError(
                f"{base} answers {response.status} to a search", "name another --index"
            )
        document = load_json(bounded(response, base, _LARGEST), f"the answer of {base}")
        results = document.get("results") if isinstance(document, dict) else None
        if not results or not isinstance(results, list):
            return
        for entry in results:
            if isinstance(entry, dict):
                found += 1
                yield _found(entry)
        if isinstance(pages := document.get("num_pages"), int) and page >= pages:
            return  # the index goes on with its last page for ever
        page += 1


def _found(entry: dict[str, Any]) -> Found:
    stars = entry.get("star_count")
    return Found(
        _shown(entry.get("repo_name") or entry.get("name") or ""),
        _shown(entry.get("short_description") or entry.get("description") or ""),
        stars if isinstance(stars, int) else 0,
        bool(entry.get("is_official")),
    )


def _shown(text: object) -> str:
    """A text of anybody's on one line, without what a terminal would obey."""
    line = str(text)
    return line if line.isprintable() else "".join(c if c.isprintable() else " " for c in line)
