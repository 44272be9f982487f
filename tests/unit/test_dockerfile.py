"""A Dockerfile becomes the instructions that Docker reads in it."""

from __future__ import annotations

import pytest

from cwl_userspace.build.dockerfile import Heredoc, Instruction, parse
from cwl_userspace.errors import DockerfileError

pytestmark = pytest.mark.once


def read(text: str) -> list[tuple[str, str, int]]:
    found = parse(text.encode(), "Dockerfile").instructions
    return [(one.keyword, one.value, one.line) for one in found]


def only(text: str) -> Instruction:
    (found,) = parse(text.encode(), "Dockerfile").instructions
    return found


def test_an_instruction_has_the_line_where_it_begins() -> None:
    text = "# a comment\n\nFROM base\nRUN a\\\n b\nCMD c\n"
    assert read(text) == [("FROM", "base", 3), ("RUN", "a b", 4), ("CMD", "c", 6)]


def test_keywords_may_be_written_in_any_case() -> None:
    assert read("from base\nRun true") == [("FROM", "base", 1), ("RUN", "true", 2)]


def test_comments_and_empty_lines_in_a_continued_line_are_no_part_of_it() -> None:
    text = "RUN one && \\\n# why\n\n   # and why\n two \\\n\n && three\nRUN four\n"
    assert read(text) == [("RUN", "one &&  two  && three", 1), ("RUN", "four", 8)]


def test_a_hash_in_the_middle_of_a_line_is_no_comment() -> None:
    assert read("RUN echo a # b") == [("RUN", "echo a # b", 1)]


def test_two_escapes_at_the_end_of_a_line_continue_nothing() -> None:
    assert read("RUN echo \\\\\nUSER me") == [("RUN", "echo \\\\", 1), ("USER", "me", 2)]


def test_white_space_behind_an_escape_does_not_matter() -> None:
    assert read("RUN a \\  \t\n b") == [("RUN", "a  b", 1)]


def test_a_last_line_that_nothing_follows_is_kept() -> None:
    assert read("FROM a\nRUN b \\") == [("FROM", "a", 1), ("RUN", "b", 2)]
    assert read("FROM a\nRUN b \\\n# end\n") == [("FROM", "a", 1), ("RUN", "b", 2)]


def test_the_escape_directive_changes_what_continues_a_line() -> None:
    text = "# syntax=docker/dockerfile:1\n# escape=`\nRUN a `\n b\nRUN dir c:\\\n"
    assert read(text) == [("RUN", "a  b", 3), ("RUN", "dir c:\\", 5)]
    assert parse(text.encode(), "Dockerfile").escape == "`"


def test_a_directive_behind_an_empty_line_is_a_comment() -> None:
    assert parse(b"\n# escape=`\nRUN a", "Dockerfile").escape == "\\"


def test_lines_may_end_as_on_windows_and_begin_with_a_mark() -> None:
    assert read("\ufeffFROM a\r\nRUN b \\\r\n c\r\n") == [("FROM", "a", 1), ("RUN", "b  c", 2)]


def test_a_here_document_belongs_to_its_instruction() -> None:
    text = "RUN <<EOF\nFROM no instruction \\\n# no comment\n\nEOF\nUSER me\n"
    run, user = parse(text.encode(), "Dockerfile").instructions
    body = "FROM no instruction \\\n# no comment\n\n"
    assert run == Instruction("RUN", "<<EOF", 1, (Heredoc("EOF", body, True, False),))
    assert user == Instruction("USER", "me", 6)


def test_several_here_documents_are_read_in_order() -> None:
    text = "COPY <<a <<'b' /to/\none $X\na\ntwo $X\nb\n"
    first, second = only(text).heredocs
    assert (first.name, first.raw, first.expand) == ("a", "one $X\n", True)
    assert (second.name, second.raw, second.expand) == ("b", "two $X\n", False)


def test_a_here_document_may_follow_a_continued_line() -> None:
    assert only("RUN cat \\\n  <<E\nx\nE\n").heredocs == (Heredoc("E", "x\n", True, False),)


def test_a_dash_takes_leading_tabs_away() -> None:
    (document,) = only("RUN <<-E\n\t\tx\n\ty\tz\n\tE\n").heredocs
    assert document.text == "x\ny\tz\n"
    assert document.raw == "\t\tx\n\ty\tz\n"


def test_only_what_can_have_here_documents_is_looked_at_for_them() -> None:
    assert read("ENV A=<<EOF\nUSER me") == [("ENV", "A=<<EOF", 1), ("USER", "me", 2)]
    assert read('RUN ["a", "<<EOF"]\nUSER me')[1] == ("USER", "me", 2)
    assert read("RUN cat <<<word\nUSER me")[1] == ("USER", "me", 2)


def test_an_instruction_for_later_keeps_its_here_document() -> None:
    assert only("ONBUILD RUN <<E\nx\nE\n").value == "RUN <<E\nx\nE"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FROM a\nFETCH b", "line 2 of Dockerfile: no instruction 'FETCH'"),
        ("FROM a\nRUN", "line 2 of Dockerfile: 'RUN' is no whole instruction"),
        ("FROM a\nRUN <<E\nx", "line 2 of Dockerfile: the here-document E has no end"),
        ("# escape=x\nFROM a", "line 1 of Dockerfile: the escape character is 'x'"),
        ("# nothing", "Dockerfile has no instruction"),
        ("", "Dockerfile has no instruction"),
    ],
)
def test_what_is_no_dockerfile_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(text.encode(), "Dockerfile")
    assert said in str(caught.value)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("content", [b"FROM \xff", b"FROM a\0"])
def test_what_is_no_text_is_refused(content: bytes) -> None:
    with pytest.raises(DockerfileError):
        parse(content, "Dockerfile")
