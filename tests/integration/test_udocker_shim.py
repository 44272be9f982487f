"""udocker's words beyond its examples: what stays, what scripts read, and who else calls it."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers import PATIENCE, all_gone, busybox, marker, waiting
from tests.fake_registry import FakeRegistry
from tests.udocker import Udocker, fedora, stock

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        stock(registry)
        yield registry


@pytest.fixture(scope="module")
def udocker(registry: FakeRegistry, tmp_path_factory: pytest.TempPathFactory) -> Udocker:
    """One home for all tests of this module, each of which makes containers of its own."""
    udocker = Udocker(tmp_path_factory.mktemp("udocker") / "u", registry)
    assert udocker("pull", "fedora").code == 0
    return udocker


def row(udocker: Udocker, identifier: str, *options: str) -> str:
    """The line of a container in the list, without the spaces at its end."""
    listed = udocker("ps", *options).text.splitlines()
    return next((line.rstrip() for line in listed if line.startswith(identifier)), "")


def test_an_image_is_run_in_a_container_that_stays_unless_rm_is_given(udocker: Udocker) -> None:
    before = udocker("ps").text
    assert udocker("run", "--rm", "fedora", "sh", "-c", "exit 3").code == 3
    assert udocker("ps").text == before
    name = marker()
    assert udocker("run", f"--name={name}", "fedora", "sh", "-c", "echo one > /kept").text == ""
    again = udocker("run", f"--name={name}", "--pull=reuse", "fedora", "cat", "/kept")
    assert again.text == "one\n"
    assert "is taken" in udocker("run", f"--name={name}", "fedora", "id").err.decode()
    assert udocker("run", "--rm", name, "cat", "/kept").text == "one\n"
    assert udocker("ps").text == before


def test_a_container_has_several_names_and_each_finds_it(udocker: Udocker) -> None:
    first, second, third = marker(), marker(), marker()
    identifier = udocker.create(first)
    assert udocker("name", identifier, second).text == ""
    assert row(udocker, identifier) == f"{identifier} . W ['{first}', '{second}'] fedora:latest"
    assert udocker("name", first, second).code == 1
    assert udocker("create", f"--name={second}", "fedora").code == 1
    assert udocker("run", second, "sh", "-c", "echo one > /kept").text == ""
    assert udocker("rename", first, third).text == ""
    assert udocker("rmname", second).text == f"Info: container name: {second} removed.\n"
    assert udocker("rmname", second).err.startswith(b"Error: ")
    assert udocker("run", third, "cat", "/kept").text == "one\n"
    assert udocker("rmname", third).code == 0
    assert row(udocker, identifier) == f"{identifier} . W {'':18} fedora:latest"
    assert udocker("run", identifier, "cat", "/kept").text == "one\n"
    assert udocker("rm", identifier).text == f"Info: deleting container: {identifier}\n"
    assert udocker("create", f"--name={second}", "fedora").code == 0


def test_what_is_protected_is_not_deleted_by_anybody(udocker: Udocker) -> None:
    name = marker()
    identifier = udocker.create(name)
    assert udocker("protect", identifier).text == ""
    assert row(udocker, identifier).startswith(f"{identifier} P W")
    for ran in (udocker("rm", "-f", name), udocker("rm", identifier)):
        assert (ran.code, b"is protected" in ran.err) == (1, True)
    assert "is protected" in udocker.home.call("rm", "-f", name).complaint
    udocker("protect", "fedora")
    assert "fedora:latest    P\n" in udocker("images").text
    assert udocker("rmi", "-f", "fedora").code == 1
    assert udocker("unprotect", "fedora").code == udocker("unprotect", name).code == 0
    assert udocker("rm", name).code == 0


def test_the_caller_is_let_in_only_as_far_as_is_asked_for(udocker: Udocker) -> None:
    secret = {"SECRET": "told", "FROM_IMAGE": "not this"}
    script = "echo $SECRET; id -u; echo $HOME"
    ran = udocker("run", "--rm", "fedora", "sh", "-c", script, environment=secret)
    assert ran.text == "\n0\n/root\n"
    ran = udocker(
        *("run", "--rm", "--hostenv", "--bindhome", "-u", "jorge", "fedora", "sh", "-c", script),
        environment=secret,
    )
    assert ran.text == f"told\n1000\n{udocker.environment['HOME']}\n"
    ran = udocker("run", "--rm", "--hostauth", "--user=jorge-is-not-here", "fedora", "id")
    assert (ran.code, ran.err.startswith(b"Error: user not found")) == (1, True)
    (udocker.work / "variables").write_text("ONE=1\n# no\nTWO=2\n")
    words = ("--env-file=variables", "-e", "TWO=zwei", "--env=THREE", "-w", "/etc")
    script, three = "echo $ONE $TWO $THREE $PWD", {"THREE": "3"}
    ran = udocker("run", "--rm", *words, "fedora", "sh", "-c", script, environment=three)
    assert ran.text == "1 zwei 3 /etc\n"
    ran = udocker("run", "--rm", "-v", "/etc/hosts", "--novol=/etc/hosts", "fedora", "wc", "-l")
    assert ran.code == 0


def test_a_run_without_metadata_or_command_starts_a_shell(udocker: Udocker) -> None:
    name = marker()
    udocker.create(name)
    ran = udocker("run", "--nometa", name, stdin=b"echo $((6 * 7))\n")
    assert b"42\n" in ran.out
    place = Path(udocker("inspect", "-p", name).text.strip()).parent
    inside = "test -s /etc/redhat-release && echo here"
    ran = udocker("run", f"--location={place}", "any", "sh", "-c", inside)
    assert ran.text == "here\n"
    ran = udocker("run", f"--location={udocker.work}/none", "any", "id")
    assert (ran.code, b"is no root file system" in ran.err) == (1, True)


def test_a_mode_is_kept_for_a_container_and_chooses_its_engine(udocker: Udocker) -> None:
    name = marker()
    identifier = udocker.create(name)
    assert udocker("setup", "--execmode=P1", name).out.startswith(b"Info: execmode P1 is proot")
    assert row(udocker, identifier, "-m").startswith(f"{identifier} . W P1 ")
    script = "cat /proc/self/status"
    assert "TracerPid:\t0\n" not in udocker("run", name, "sh", "-c", script).text
    assert udocker("setup", "--execmode=P9", name).code == 1
    ran = udocker("ps", "-m", environment={"UDOCKER_DEFAULT_EXECUTION_MODE": "F2"})
    assert " F2 " in ran.text


@pytest.mark.parametrize("hostile", ["link", "record"])
def test_a_clone_in_a_tar_is_refused_that_leads_out(
    udocker: Udocker, tmp_path: Path, hostile: str
) -> None:
    with tarfile.open(tmp_path / "clone.tar", "w") as tar:
        if hostile == "link":
            root = tarfile.TarInfo("ROOT")
            root.type, root.linkname = tarfile.SYMTYPE, "/"
            tar.addfile(root)
            tar.addfile(tarfile.TarInfo("container.json"), io.BytesIO())
        else:
            root = tarfile.TarInfo("ROOT")
            root.type = tarfile.DIRTYPE
            tar.addfile(root)
            record = tarfile.TarInfo("container.json")
            record.type, record.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(record)
    before = udocker("ps").text, udocker("images").text
    ran = udocker("import", "--clone", tmp_path / "clone.tar")
    assert (ran.code, ran.err.startswith(b"Error: ")) == (1, True)
    assert (udocker("ps").text, udocker("images").text) == before


def test_a_tar_becomes_a_container_and_no_image(udocker: Udocker, tmp_path: Path) -> None:
    name, before = marker(), udocker("images").text
    ran = udocker("import", "--tocontainer", f"--name={name}", "-", stdin=fedora())
    identifier = ran.text.strip()
    assert row(udocker, identifier) == f"{identifier} . W ['{name}'] IMPORTED:unknown"
    assert udocker("run", name, "cat", "/etc/redhat-release").text.startswith("Fedora")
    assert udocker("images").text == before
    (tmp_path / "moved.tar").write_bytes(fedora())
    assert udocker("import", "--mv", tmp_path / "moved.tar", "moved").code == 0
    assert not (tmp_path / "moved.tar").exists()
    ran = udocker("import", "-", "moved", stdin=fedora())
    assert (ran.code, b"already exists" in ran.err) == (1, True)
    assert udocker("verify", "moved").text.endswith("Info: image Ok\n")
    saved = udocker("save", "moved").out
    assert udocker("load", "again:1", stdin=saved).text == "again:1\n"
    assert "again:1    .\n" in udocker("images").text


def test_what_is_wrong_is_one_line_and_the_exit_code_1(udocker: Udocker) -> None:
    lines = (
        "nosuchverb", "images --bad", "images word", "ps word", "run", "run --bad fedora", "pull",
        "rm nosuch", "rmi nosuch", "inspect nosuch", "clone nosuch", "protect nosuch",
        "setup --execmode=P1 nosuch", "load -i nosuch", "import nosuch", "export -o x nosuch",
        "save -o x nosuch", "import / root", "import --tocontainer /", "save -o /no/such/x fedora",
        "tag fedora fedora", "rename nosuch one", "run --pull=never nosuch id",
        "logout -a", "manifest fedora",
    )  # fmt: skip
    for line in lines:
        ran = udocker(*line.split())
        assert (ran.code, ran.err[:7], ran.err.count(b"\n")) == (1, b"Error: ", 1), (line, ran)
    assert udocker("run", "--rm", "fedora", "no-such-program").code == 2


def test_a_registry_can_be_named_and_its_list_comes_in_pages(
    udocker: Udocker, registry: FakeRegistry
) -> None:
    registry.faults.page = 1
    try:
        found = udocker("search", "-a", f"--index={registry.url}", "cent").text.splitlines()
        assert [line.split()[0] for line in found] == ["NAME", "centos/centos8"]
        found = udocker(
            "search", "--list-tags", f"--registry={registry.url}", "fedora"
        ).text.split()
        assert found == ["here", "latest", "there"]
    finally:
        registry.faults.page = 0
    assert udocker("pull", f"--registry={registry.url}", "indigodatacloud/disvis").code == 0
    whole = json.loads(udocker("manifest", "inspect", "fedora").text)
    one = json.loads(udocker("manifest", "inspect", "--platform=linux/arm64", "fedora").text)
    assert one["config"] and one not in whole["manifests"]


def test_a_login_is_kept_until_all_are_forgotten(udocker: Udocker, registry: FakeRegistry) -> None:
    registry.faults.auth, registry.faults.login = "basic", ("me", "secret==")
    words = ("login", f"--registry={registry.url}", "--username=me")
    try:
        assert udocker(*words, "--password=wrong").code == 1
        assert udocker(*words, "--password=secret==").code == 0
        assert udocker("logout", "-a").text == ""
        assert udocker(*words, "--password-stdin", stdin=b"secret==\n").code == 0
        assert udocker("search", "--list-tags", f"{registry.authority}/centos/centos8").code == 0
        assert udocker("logout", "-a").text == ""
        assert udocker("logout", f"--registry={registry.url}").code == 1
        assert udocker("search", "--list-tags", f"{registry.authority}/centos/centos8").code == 1
    finally:
        registry.faults.auth, registry.faults.login = "", None


def test_cwltool_finds_what_it_needs_and_nothing_is_kept(udocker: Udocker, tmp_path: Path) -> None:
    outdir, source = tmp_path / "out", tmp_path / "in.txt"
    outdir.mkdir()
    source.write_text("input\n")
    before = udocker("ps").text
    ran = udocker(
        *("--quiet", "run", "--nobanner", f"--volume={outdir}:/var/spool/cwl"),
        *(f"--volume={tmp_path}:/tmp", f"--volume={source}:/var/lib/cwl/stg1/in.txt"),
        *("--workdir=/var/spool/cwl", "--env=TMPDIR=/tmp", "--env=HOME=/var/spool/cwl"),
        *("--shm-size=64m", "fedora", "sh", "-c"),
        "cat /var/lib/cwl/stg1/in.txt - > found; pwd; id -u",
        stdin=b"stdin\n",
    )
    assert ran.text == f"/var/spool/cwl\n{os.getuid()}\n"
    assert (outdir / "found").read_text() == "input\nstdin\n"
    assert udocker("ps").text == before


def test_miniwdl_and_cromwell_find_what_they_need(udocker: Udocker, tmp_path: Path) -> None:
    assert udocker("--allow-root", "--version").text.startswith("version: 1.3.")
    assert udocker("--allow-root", "pull", "fedora").code == 0
    script = "cat ../command >> ../stdout.txt 2>> ../stderr.txt"
    (tmp_path / "work").mkdir()
    (tmp_path / "command").write_text("done\n")
    ran = udocker(
        *("--allow-root", "run", "--workdir", "/mnt/w/work", "--nobanner", "--rm"),
        *("-v", f"{tmp_path}:/mnt/w", "fedora", "/bin/sh", "-c", script),
    )
    assert (ran.text, (tmp_path / "stdout.txt").read_text()) == ("", "done\n")
    (tmp_path / "script").write_text("echo from a script > /x/made\n")
    ran = udocker("run", "-v", f"{tmp_path}:/x", "--rm", "fedora", "bash", "/x/script")
    assert (ran.text, (tmp_path / "made").read_text()) == ("", "from a script\n")


@pytest.mark.parametrize("engine", ["userns", "proot"])
def test_a_run_ends_with_the_program_that_has_called(udocker: Udocker, engine: str) -> None:
    """As miniwdl does, which may be killed."""
    word = marker()
    caller = udocker.called(f"export M={word}; echo ready; sleep 1000", CWL_USERSPACE_ENGINE=engine)
    assert caller.stdout is not None and caller.stdout.readline() == b"ready\n"
    caller.kill()
    caller.wait()
    assert all_gone(word, PATIENCE)


@pytest.mark.parametrize("by", ["setsid", "nohup"])
def test_a_run_that_is_to_go_on_without_its_caller_does(
    udocker: Udocker, tmp_path: Path, by: str
) -> None:
    """As a job of its own, which a shell makes of what a person types, or by nohup(1)."""
    script = "echo ready; until [ -e /x/ended ]; do sleep 0.1; done; echo over >/x/over"
    caller = udocker.called(script, f"--volume={tmp_path}:/x", by=by)
    assert caller.stdout is not None and caller.stdout.readline() == b"ready\n"
    caller.kill()
    caller.wait()
    (tmp_path / "ended").touch()
    assert any((tmp_path / "over").exists() for _ in waiting(PATIENCE))


def test_dx_docker_runs_and_pulls_and_says_what_it_does_not(
    udocker: Udocker, tmp_path: Path
) -> None:
    assert udocker("pull", "-q", "fedora", name="dx-docker").code == 0
    (tmp_path / "data").write_text("data\n")
    ran = udocker(
        *("run", "-q", "--rm", "--user", "nobody", "-v", f"{tmp_path}:/mnt", "-e", "WORD=said"),
        *("-w", "/mnt", "--entrypoint", "/bin/sh", "fedora", "-c", "cat data; echo $WORD $HOME"),
        name="dx-docker",
    )
    assert ran.text == "data\nsaid /root\n"
    (tmp_path / "rootfs" / "bin").mkdir(parents=True)
    (tmp_path / "rootfs" / "bin" / "sh").write_bytes(busybox())
    (tmp_path / "rootfs" / "bin" / "sh").chmod(0o755)
    words = ("run", "--rootfs", tmp_path, "fedora", "sh", "-c", "echo one > /kept")
    assert udocker(*words, name="dx-docker").text == ""
    assert (tmp_path / "rootfs" / "kept").read_text() == "one\n"
    assert "DNAnexus" in udocker("create-asset", "fedora", name="dx-docker").complaint


def test_our_own_verbs_name_copy_and_look_for_what_udocker_does(udocker: Udocker) -> None:
    own, first, second = udocker.home.call, marker(), marker()
    given = {"CWL_USERSPACE_CONFIG": udocker.environment["CWL_USERSPACE_CONFIG"]}
    identifier = own("create", "--name", first, "fedora").text.strip()
    assert own("name", first, second).text == ""
    assert own("run", "-u", "root", second, "sh", "-c", "echo one > /kept").text == ""
    copy = own("clone", second).text.strip()
    assert own("run", copy, "cat", "/kept").text == "one\n"
    listed = own("ps", "-a", "-s", "-m").text.splitlines()
    assert listed[0].split()[-2:] == ["SIZE", "ENGINE"]
    assert any(f"{first},{second}" in line for line in listed)
    assert own("rename", second, f"{first}-new").text == ""
    assert own("rename", f"{first}-new", first).text == ""
    assert own("rmname", second).text == ""
    assert own("inspect", second).code == 1
    assert own("protect", first).text == f"{first}\n"
    assert "unprotect" in own("rm", first).complaint
    assert own("unprotect", identifier).text == f"{identifier}\n"
    assert own("rm", first, copy).code == 0
    found = own("search", "disvis", environment=given).text.splitlines()
    assert found[1].split() == ["indigodatacloud/disvis", "0"]
    assert "manifests" in json.loads(own("manifest", "inspect", "fedora", environment=given).text)
    assert own("mkrepo", udocker.work / "store").text == ""
    assert own("images", environment={"CWL_USERSPACE_HOME": str(udocker.work / "store")}).code == 0
    assert "is there already" in own("mkrepo", udocker.work / "store").complaint
