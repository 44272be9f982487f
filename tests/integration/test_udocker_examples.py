"""Every command of udocker's README, and of the examples in its help, as they stand there.

What is substituted, and nothing else:

* the program is called ``udocker``, not ``udocker.py`` or ``./udocker.py``;
* fedora, busybox, centos and the like are small images made here, with busybox for programs and a
  script for yum, which installs scripts; ``centos/centos8`` has a manifest for this machine alone,
  and so for ``--platform=linux/arm64`` fedora is taken;
* a registry on this host serves them: the list that it gives of its repositories stands in the
  place of Docker Hub's search, and ``quay.io`` is that registry, too;
* the directories /home/u457 and /data of the host are directories of the test;
* a shell that nobody types at ends at once, so ``/bin/bash`` reads one line, where it is to show
  what it sees.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_registry import FakeRegistry
from tests.udocker import UUID, Udocker, stock

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        stock(registry)
        yield registry


@pytest.mark.parametrize("engine", ["userns", "proot"])
def test_the_readme_of_udocker_works(engine: str, registry: FakeRegistry, tmp_path: Path) -> None:
    udocker = Udocker(tmp_path / "u", registry, engine)
    u457 = udocker.work / "u457"
    u457.mkdir()
    (u457 / "mine").write_text("here\n")

    # Search on dockerhub
    assert "fedora " in udocker.sh("udocker search  fedora").text
    assert "ubuntu " in udocker.sh("udocker search  ubuntu").text
    assert "indigodatacloud/disvis " in udocker.sh("udocker search  indigodatacloud").text

    # Pull from docker hub and list the pulled images
    for line in ("fedora", "busybox", "indigodatacloud/disvis"):
        assert udocker.sh(f"udocker pull  {line}").code == 0
    images = udocker.sh("udocker images").text.splitlines()
    assert images[0] == "REPOSITORY"
    assert {line.split()[0] for line in images[1:]} == {
        *("fedora:latest", "busybox:latest", "indigodatacloud/disvis:latest")
    }

    # Create the container from a pulled image and run it
    assert UUID.fullmatch(udocker.sh("udocker create --name=myfed  fedora").text.strip())
    release = udocker.sh("udocker run  myfed  cat /etc/redhat-release").text
    assert release.startswith("Fedora release")

    # Run mounting the host /home/u457 into the container directory /home/cuser
    line = f"udocker run -v {u457}:/home/cuser -w /home/user myfed  /bin/bash"
    assert udocker.sh(line, stdin=b"pwd; cat /home/cuser/mine\n").text == "/home/user\nhere\n"
    line = "udocker run -v /var -v /proc -v /sys -v /tmp  myfed  /bin/bash"
    seen = udocker.sh(line, stdin=b"ls -d /var/lib /proc/self/status /sys/kernel /tmp\n").text
    assert seen.split() == ["/proc/self/status", "/sys/kernel", "/tmp", "/var/lib"]

    # Install software inside the container
    line = "udocker run  --user=root myfed  yum install -y firefox pulseaudio gnash-plugin"
    assert udocker.sh(line).text == ""

    # Run as some user
    users = {"1000:1001": "1000 1001", "root": "0 0", "jorge": "1000 1001"}
    for user, numbers in users.items():
        ran = udocker.sh(f"udocker run --user {user}  myfed  /bin/id").text
        uid, gid = numbers.split()
        assert f"uid={uid}(" in ran and f"gid={gid}(" in ran

    # Firefox with audio and video; --hostauth looks for a user among the host's
    ours = getpass.getuser()
    line = (
        "udocker run --bindhome --hostauth --hostenv"
        f" -v /sys -v /proc -v /var/run -v /dev --user={ours} --dri myfed firefox"
    )
    assert udocker.sh(line, environment={"DISPLAY": ":0"}).text == "/bin/firefox runs\n"
    assert udocker.sh("udocker rmi busybox").code == 0
    assert udocker.sh("udocker help").text.startswith("usage: udocker")
    assert "--hostauth" in udocker.sh("udocker run --help").text
    assert udocker.home.leftovers == []


def test_the_examples_in_the_help_of_udocker_work(registry: FakeRegistry, tmp_path: Path) -> None:
    udocker = Udocker(tmp_path / "u", registry)
    sh, data = udocker.sh, udocker.work / "data"

    assert "fedora" in sh("udocker search fedora").text
    assert "centos/centos8" in sh(f"udocker search {registry.authority}/centos").text
    assert sh("udocker search --list-tags fedora").text.split() == ["here", "latest", "there"]
    assert sh("udocker pull fedora:latest").code == 0
    assert "fedora:latest    .\n" in sh("udocker images").text
    identifier = sh("udocker create --name=mycontainer  fedora:latest").text.strip()
    assert identifier in sh("udocker ps -m -s").text
    assert json.loads(sh("udocker inspect mycontainer").text)["config"]["Cmd"] == ["/bin/sh"]
    tree = Path(sh("udocker inspect -p mycontainer").text.strip())
    assert (tree / "etc/redhat-release").exists()

    assert json.loads(sh("udocker manifest inspect fedora").text)["manifests"]
    assert sh("udocker pull --platform=linux/arm64 fedora").code == 0
    assert "linux/arm64" in sh("udocker images -p").text
    assert sh("udocker tag fedora  mycentos/centos8:arm64").code == 0
    assert "mycentos/centos8:arm64    .\n" in sh("udocker images").text

    assert sh("udocker run  mycontainer  cat /etc/redhat-release").text.startswith("Fedora")
    line = "udocker run --hostauth --hostenv --bindhome  mycontainer"
    ran = sh(line, stdin=b"echo $HOME $MINE\n", environment={"MINE": "is set"})
    assert ran.text == f"{udocker.environment['HOME']} is set\n"
    assert sh("udocker run --user=root  mycontainer  yum install firefox").text == ""
    line = "udocker run --hostauth --hostenv --bindhome mycontainer  firefox"
    assert sh(line).text == "/bin/firefox runs\n"
    line = 'udocker run --entrypoint="" mycontainer  /bin/bash -i'
    assert b"42\n" in sh(line, stdin=b"echo $((6 * 7))\n").out
    line = 'udocker run --entrypoint="/bin/bash" mycontainer -i'
    assert b"42\n" in sh(line, stdin=b"echo $((6 * 7))\n").out

    assert UUID.fullmatch(sh("udocker clone --name=anotherc mycontainer").text.strip())
    assert sh("udocker run anotherc firefox").text == "/bin/firefox runs\n"
    assert sh("udocker rm anotherc").code == 0

    assert sh("udocker pull busybox && udocker save -o docker-saved-repo.tar busybox").code == 0
    assert sh(f"udocker mkrepo {data}/myrepo").text == ""
    assert sh(f"udocker --repo={data}/myrepo load -i docker-saved-repo.tar").text.split() == [
        "busybox:latest"
    ]
    assert sh(f"udocker --repo={data}/myrepo images").text == "REPOSITORY\nbusybox:latest    .\n"
    line = f"udocker --repo={data}/myrepo run --user=$USER  busybox:latest id"
    assert sh(line, environment={"USER": "jorge"}).text.startswith("uid=1000(jorge)")

    assert sh("udocker export -o myimage.tar mycontainer").code == 0
    assert sh("udocker import myimage.tar mynewimage").code == 0
    assert UUID.fullmatch(sh("udocker create --name=mynewc mynewimage").text.strip())
    assert sh("udocker run mynewc firefox").text == "/bin/firefox runs\n"
    assert sh("udocker export --clone -o mycontainer.tar mycontainer").code == 0
    copy = sh("udocker import --clone mycontainer.tar").text.strip()
    assert sh(f"udocker run {copy} firefox").text == "/bin/firefox runs\n"

    # From the notes
    hosts = "--volume=/etc/hosts"
    assert sh(f"udocker run --volume={data}:/mnt {hosts}  mycontainer ls /mnt").text == "myrepo\n"
    line = "udocker run --nosysdirs --volume=/dev --volume=/proc  mycontainer ls /sys"
    assert sh(line).text == ""
    for mode in ("F3", "R1", "S1"):
        assert sh(f"udocker setup --force --execmode={mode} mycontainer").code == 0
        assert f" {mode} ['mycontainer']" in sh("udocker ps -m").text
    assert "R3" in sh("udocker setup --help").text
    assert sh("udocker setup --nvidia mycontainer").code == 0
    assert sh("udocker setup mycontainer").text == "execmode: S1\nnvidiamode: True\n"
    assert sh("udocker run -v /etc/hosts mynewc ls").code == 0
    assert sh("udocker --help run").text == sh("udocker run --help").text
    assert "root_ids" in sh("udocker showconf").text
    for line in ("version", "--version", "-V"):
        assert sh(f"udocker {line}").text.startswith("version: 1.3.")
