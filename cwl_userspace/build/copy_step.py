"""COPY and ADD: files of the context, of a stage, of an image, of the Dockerfile itself."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from cwl_userspace.build import adding, metadata
from cwl_userspace.build.copying import Copying
from cwl_userspace.build.dockerfile import Heredoc, Instruction, is_heredoc
from cwl_userspace.build.layer import LayerFile
from cwl_userspace.build.metadata import Text
from cwl_userspace.build.patterns import Ignored
from cwl_userspace.build.problem import Problem
from cwl_userspace.build.sources import Item, Place, Source, digest
from cwl_userspace.build.stage import StageState
from cwl_userspace.build.steps import Tools, Work
from cwl_userspace.digest import Digest

_FLAGS = {
    "COPY": {"from": True, "chown": True, "chmod": True, "exclude": True, "link": False},
    "ADD": {"chown": True, "chmod": True, "exclude": True, "link": False, "checksum": True},
}
_MODE = re.compile(r"[0-7]{3,4}$")

Given = Mapping[str, Sequence[str]]


def copy_work(tools: Tools, state: StageState, instruction: Instruction) -> Work:
    """Copy files; what they depend on is their names, modes and contents, or a stage's layers."""
    given, rest = metadata.flags(instruction.value, _FLAGS[instruction.keyword])
    text = state.text(rest, tools.escape)
    given = {name: [text.expand(value) for value in values] for name, values in given.items()}
    words = text.raw_words()
    if len(words) < 2:
        raise Problem("has no target", "expected sources, then a place in the image")
    target = text.expand(words[-1])
    place = os.path.join(state.working_dir, target)
    as_directory = target.endswith(("/", "/.")) or target in (".", "..")
    mode = _mode(given)
    sources = _Sources(tools, instruction, text, words[:-1], given)

    def make(built: str) -> Digest | None:
        found = sources.ready()
        several = len(found) > 1 and not as_directory
        if several:
            raise Problem(f"has several sources, but the target {target!r}", "end it with a /")
        layer = LayerFile(built)
        Copying(layer.writer, state.tree.rootfs(), mode).copy(found, place, as_directory)
        return layer.close()

    facts = [sources.key(), place, as_directory, mode, list(given.get("exclude", ()))]
    return Work(facts, make, in_tree=False)


class _Sources:
    """The sources of one instruction: found once, and only when they are needed."""

    def __init__(
        self, tools: Tools, instruction: Instruction, text: Text, words: list[str], given: Given
    ) -> None:
        self._tools = tools
        self._adds = instruction.keyword == "ADD"
        self._heredocs = list(instruction.heredocs)
        self._text = text
        self._words = words
        self._checksum = given.get("checksum", [""])[-1]
        self._excluded = Ignored(given.get("exclude", ()))
        self._name = given.get("from", [""])[-1]
        self._origin = tools.origin(self._name) if self._name else None
        self._found: list[Source] = []

    def key(self) -> list[str]:
        """What a step's key says of the sources."""
        if self._origin is not None:
            return [self._origin.key, *map(self._text.expand, self._words)]
        return [digest(self._all())]

    def ready(self) -> list[Source]:
        """The sources as they are to be copied: ADD unpacks archives of the context."""
        if not self._adds:
            return self._all()
        return [
            adding.unpacked(source, self._tools.private)
            if self._is_of_context(word) and adding.is_archive(source)
            else source
            for word, source in zip(self._word_of, self._all(), strict=True)
        ]

    def _all(self) -> list[Source]:
        if not self._found:
            self._word_of: list[str] = []
            for word in self._words:
                sources = self._of(word)
                self._found += sources
                self._word_of += [word] * len(sources)
        return self._found

    def _is_of_context(self, word: str) -> bool:
        return not is_heredoc(word) and not adding.is_address(self._text.expand(word))

    def _of(self, word: str) -> list[Source]:
        if self._heredocs and is_heredoc(word):
            return [self._written(self._heredocs.pop(0))]
        name = self._text.expand(word)
        if self._adds and adding.is_address(name):
            private, offline = self._tools.private, self._tools.offline
            return [adding.download(name, private, self._checksum, offline)]
        if self._origin is not None:
            place = Place(self._origin.rootfs(), f"{self._name!r}")
            return place.find(name, self._excluded)
        if os.path.normpath(name.lstrip("/")).startswith(".."):
            raise Problem(f"takes {name!r}, which is outside of the context", "copy it in first")
        return self._tools.context.find(name, self._excluded)

    def _written(self, heredoc: Heredoc) -> Source:
        """A here-document as a file; in quotes its name says that no variable is meant."""
        content = self._text.expand_lines(heredoc.text) if heredoc.expand else heredoc.text
        path = os.path.join(self._tools.private, f"document-{os.urandom(6).hex()}")
        with open(path, "x", encoding="utf-8") as file:
            file.write(content)
        os.chmod(path, 0o644)
        raw = os.fsencode(path)
        return Source(os.fsencode(heredoc.name), (Item(b"", raw, os.lstat(raw)),), False)


def _mode(given: Given) -> int | None:
    text = given.get("chmod", [""])[-1]
    if not text:
        return None
    if not _MODE.match(text):
        raise Problem(f"has --chmod={text}", "expected an octal mode, 0755 say")
    return int(text, 8)
