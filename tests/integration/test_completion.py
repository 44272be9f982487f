"""Real shells complete our command line with what help says, and with names of the store."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.containers import PATIENCE, Home

pytestmark = pytest.mark.once

_BASH = """
source "$1"
COMP_LINE=$2 COMP_POINT=${#2}
_cwl_userspace
printf '%s\\n' "${COMPREPLY[@]}"
"""
# Control-X completes what was typed, notes what that has become, and empties the line.
_ZSH = """
PS1= PROMPT_EOL_MARK=
autoload -Uz compinit && compinit -u -D
source "$SCRIPT"
note() { zle complete-word; print -r -- "$BUFFER" >> "$NOTES"; BUFFER= }
zle -N note && bindkey '^X' note
: > "$NOTES"
"""

Complete = Callable[[str], list[str]]


@pytest.fixture(scope="module")
def place(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the command under its name; the store has a container named completed."""
    place = tmp_path_factory.mktemp("path")
    program = place / "cwl-userspace"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m cwl_userspace "$@"\n')
    program.chmod(0o755)
    home.call("create", "--name", "completed", "busybox")
    return place


def environment(home: Home, place: Path) -> dict[str, str]:
    return {**home.environment, "PATH": f"{place}:{os.environ['PATH']}", "TERM": "xterm"}


def script(home: Home, place: Path, shell: str) -> Path:
    path = place / f"completion.{shell}"
    path.write_text(home.call("completion", shell).text)
    return path


@contextmanager
def bash(home: Home, place: Path) -> Iterator[Complete]:
    source = script(home, place, "bash")

    def complete(line: str) -> list[str]:
        words = ["bash", "-c", _BASH, "bash", str(source), line]
        return subprocess.check_output(words, env=environment(home, place), text=True).split()

    yield complete


@contextmanager
def fish(home: Home, place: Path) -> Iterator[Complete]:
    source = script(home, place, "fish")

    def complete(line: str) -> list[str]:
        words = ["fish", "-N", "-c", "source $argv[1]; complete -C $argv[2]", str(source), line]
        shown = subprocess.check_output(words, env=environment(home, place), text=True)
        return [one.partition("\t")[0] for one in shown.splitlines()]

    yield complete


@contextmanager
def zsh(home: Home, place: Path) -> Iterator[Complete]:
    """At a terminal of its own: there is no other way to ask it. A line's only completion."""
    notes = place / "notes"
    given = {"SCRIPT": str(script(home, place, "zsh")), "NOTES": str(notes)}
    (place / "init").write_text(_ZSH)
    keyboard, terminal = pty.openpty()
    shell = subprocess.Popen(
        ["zsh", "-f", "-i"],
        env={**environment(home, place), **given},
        stdin=terminal,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    noted = 0

    def wait(enough: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not enough():
            assert time.monotonic() < end and shell.poll() is None
            time.sleep(0.02)

    def complete(line: str) -> list[str]:
        nonlocal noted
        os.write(keyboard, f"{line}\x18".encode())
        wait(lambda: notes.read_text().count("\n") > noted)
        become = notes.read_text().splitlines()[noted]
        noted += 1
        # An option's = is there until a space takes it away.
        return [become.split()[-1].removesuffix("=")]

    try:
        os.write(keyboard, f"source {place}/init\n".encode())
        wait(notes.exists)
        yield complete
    finally:
        shell.kill()
        shell.wait()
        os.close(keyboard)
        os.close(terminal)


@pytest.mark.parametrize("shell", [bash, zsh, fish], ids=lambda shell: shell.__name__)
def test_a_shell_completes_verbs_options_and_names(
    home: Home, place: Path, shell: Callable[[Home, Path], AbstractContextManager[Complete]]
) -> None:
    with shell(home, place) as complete:
        assert complete("cwl-userspace insp") == ["inspect"]
        assert complete("cwl-userspace --offl") == ["--offline"]
        assert complete("cwl-userspace run --workd") == ["--workdir"]
        assert complete("cwl-userspace run --on-unmet wa") == ["warn"]
        assert complete("cwl-userspace --engine proot run -w /tmp configu") == ["configured:latest"]
        assert complete("cwl-userspace run complet") == ["completed"]
        assert complete("cwl-userspace completion ba") == ["bash"]
        assert complete("cwl-userspace help unpro") == ["unprotect"]


def test_bash_goes_on_after_a_colon(home: Home, place: Path) -> None:
    """readline's word begins after it, and so what is completed must."""
    with bash(home, place) as complete:
        assert complete("cwl-userspace rmi configured:la") == ["latest"]


def test_bash_leaves_the_words_of_a_command_alone(home: Home, place: Path) -> None:
    with bash(home, place) as complete:
        assert complete("cwl-userspace run busybox ls --workd") == []
        assert complete("cwl-userspace run -- busy") == ["busybox:latest"]
