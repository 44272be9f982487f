"""What ``logs`` shows of a log that is being written, and which times it understands."""

from __future__ import annotations

from pathlib import Path

import pytest

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.logs import added, command
from cwl_userspace.ended import keep
from cwl_userspace.errors import UsageError
from cwl_userspace.journal import Reader, path


def test_what_is_written_just_before_the_end_is_read(tmp_path: Path) -> None:
    """The last line comes after the last look at a log of what still runs."""
    place = tmp_path / "log"
    place.write_bytes(b"2030-01-01T00:00:00Z stdout F first\n")
    last = iter((b"", b"2030-01-01T00:00:01Z stdout F last\n"))

    def goes_on() -> bool:
        line = next(last)
        with place.open("ab") as file:
            file.write(line)
        return not line

    reader = Reader(str(place))
    assert [line.text for line in added(reader, goes_on)] == [b"first", b"last"]
    reader.close()


@pytest.mark.parametrize("text", ["soon", "nan", "inf", "1e20", "99999999999999h", "5msh"])
def test_what_is_no_time_is_refused(tmp_path: Path, text: str) -> None:
    context = Context({"HOME": str(tmp_path)}, "", quiet=False)
    with pytest.raises(UsageError, match=f"^--since is '{text}'; expected 10m"):
        command(context, ["--since", text, "any"])


def test_more_lines_than_there_can_be_are_all(tmp_path: Path) -> None:
    context = Context({"HOME": str(tmp_path)}, "", quiet=False)
    place = Path(path(context.settings.state, "f" * 64))
    place.parent.mkdir(parents=True)
    place.write_bytes(b"2030-01-01T00:00:00Z stdout F first\n")
    keep(context.settings.state, "f" * 64, "ended", 0)
    assert command(context, ["-n", "9" * 20, "ended"]) == 0


@pytest.mark.parametrize("text", ["5ms", "1h30m", "1.5s", "0", "1700000000.5", "2030-01-31"])
def test_a_time_is_found_before_a_container_is_looked_for(tmp_path: Path, text: str) -> None:
    context = Context({"HOME": str(tmp_path)}, "", quiet=False)
    with pytest.raises(Exception, match=r"^no container 'any'"):
        command(context, ["--since", text, "any"])
