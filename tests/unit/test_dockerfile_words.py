"""Variables, quotes and escapes in a Dockerfile mean what they mean to Docker."""

from __future__ import annotations

import pytest

from cwl_userspace.build.metadata import Text, exec_form, flags
from cwl_userspace.build.problem import Problem
from cwl_userspace.build.words import expand, pairs, split

KNOWN = {"A": "one", "EMPTY": "", "PATHS": "/usr/lib:/lib", "SPACE": "a b"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$A", "one"),
        ("${A}s", "ones"),
        ("$As", ""),
        ("$NONE", ""),
        ("a$", "a$"),
        ("$A$A", "oneone"),
        ('"$A b"', "one b"),
        ("'$A b'", "$A b"),
        (r"\$A", "$A"),
        (r'"\$A \" \x"', '$A " \\x'),
        (r"a\ b", "a b"),
        ("${A:-two}", "one"),
        ("${EMPTY:-two}", "two"),
        ("${EMPTY-two}", ""),
        ("${NONE-two}", "two"),
        ("${NONE:-$A}", "one"),
        ("${NONE:-${EMPTY:-deep}}", "deep"),
        ("${A:+two}", "two"),
        ("${EMPTY:+two}", ""),
        ("${EMPTY+two}", "two"),
        ("${NONE:+two}", ""),
        ("${A:?needed}", "one"),
        ("${PATHS#*/}", "usr/lib:/lib"),
        ("${PATHS##*/}", "lib"),
        ("${PATHS%/*}", "/usr/lib:"),
        ("${PATHS%%/*}", ""),
        ("${PATHS#x}", "/usr/lib:/lib"),
        ("${PATHS/lib/x}", "/usr/x:/lib"),
        ("${PATHS//lib/x}", "/usr/x:/x"),
        ("$SPACE", "a b"),
        ("ü$A", "üone"),
    ],
)
def test_a_text_is_expanded(text: str, result: str) -> None:
    assert expand(text, KNOWN, "\\") == result


def test_another_escape_character_leaves_the_backslash_alone() -> None:
    assert expand(r"c:\$A `$A", KNOWN, "`") == r"c:\one $A"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("'open", "a quote that is not closed"),
        ('"open', "a quote that is not closed"),
        ("${A", "the unknown modifier ''"),
        ("${A:-x", "lacks a '}'"),
        ("${}", "no name follows"),
        ("${A!x}", "the unknown modifier '!'"),
        ("${NONE:?is needed}", "needs the variable NONE: is needed"),
        ("${EMPTY:?}", "needs the variable EMPTY: not set"),
    ],
)
def test_what_cannot_be_expanded_is_refused(text: str, said: str) -> None:
    with pytest.raises(Problem) as caught:
        expand(text, KNOWN, "\\")
    assert said in caught.value.message


def test_a_here_document_keeps_its_quotes() -> None:
    text = Text("", KNOWN, "\\").expand_lines("say \"$A\" '$A' \\$A \\n\n")
    assert text == "say \"one\" 'one' $A \\n\n"


def test_words_are_parted_by_white_space_outside_of_quotes() -> None:
    assert split(r"""a "b c"d 'e f' g\ h  i""", "\\") == ["a", '"b c"d', "'e f'", r"g\ h", "i"]
    assert split("  ", "\\") == []


def test_pairs_are_read_in_both_forms() -> None:
    assert pairs('A=1 B="two words" C=x\\ y', "\\") == [
        ("A", "1"),
        ("B", '"two words"'),
        ("C", "x\\ y"),
    ]
    assert pairs("A all of  this = one", "\\") == [("A", "all of  this = one")]


@pytest.mark.parametrize("text", ["A", "A=1 B", "=1"])
def test_what_is_no_pair_is_refused(text: str) -> None:
    with pytest.raises(Problem):
        pairs(text, "\\")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('["a", "b c"]', ["a", "b c"]),
        ("[]", []),
        ("['a']", None),
        ("[ -f x ] && y", None),
        ("a b", None),
        ('["a", 1]', None),
    ],
)
def test_only_an_array_of_texts_is_the_exec_form(value: str, words: list[str] | None) -> None:
    assert exec_form(value) == words


def test_flags_come_first() -> None:
    given, rest = flags("--from=a --link  b --chmod=1 c", {"from": True, "link": False})
    assert (given, rest) == ({"from": ["a"], "link": [""]}, "b --chmod=1 c")


@pytest.mark.parametrize("value", ["--other=a b", "--from b", "--from= b"])
def test_an_unknown_or_empty_flag_is_refused(value: str) -> None:
    with pytest.raises(Problem):
        flags(value, {"from": True})
