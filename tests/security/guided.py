"""Fuzzing that is led by coverage: input that reaches new branches is kept and changed further.

usage: python -m tests.security.guided archives|names|documents [OPTION OF LIBFUZZER...]

What holds is what the tests with Hypothesis ask, here of any bytes. What breaks it is printed and
written to a file ``crash-...``, which given as an argument is tried again. Needs atheris.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import atheris

with atheris.instrument_imports(include=["cwl_userspace"]):
    from tests.security import test_documents, test_fuzzed

PATIENCE = "-timeout=30"  # seconds for one input: what never ends is found, too
HEAD = 2  # bytes that say in which pieces an archive comes


def archives(data: bytes) -> None:
    """An archive is the same in whatever pieces it comes; its checksums are made to fit."""
    size = 1 + int.from_bytes(data[:HEAD], "big") % 1500
    body = test_fuzzed.mended(data[HEAD:])
    test_fuzzed.read_alike(body, size, whole=True)


def names(data: bytes) -> None:
    """An image's name is read or refused."""
    test_documents.read_name(data.decode("utf-8", "surrogateescape"))


class Target(NamedTuple):
    """A property, and what to begin with."""

    holds: Callable[[bytes], None]
    seeds: Sequence[bytes]


TARGETS = {
    "archives": Target(archives, [b"\1\0" + member for member in test_fuzzed.MEMBERS]),
    "names": Target(names, [b"localhost:5000/library/debian:1@sha256:" + b"a" * 64, b"[::1]:80/a"]),
    "documents": Target(test_documents.read_all, test_documents.WHOLE_BYTES),
}


def main(name: str, *options: str) -> None:
    """Fuzz a target until libFuzzer ends the process: 0 where nothing was found."""
    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds):
            Path(corpus, str(number)).write_bytes(seed)
        atheris.Setup([sys.argv[0], corpus, PATIENCE, *options], target.holds)
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
