"""Offline nothing of ours touches the network, whoever asks, and words say how to go on."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers import Home, Ran, Tar, docker_archive, oci_layout, shell_layer
from tests.cwl.documents import cwltool, tool
from tests.fake_registry import FakeRegistry

pytestmark = pytest.mark.once

# A name that a look-up would have to ask for, and that nobody has.
NAME = "registry.example.invalid/tool:1"
_STRACE = ("strace", "-f", "-ff", "-qq", "-e", "trace=socket,connect,sendto,sendmsg,sendmmsg", "-o")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home")


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        registry.add("tool", "1", [Tar().file("content").bytes()])
        yield registry


def sockets(trace: Path) -> list[str]:
    """The sockets for a network that a program and its children opened."""
    return [line for line in calls(trace) if "socket(AF_INET" in line]


def calls(trace: Path) -> list[str]:
    """What they said to a network, or opened to do so."""
    files = list(trace.parent.glob(f"{trace.name}.*"))
    assert files, "strace has seen nothing"
    return [line for file in files for line in file.open() if "AF_INET" in line]


def traced(home: Home, trace: Path, *words: str | Path, **environment: str) -> Ran:
    """Our command under strace, which sees each socket that it or a child of it opens."""
    done = subprocess.run(
        [*_STRACE, trace, *home.command(*words)],
        env={**home.environment, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=100,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    "words",
    [
        ("run", NAME, "true"),
        ("pull", NAME),
        ("create", NAME),
        ("import", "http://registry.example.invalid/image.tar", "tool"),
        ("setup", "proot", "--url", "http://registry.example.invalid/p", "--sha256", "0" * 64),
        ("login", "-u", "me", "-p", "word", "registry.example.invalid"),
    ],
    ids=lambda words: str(words[0]),
)
def test_no_verb_opens_a_socket_and_each_says_why(
    home: Home, tmp_path: Path, words: tuple[str, ...]
) -> None:
    ran = traced(home, tmp_path / "trace", "--offline", *words)
    assert ran.code == 125
    assert "offline" in ran.complaint and "registry.example.invalid" in ran.complaint
    assert sockets(tmp_path / "trace") == []


def test_without_the_option_the_same_look_would_find_a_socket(home: Home, tmp_path: Path) -> None:
    ran = traced(home, tmp_path / "trace", "pull", NAME)
    assert ran.code == 125 and sockets(tmp_path / "trace") != []


def test_a_build_takes_neither_its_base_nor_a_file_from_the_network(
    home: Home, tmp_path: Path
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    for text in (f"FROM {NAME}\n", "FROM scratch\nADD http://registry.example.invalid/f /f\n"):
        (context / "Dockerfile").write_text(text)
        ran = traced(home, tmp_path / "trace", "--offline", "build", context)
        assert ran.code != 0 and b"offline" in ran.err
    assert sockets(tmp_path / "trace") == []


def test_the_words_say_what_is_missing_and_how_to_get_it(home: Home) -> None:
    said = home.call("run", NAME, "true", environment={"CWL_USERSPACE_OFFLINE": "1"}).complaint
    for word in (NAME, "prefetch", "load", "oci:DIR"):
        assert word in said


def test_the_configuration_may_say_so_and_the_variable_takes_it_back(
    home: Home, registry: FakeRegistry
) -> None:
    config = home.place / "config" / "cwl-userspace"
    config.mkdir()
    (config / "config.yml").write_text("offline: true\n")
    name = f"{registry.authority}/tool:1"
    assert home.call("pull", name).code == 125 and registry.requests == []
    assert home.call("pull", name, environment={"CWL_USERSPACE_OFFLINE": "0"}).code == 0


def test_mirrors_on_disk_are_asked_and_those_of_the_network_are_not(
    home: Home, registry: FakeRegistry, tmp_path: Path
) -> None:
    layer = shell_layer().bytes()
    layout = oci_layout(tmp_path / "layout", NAME, layer, {})
    config = home.place / "config" / "cwl-userspace"
    config.mkdir()
    mirrors = json.dumps([registry.url, f"oci:{layout}"])
    text = f"registries:\n  registry.example.invalid: {{mirrors: {mirrors}}}\n"
    (config / "config.yml").write_text(text)
    ran = traced(home, tmp_path / "trace", "--offline", "pull", NAME)
    assert (ran.code, ran.out) == (0, f"{NAME}\n".encode())
    assert registry.requests == [] and sockets(tmp_path / "trace") == []


def test_an_image_of_the_store_is_used_and_pulled_again_from_nowhere(
    home: Home, registry: FakeRegistry
) -> None:
    name = f"{registry.authority}/tool:1"
    assert home.call("pull", name).code == 0
    before = len(registry.requests)
    assert home.call("--offline", "pull", name).text == f"{name}\n"
    assert len(registry.requests) == before


def test_the_docker_shim_asks_nobody(home: Home, tmp_path: Path) -> None:
    assert home.call("shim", "docker", "--dir", tmp_path / "bin").code == 0
    done = subprocess.run(
        [*_STRACE, tmp_path / "trace", tmp_path / "bin" / "docker", "run", "--rm", NAME, "true"],
        env={**home.environment, "CWL_USERSPACE_OFFLINE": "1"},
        capture_output=True,
        timeout=100,
    )
    assert done.returncode == 125 and b"prefetch" in done.stderr
    assert sockets(tmp_path / "trace") == []


def test_the_extension_asks_nobody_and_names_the_line(home: Home, tmp_path: Path) -> None:
    document = tool("true", {"dockerPull": NAME})
    done = cwltool(
        home,
        tmp_path,
        document,
        environment={"CWL_USERSPACE_OFFLINE": "1"},
        prefix=(*_STRACE, str(tmp_path / "trace")),
    )
    assert done.code != 0 and "prefetch" in done.words and "document.cwl:" in done.words
    # cwltool imports requests, and that opens a socket; nobody is spoken to.
    assert [line for line in calls(tmp_path / "trace") if "socket(" not in line] == []


def test_a_file_behind_an_address_is_not_fetched_for_the_extension(
    home: Home, registry: FakeRegistry, tmp_path: Path
) -> None:
    docker_archive(tmp_path / "image.tar", "of/a/file:1", shell_layer().bytes(), {})
    document = tool("true", {"dockerLoad": f"{registry.url}/image.tar"})
    done = cwltool(home, tmp_path, document, environment={"CWL_USERSPACE_OFFLINE": "1"})
    assert done.code != 0 and "must not be asked" in done.words
    assert registry.requests == []


def test_a_variable_without_sense_is_told(home: Home) -> None:
    ran = home.call("images", environment={"CWL_USERSPACE_OFFLINE": "perhaps"})
    assert "expected 1 or 0" in ran.complaint
