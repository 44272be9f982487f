"""Patterns of .dockerignore, and of sources, match what they match for Docker."""

from __future__ import annotations

import pytest

from cwl_userspace.build.patterns import Ignored, step


@pytest.mark.parametrize(
    ("lines", "left_out", "kept"),
    [
        (["a"], ["a", "a/b"], ["b/a", "ab"]),
        (["/a"], ["a"], ["b/a"]),
        (["*.log"], ["x.log"], ["d/x.log", "x.logs"]),
        (["*/*.log"], ["d/x.log"], ["x.log", "d/e/x.log"]),
        (["**/*.log"], ["x.log", "d/x.log", "d/e/x.log"], ["x.txt"]),
        (["a/**"], ["a/b", "a/b/c"], ["a", "b/a"]),
        (["a/**/b"], ["a/b", "a/x/b", "a/x/y/b/c"], ["a", "b"]),
        (["?x"], ["ax"], ["x", "aax", "/x"]),
        (["[ab]x"], ["ax", "bx"], ["cx"]),
        (["[^ab]x"], ["cx"], ["ax"]),
        (["[a-c]"], ["b"], ["d", "-"]),
        ([r"[\d]", r"[a\-c]"], ["d", "a", "-", "c"], ["5", "b"]),
        (["[z-a]", "[^z-a]x"], ["bx"], ["z", "a", "-"]),
        ([r"\*"], ["*"], ["a"]),
        (["# a", "", "  b  "], ["b"], ["a", "# a"]),
        (["./a/../b/"], ["b", "b/c"], ["a"]),
        (["*", "!a"], ["b", "c/d"], ["a", "a/b"]),
        (["*", "!a", "a/b"], ["b", "a/b", "a/b/c"], ["a", "a/c"]),
        (["a", "!a/b"], ["a", "a/c"], ["a/b"]),
        (["!a", "a"], ["a"], ["b"]),
        ([".", "/"], [], ["a"]),
        (["a.b"], ["a.b"], ["axb"]),
    ],
)
def test_the_last_rule_that_matches_decides(
    lines: list[str], left_out: list[str], kept: list[str]
) -> None:
    ignored = Ignored(lines)
    assert [name for name in (*left_out, *kept) if name in ignored] == left_out


def test_a_star_in_a_source_is_any_part_of_one_name() -> None:
    assert step("*.t?t").fullmatch("a.txt")
    assert not step("*.t?t").fullmatch("a/b.txt")
    assert step("*").fullmatch(".hidden")
