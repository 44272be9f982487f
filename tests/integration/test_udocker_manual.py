"""The examples of udocker 1.3's README and user manual that those of its help do not have, too.

The substitutions are those of test_udocker_examples, and these:

* fedora:29, ubuntu, rhel7, centos:7 and the like are one small image; quay.io, docker.io and
  registry.access.redhat.com are a registry on this host; Docker Hub's search is a server here that
  answers as that does (tests/fake_hub.py);
* /tmp/myrepo and /tmp/mydir are directories of the test, ``ssh user@ahost`` is another store here.

docs/udocker.rst lists which examples are not replayed, and why.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_hub import DESCRIBED, hub
from tests.fake_registry import FakeRegistry
from tests.proxy import proxy
from tests.udocker import UUID, Udocker, fedora, stock

pytestmark = pytest.mark.once

BIO = "biocontainers/scikit-bio"


@pytest.fixture(scope="module")
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        stock(registry)
        layer = fedora()
        for name, tag in (
            *(("library/fedora", "29"), ("library/centos", "7"), ("library/rhel7", "latest")),
            *((BIO, "0.2.3--np112py35_0"), ("fedora/memcached", "latest")),
        ):
            registry.add(name, tag, [layer], config={"config": {"Cmd": ["/bin/sh"]}})
        yield registry


@pytest.fixture
def udocker(registry: FakeRegistry, tmp_path: Path) -> Udocker:
    """A home that reaches the registries that the manual names, in one place."""
    udocker = Udocker(tmp_path / "u", registry)
    places = {host: {"mirrors": [registry.url]} for host in ("docker.io", "quay.io")}
    (udocker.place / "config.yml").write_text(json.dumps({"registries": places}))
    return udocker


def test_images_and_registries_of_the_manual(udocker: Udocker, registry: FakeRegistry) -> None:
    sh, work = udocker.sh, udocker.work
    assert "quay.io/biocontainers/scikit-bio" in sh("udocker search  quay.io/bio").text
    tags = sh(f"udocker search  --list-tags  quay.io/{BIO}").text
    assert tags.split() == ["0.2.3--np112py35_0"]
    assert sh(f"udocker pull    quay.io/{BIO}:0.2.3--np112py35_0").code == 0
    assert sh("udocker install && udocker install --force --purge").code == 0
    assert sh("udocker --insecure pull busybox").code == 0
    assert sh("udocker -D pull busybox:latest").code == 0
    line = f"udocker pull --registry={registry.url}  rhel7 && udocker create --name=rh7 rhel7"
    assert UUID.fullmatch(sh(line).text.split()[-1])
    assert sh("udocker run rh7", stdin=b"echo $((6 * 7))\n").out.endswith(b"42\n")
    assert "busybox" in sh("udocker images -l").text
    asked = "udocker manifest --platform=linux/ppc64le inspect centos:7"
    assert json.loads(sh(asked).text)["layers"]
    assert sh("udocker tag busybox:latest  mycentos:mycentos7").code == 0
    for line in ("protect mycentos:mycentos7", "unprotect mycentos:mycentos7"):
        assert sh(f"udocker {line}").text == ""
    assert sh("udocker rmi -f mycentos:mycentos7").code == 0
    line = "udocker save -o - > docker-image.tar busybox:latest rhel7"
    assert sh(f"{line} && udocker load - < docker-image.tar").text.split() == [
        "busybox:latest",
        "rhel7:latest",
    ]
    assert sh("udocker save -o one.tar busybox && udocker load -i one.tar test-image").text == (
        "test-image\n"
    )
    assert (
        "test-image:latest" in sh("udocker images").text and "-:" not in sh("udocker images").text
    )
    line = f"udocker --repo={work}/myrepo pull docker.io/fedora/memcached"
    assert sh(f"udocker mkrepo {work}/myrepo && {line}").code == 0
    assert sh(f"udocker --repo={work}/myrepo images").text.split()[1] == "fedora/memcached:latest"
    with proxy(udocker.place, {"far.test": registry.authority}) as between:
        line = "udocker --insecure pull --registry=http://far.test"
        assert sh(f"{line} --httpproxy=http://{between.authority} centos:7").code == 0
        assert any("far.test/v2/library/centos/" in asked for asked in between.asked())
    refused = sh("udocker pull --httpproxy=socks5://host:port busybox:none")
    assert refused.code == 1 and refused.err.count(b"\n") == 1


def test_containers_of_the_manual(udocker: Udocker) -> None:
    sh, work = udocker.sh, udocker.work
    (work / "myscript.sh").write_text("#!/bin/sh\necho my script\n")
    (work / "myscript.sh").chmod(0o755)
    release = "Fedora release 24 (Twenty Four)\n"
    assert sh("udocker -q run fedora:29 cat /etc/redhat-release").text == release
    line = "udocker run --name=F29 --pull=reuse fedora:29 cat /etc/redhat-release"
    assert sh(f"{line} && {line}").text == 2 * release
    assert sh("udocker create --name=myfed  fedora:29").code == 0
    inside = "cd /tmp; ./myscript.sh"
    for line in (
        f'udocker run  -v {work}:/tmp  --entrypoint="" myfed  /bin/bash -c "{inside}"',
        f'udocker run  -v {work}:/tmp  --entrypoint=/bin/bash  myfed  -c "{inside}"',
        f'udocker run  -v={work}:/tmp  myfed  /bin/bash -c "{inside}"',
    ):
        assert sh(line).text == "my script\n"
    home = udocker.environment["HOME"]
    (Path(home) / "mine").write_text("here\n")
    line = "udocker run -v=$HOME:/home/user -w=/home/user myfed  /bin/bash"
    assert sh(line, stdin=b"pwd; cat mine\n").text == "/home/user\nhere\n"
    assert sh("udocker run --volume=/tmp  myfed  /bin/bash", stdin=b"ls -d /tmp\n").text == "/tmp\n"
    assert "uid=1000(" in sh("udocker run --user=1000:1001  myfed  /bin/id").text
    assert (
        sh("udocker run myfed  /bin/bash <<EOF\ncd /etc\ncat redhat-release\nEOF").text == release
    )
    assert sh("udocker run --user=root --containerauth myfed id -u").text == "0\n"
    assert sh("UDOCKER_LOGLEVEL=2 udocker run myfed /bin/ls -d /bin").text == "/bin\n"
    assert (
        sh("UDOCKER_DEFAULT_EXECUTION_MODE=P2 udocker run myfed /bin/ls -d /bin").text == "/bin\n"
    )
    assert sh("udocker run -e LD_LIBRARY_PATH=/usr/lib myfed env").text.count("=/usr/lib\n") == 1
    assert sh("udocker -D run myfed ls -d /bin").code == 0
    for mode in ("F3", "P1", "R1", "S1"):
        assert sh(f"udocker setup --force --execmode={mode} myfed").code == 0
        assert f"execmode: {mode}" in sh("udocker setup  myfed").text
    root = sh("udocker inspect -p myfed").text.strip()
    assert sh(f"udocker run --location={root} any cat /etc/redhat-release").text == release
    identifier = sh("udocker clone --name=BLUE myfed").text.strip()
    assert sh(f"udocker protect {identifier}").text == ""
    assert sh(f"udocker rm {identifier}").code == 1
    for line in (f"unprotect {identifier}", f"name {identifier} TEAL", "rename TEAL GREEN"):
        assert sh(f"udocker {line}").text == ""
    assert sh("udocker rmname GREEN").code == 0
    assert sh(f"udocker rm {identifier}").code == 0
    assert sh("udocker verify fedora:29").code == 0
    assert sh("udocker export -o docker_container.tar myfed").code == 0
    assert sh("udocker import - myrepo:latest < docker_container.tar").code == 0
    assert sh("udocker import --tocontainer --name=BLUE docker_container.tar").code == 0
    assert sh("udocker export --clone -o udocker_container.tar myfed").code == 0
    assert sh("udocker import --clone --name=RED udocker_container.tar").code == 0
    for name in ("BLUE", "RED"):
        assert sh(f"udocker run {name} cat /etc/redhat-release").text == release
    for line in ("create --name=c7 centos:7", "setup --execmode=P1 c7", "run c7 ls -d /bin"):
        assert sh(f"udocker --allow-root {line}").code == 0


@pytest.mark.parametrize("form", ["v2", "v1"])
def test_docker_hub_is_searched_as_it_answers(udocker: Udocker, form: str) -> None:
    """Its own form, and that of the index, with pages; a mirror would stand in for it."""
    names = ["fedora", "me/fedora-a", "me/fedora-b", "me/fedora-c", "centos"]
    with hub(form, names) as searched:
        given = ("search", f"--index={searched.url}/v1", "fedora")
        lines = udocker(*given).text.splitlines()
        assert [line.split()[0] for line in lines[1:]] == names[:4]
        assert DESCRIBED in lines[1]
        own = udocker.home.call("search", "--limit", "2", "--index", searched.url, "fedora").text
        assert [line.split()[0] for line in own.splitlines()[1:]] == names[:2]
        assert "[OK]" in own.splitlines()[1] and " 7 " in f"{own.splitlines()[1]} "
        assert udocker(*given[:2], "nothing").text.count("\n") <= 1
    word = "query=fedora&page=1&page_size=100" if form == "v2" else "q=fedora&page=1&n=100"
    assert any(path.endswith(word) for path in searched.asked)
