"""``prune`` as it is typed: it asks, keeps what runs, here and elsewhere, and says what it did."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cwl_userspace.image.confine import remove_tree
from tests.containers import Home, shell_layer, waiting

pytestmark = pytest.mark.once
UNTIL_TOLD = "echo started; read line"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home with one image, of a name that may be taken away."""
    made = Home(tmp_path)
    made.add("tool", shell_layer().bytes())
    yield made
    remove_tree(str(tmp_path / "store"))


def store(home: Home) -> Path:
    return Path(home.environment["CWL_USERSPACE_HOME"])


def prune(home: Home, *words: str) -> dict[str, object]:
    document = json.loads(home.call("prune", "--force", "--format", "json", *words).text)
    assert isinstance(document, dict)
    return document


@contextmanager
def running(
    home: Home, *words: str, node: str = "", options: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """A container that runs until its standard input closes, on a node of its own if named."""
    command = home.command("--engine", "userns", "run", "-i", *options, *words, "sh", "-c")
    if node:
        alone = ["unshare", "--user", "--map-root-user", "--uts", "--pid", "--fork"]
        script = 'hostname "$0" && exec "$@"'
        command = [
            os.fsencode(word) for word in (*alone, "--mount-proc", "sh", "-c", script, node)
        ] + command
    with subprocess.Popen(
        [*command, UNTIL_TOLD.encode()],
        env=home.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout and process.stdout.readline() == b"started\n"
        yield process
        assert process.stdin
        process.stdin.close()
        process.wait(60)


def test_a_pipe_without_force_is_told_so_in_one_sentence(home: Home) -> None:
    for words in ((), ("--all",), ("--whole-store",)):
        refused = home.call("prune", *words)
        assert refused.code == 125 and refused.out == b""
        assert "--force" in refused.complaint and "--dry-run" in refused.complaint
    assert home.call("images", "-q").text


@pytest.mark.parametrize("answer", ["y\n", "n\n", "\n"])
def test_a_person_is_asked(home: Home, answer: str) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        home.command("prune", "--all"),
        env=home.environment,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        os.write(ours, answer.encode())
        out, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert b"[y/N]" in err and b"tool" in err
    assert process.returncode == (0 if answer == "y\n" else 1)
    assert (b"freed" in out) == (answer == "y\n") != bool(home.call("images", "-q").text)


def test_bad_words_are_named(home: Home) -> None:
    for words, value in (
        (("--older-than", "soon"), "soon"),
        (("--keep-size", "much"), "much"),
        (("--format", "xml"), "xml"),
        (("tool",), "tool"),
    ):
        refused = home.call("prune", "--force", *words)
        assert refused.code == 125 and value in refused.complaint


def test_a_dry_run_says_what_would_go_and_nothing_goes(home: Home) -> None:
    text = home.call("prune", "--all", "--dry-run").text
    assert "tool" in text and "would free" in text
    assert home.call("run", "tool", "true").code == 0
    would = json.loads(home.call("prune", "--all", "--dry-run", "--format", "json").text)
    did = prune(home, "--all")
    assert would["removed"] == did["removed"] and would["bytes"] == did["bytes"]
    assert did["bytes"] != 0
    assert prune(home, "--all")["removed"] == []


@pytest.mark.parametrize("node", ["", "node-7"])
def test_what_runs_is_neither_pruned_nor_removed(home: Home, node: str) -> None:
    with running(home, "tool", node=node):
        kept = prune(home, "--all")
        assert kept["removed"] == [] and "in use" in str(kept["kept"])
        for words in (("rmi", "tool"), ("prune", "--whole-store", "--force")):
            refused = home.call(*words)
            assert refused.code == 125 and "in use" in refused.complaint
            assert not node or node in refused.complaint
    assert prune(home, "--all")["removed"] != []


def test_a_supervisor_that_was_killed_keeps_nothing(home: Home) -> None:
    with running(home, "tool") as process:
        process.kill()
        process.wait()
        for _ in waiting(20):
            if prune(home, "--all")["removed"]:
                break
        else:
            raise AssertionError("the image is still in use")
    assert os.listdir(store(home) / "leases") == []


def test_a_container_that_was_created_counts(home: Home) -> None:
    home.call("create", "--name", "mine", "tool")
    with running(home, "mine"):
        refused = home.call("prune", "--whole-store", "--force")
        assert refused.code == 125 and "in use" in refused.complaint
    assert "container" in str(prune(home, "--all")["kept"])
    home.call("rm", "mine")
    assert prune(home, "--all")["removed"] != []


def test_a_plain_user_removes_the_whole_store_with_one_command(home: Home) -> None:
    home.call("create", "--name", "mine", "tool")
    closed = store(home) / "containers" / "mine" / "rootfs" / "closed"
    (closed / "d").mkdir(parents=True)
    closed.chmod(0)
    assert prune(home, "--whole-store")["bytes"]
    assert not store(home).exists()
    again = home.call("prune", "--whole-store", "--force")
    assert again.code == 125 and "no store" in again.complaint


def test_who_is_told_that_a_store_is_full_can_make_room(home: Home) -> None:
    """What a killed build or pull has left needs no word of ours to be found."""
    left = store(home) / "tmp"
    name = "from cwl_userspace.store.owner import private_name; print(private_name())"
    dead = subprocess.check_output([sys.executable, "-c", name], text=True).strip()
    (left / dead).mkdir()
    (left / dead / "half").write_bytes(bytes(1 << 16))
    freed = prune(home)
    assert int(str(freed["bytes"])) >= 1 << 16 and os.listdir(left) == []
