"""Network on and off, names of hosts, and the memory that containers share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers import Box, Home
from tests.greeting import greeting

TALK = "nc -w 3 127.0.0.1 {} < /dev/null"


@pytest.fixture
def port() -> Iterator[int]:
    """A server on the host's loopback that greets."""
    with greeting("127.0.0.1") as number:
        yield number


def test_the_network_of_the_host_is_there_unless_it_is_turned_off(box: Box, port: int) -> None:
    assert box.sh(TALK.format(port)).text == "hello\n"
    assert box.sh(TALK.format(port), "--network", "host").text == "hello\n"


@pytest.mark.every_engine
@pytest.mark.parametrize("option", ["--network=none", "--net=none"])
@pytest.mark.parametrize("user", [[], ["-u", "root"]])
def test_a_network_that_is_off_reaches_no_port_of_the_host(
    box: Box, port: int, option: str, user: list[str]
) -> None:
    ran = box.sh(TALK.format(port), option, *user)
    assert ran.code != 0 and b"hello" not in ran.out


def test_loopback_works_in_a_network_of_its_own(home: Home) -> None:
    # proot turns loopback off as well, and says so.
    box = Box(home, "userns")
    script = "nc -l -p 5555 -e echo inside & sleep 0.3; nc -w 3 127.0.0.1 5555 < /dev/null"
    assert box.sh(script, "--network=none").text == "inside\n"


def test_names_are_resolved_as_on_the_host(box: Box) -> None:
    for name in ("resolv.conf", "nsswitch.conf"):
        path = Path("/etc", name)
        if path.exists():
            assert box.run("busybox", "cat", str(path)).text == path.read_text()
    hosts = box.run("busybox", "cat", "/etc/hosts").text
    assert hosts.startswith(Path("/etc/hosts").read_text())


def test_added_hosts_are_in_the_table(box: Box) -> None:
    options = ["--add-host", "a.example:10.1.2.3", "--add-host=six.example:2001:db8::1"]
    for network in ("host", "none"):
        hosts = box.run(*options, "--network", network, "busybox", "cat", "/etc/hosts").text
        lines = [line.split() for line in hosts.splitlines()]
        assert ["10.1.2.3", "a.example"] in lines and ["2001:db8::1", "six.example"] in lines


def test_the_name_of_the_host_can_be_chosen(box: Box) -> None:
    script = "echo $HOSTNAME; grep -c chosen /etc/hosts"
    assert box.sh(script, "--hostname", "chosen").text == "chosen\n1\n"
    if box.engine == "userns":
        assert box.sh("hostname", "-h", "chosen").text == "chosen\n"


def test_shared_memory_has_the_size_asked_for(box: Box) -> None:
    assert box.sh("echo a > /dev/shm/x && cat /dev/shm/x", "--shm-size=8m").text == "a\n"
    if box.engine == "userns":
        sizes = box.sh("df -k /dev/shm | tail -n 1", "--shm-size=8m").text.split()
        assert sizes[1] == "8192"
