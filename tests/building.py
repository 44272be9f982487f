"""A directory to build from, and the images that come of it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

from tests.containers import Home, Ran, Word


class Workshop:
    """A context, a name for the image that is built of it, and an engine, or whatever works."""

    def __init__(self, home: Home, context: Path, engine: str = "auto") -> None:
        self.home = home
        self.context = context
        self.engine = engine
        self.image = f"built-{context.name.replace('_', '-').strip('-').lower()}"

    def write(self, name: str, text: str = "", mode: int = 0o644) -> Path:
        """A file of the context."""
        path = self.context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def build(self, dockerfile: str, *options: Word, cache: bool = False, **given: Any) -> Ran:
        """``build`` with a Dockerfile of this text; steps are done anew unless ``cache``."""
        self.write("Dockerfile", dockerfile)
        fresh = () if cache else ("--no-cache",)
        words = ("--engine", self.engine, "build", *fresh, "-t", self.image, *options)
        return self.home.call(*words, self.context, **given)

    def built(self, dockerfile: str, *options: Word, cache: bool = False, **given: Any) -> Path:
        """The tree of the image that a Dockerfile becomes."""
        ran = self.build(dockerfile, *options, cache=cache, **given)
        assert ran.code == 0, ran.err.decode()
        return self.tree

    @property
    def tree(self) -> Path:
        """The tree of the image that was built."""
        return self.home.tree(self.image)

    def document(self) -> dict[str, Any]:
        """The configuration of the image that was built."""
        identifier = self.home.call("inspect", "-f", "{{.Id}}", self.image).text.strip()
        path = self.home.place / "store" / "blobs" / "sha256" / identifier.removeprefix("sha256:")
        content = path.read_bytes()
        assert f"sha256:{hashlib.sha256(content).hexdigest()}" == identifier
        document: dict[str, Any] = json.loads(content)
        return document

    def config(self) -> dict[str, Any]:
        """How the image that was built is to be run."""
        config: dict[str, Any] = self.document()["config"]
        return config

    def run(self, *words: Word, **given: Any) -> Ran:
        """``run`` in the image that was built."""
        return self.home.call("--engine", self.engine, "run", self.image, *words, **given)

    @property
    def leftovers(self) -> list[str]:
        """What builds have left in the store's and the user's temporary directories."""
        return [*os.listdir(self.home.place / "store" / "tmp"), *self.home.leftovers]


def facts(tree: Path, times: bool = False) -> dict[str, tuple[object, ...]]:
    """What there is at each name of a tree: kind, mode, content; and the whole second if asked."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, names, files in os.walk(tree):
        for path in (Path(directory, name) for name in (*names, *files)):
            found[str(path.relative_to(tree))] = _facts(path, times)
    return found


def _facts(path: Path, times: bool) -> tuple[object, ...]:
    seen = path.lstat()
    held: object = None
    if stat.S_ISLNK(seen.st_mode):
        held = path.readlink()
    elif stat.S_ISREG(seen.st_mode) and os.access(path, os.R_OK):
        held = (seen.st_nlink, hashlib.sha256(path.read_bytes()).hexdigest())
    return (stat.filemode(seen.st_mode), held, int(seen.st_mtime) if times else 0)


def names(tree: Path) -> set[str]:
    """All names of a tree."""
    return set(facts(tree))
