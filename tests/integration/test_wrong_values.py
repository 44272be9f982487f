"""Values that have no meaning: each is refused in one line, by whichever verb it is given to."""

from __future__ import annotations

import pytest

from tests.containers import Home
from tests.docker import Shims

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home without images and without containers."""
    return Home(tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="module")
def docker(empty: Home, tmp_path_factory: pytest.TempPathFactory) -> Shims:
    return Shims(empty, tmp_path_factory.mktemp("shims"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("ps --filter status=nonsense", "status=nonsense is not known"),
        ("ps --filter exited=x", "exited=x is not known"),
        ("ps --filter name=(", "name=( is no pattern"),
        ("ps --filter before=nobody", "no container 'nobody'"),
        ("ps --filter size=1", "'size=1' is not known"),
        ("images --filter dangling=x", "dangling=x is not known"),
        ("images --filter since=nothing", "nothing"),
    ],
)
def test_a_wrong_filter_is_refused_where_there_is_nothing_to_list(
    empty: Home, words: str, said: str
) -> None:
    ran = empty.call(*words.split())
    assert ran.code in (1, 125) and said in ran.complaint


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("image prune -f --filter dangling=x", "dangling=x is not known"),
        ("image prune -f --filter until=x", "until is 'x'"),
        ("network ls --filter dangling=x", "dangling=x is not known"),
        ("images one two", "images takes one name"),
    ],
)
def test_docker_removes_and_lists_nothing_for_words_without_meaning(
    docker: Shims, words: str, said: str
) -> None:
    ran = docker.docker(*words.split())
    assert ran.code == 125 and said in ran.complaint


@pytest.mark.parametrize(
    "words",
    ["--add-host=h:nonsense", "--add-host=h:1.2.3.4:5", "--add-host=[::1]", "--cpuset-cpus=0-",
     "--device=/dev/null:/dev/x:nonsense", "--device=/dev/null:/dev/x:/dev/y"],
)  # fmt: skip
def test_what_run_could_not_do_is_refused_before_an_image_is_looked_for(
    empty: Home, words: str
) -> None:
    option, _, value = words.partition("=")
    ran = empty.call("run", words, "no/such:1")
    assert ran.code == 125 and f"{option} is '{value}'" in ran.complaint


def test_hosts_and_devices_are_named_in_each_of_dockers_ways(home: Home) -> None:
    hosts = ("a:1.2.3.4", "b=1.2.3.5", "c:::6", "d=[::7]", "e:[::8]", "f:host-gateway")
    given = [f"--add-host={host}" for host in hosts]
    script = "tail -n 6 /etc/hosts; head -c 1 /dev/null"
    ran = home.call("run", *given, "--device=/dev/null:r", "busybox", "sh", "-c", script)
    addresses = "1.2.3.4 a 1.2.3.5 b ::6 c ::7 d ::8 e 127.0.0.1 f"
    assert ran.text.split() == addresses.split()


@pytest.mark.parametrize("option", ["--mount=source=/,target=/x,{}", "-v=/:/x:ro,{}"])
def test_what_is_to_be_read_alone_is_not_written_for_a_word_that_nobody_knows(
    empty: Home, option: str
) -> None:
    ran = empty.call("run", option.format("ro=nonsense"), "no/such:1")
    assert ran.code == 125 and "nonsense'; expected" in ran.complaint


@pytest.mark.parametrize("name", ["a b", "a\tb", "a\n1.2.3.4 registry", "a#b", "a" * 65, "é" * 33])
def test_a_host_name_is_one_word_that_the_kernel_takes(empty: Home, name: str) -> None:
    ran = empty.call("run", "-h", name, "no/such:1")
    assert ran.code == 125 and "expected a word of at most 64 bytes" in ran.complaint


def test_a_host_name_may_have_what_docker_lets_it_have(home: Home) -> None:
    name = "a_b.c-1" * 9
    ran = home.call("run", "--hostname", name, "busybox", "sh", "-c", "hostname; cat /etc/hosts")
    assert ran.text.startswith(f"{name}\n") and f"127.0.0.1\t{name}\n" in ran.text
