"""A person at a terminal sees bars; everybody else at most a line in the log, and pays nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers import Box, Home, Tar, Word, shell_layer
from tests.fake_registry import FakeRegistry
from tests.terminals import Person

pytestmark = pytest.mark.once

# Runs our command with these words in this process, and says whether rich was imported.
_WHO_PAYS = """
import sys
from cwl_userspace.cli import main
code = main(sys.argv[1:])
sys.exit(9 if any(name.split(".")[0] == "rich" for name in sys.modules) else code)
"""


class Plain(Box):
    """Our command itself, and no engine before its words."""

    def words(self, *words: Word) -> tuple[Word, ...]:
        return words


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home")


def added(registry: FakeRegistry, name: str) -> tuple[str, list[str]]:
    """An image of two layers: its name, and what its bars are called."""
    layers = [shell_layer().bytes(), Tar().file(name, os.urandom(1 << 16)).bytes()]
    image = registry.add(name, "1", layers)
    registry.faults.stall = 0.3  # before each layer, so that its bar is shown
    return f"{registry.authority}/{name}:1", [layer[7:19] for layer in image.layers]


def at_a_terminal(home: Home, *words: Word, shell: str = "") -> Person:
    person = Person(Plain(home, ""), *words, shell=shell)
    person.resize(30, 120)
    return person


def log_of(home: Home) -> list[str]:
    return (home.place / "state" / "cwl-userspace" / "log").read_text().splitlines()


def test_at_a_terminal_there_is_a_bar_for_each_layer_and_one_for_all(
    home: Home, registry: FakeRegistry
) -> None:
    name, layers = added(registry, "tool")
    person = at_a_terminal(home, "pull", name)
    for text in (name, *layers, "MB", f"fetched {name} in"):
        assert person.sees(text), text
    assert person.wait() == 0
    assert len(log_of(home)) == 1


def test_several_images_share_the_terminal(
    home: Home, registry: FakeRegistry, tmp_path: Path
) -> None:
    words = []
    for name in ("one", "two"):
        image, _ = added(registry, name)
        document = tmp_path / f"{name}.cwl"
        document.write_text(
            "cwlVersion: v1.2\nclass: CommandLineTool\ninputs: []\noutputs: []\n"
            f"hints: {{DockerRequirement: {{dockerPull: '{image}'}}}}\nbaseCommand: 'true'\n"
        )
        words.append(document)
    person = at_a_terminal(home, "prefetch", *words)
    # cwltool starts first, which takes its time on a busy machine.
    assert person.sees("fetched", 90.0) and person.sees("fetched", 90.0)
    assert person.sees("/one:1\r\n") and person.sees("/two:1\r\n")
    assert person.wait() == 0
    assert len(log_of(home)) == 2


def test_a_program_s_child_shows_no_bars_even_at_a_terminal(
    home: Home, registry: FakeRegistry
) -> None:
    name, layers = added(registry, "tool")
    script = f"{sys.executable} -c 'import subprocess, sys; subprocess.run(sys.argv[1:])' \"$@\""
    person = at_a_terminal(home, "pull", name, shell=script)
    assert person.wait() == 0
    shown = person.shown.decode()
    assert f"fetched {name} in" in shown
    assert layers[0] not in shown and "\x1b[" not in shown.replace("\x1b[?2004", "")


def test_in_a_pipe_nothing_is_shown_and_nothing_imported_for_it(
    home: Home, registry: FakeRegistry
) -> None:
    name, _ = added(registry, "tool")
    done = subprocess.run(
        [sys.executable, "-c", _WHO_PAYS, "pull", name],
        env=home.environment,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{name}\n".encode(), b"")
    (line,) = log_of(home)
    assert f"fetched {name} in" in line


def test_a_run_that_had_to_fetch_its_image_at_a_terminal_goes_on_in_its_name_spaces(
    home: Home, registry: FakeRegistry
) -> None:
    name, layers = added(registry, "tool")
    words = ("--engine", "userns", "run", name, "echo", "it", "runs")
    person = at_a_terminal(home, *words)
    assert person.sees(layers[0]) and person.sees("it runs")
    assert person.wait() == 0
