"""Containers from ``create``: their tree is their own, and what is written in it stays."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import time
import uuid
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from tests import tars
from tests.containers import ENGINES, PATIENCE, Box, Home, manifest, marker, shell_layer, waiting

# What a distribution's tree may have and a plain copy would lose.
ODD = tars.layer(
    tars.file("shadow", b"nobody reads this", 0),
    tars.file("one", b"the same file", 0o751),
    tars.hard_link("two", "one"),
    tars.directory("closed", 0),
    tars.directory("dim", 0o555),
    tars.file("dim/inner", b"in the dim", 0o400),
    tars.file("set", b"#!", 0o4755),
    tars.symlink("nowhere", "/no/such/place"),
)


@pytest.fixture
def name(home: Home) -> Iterator[str]:
    """A name for a container, which is gone after the test with all that runs in it."""
    name = f"c-{uuid.uuid4().hex[:12]}"
    yield name
    assert home.call("rm", "-f", name).code == 0
    assert home.leftovers == []


@pytest.fixture
def made(home: Home, name: str) -> str:
    """The name of a container of the small system."""
    return create(home, "--name", name, "busybox") and name


def create(home: Home, *words: str | Path, **given: Any) -> str:
    """``create WORDS``; the id that it prints."""
    identifier = home.call("create", *words, **given).text.strip()
    assert len(identifier) == 64 and set(identifier) <= set("0123456789abcdef")
    return identifier


def listed(home: Home, *words: str) -> dict[str, dict[str, str]]:
    """What ``ps`` says of each container, by its name."""
    rows = map(json.loads, home.call("ps", "--format", "json", *words).text.splitlines())
    return {row["Names"]: row for row in rows}


def described(home: Home, name: str) -> dict[str, Any]:
    """What ``inspect`` says of one container."""
    (found,) = json.loads(home.call("inspect", name).text)
    assert isinstance(found, dict)
    return found


def test_what_one_run_writes_the_next_one_finds(box: Box, made: str) -> None:
    script = "echo new > /data/file; echo more >> /bin/no-interpreter; rm /bin/vi; mkdir /opt"
    assert box.sh(script, image=made).text == ""
    script = "cat /data/file; tail -n 1 /bin/no-interpreter; ls /bin/vi 2>&1; ls -d /opt"
    said = box.sh(script, "-u", "root", image=made)
    assert said.out.splitlines() == [
        b"new", b"more", b"ls: /bin/vi: No such file or directory", b"/opt",
    ]  # fmt: skip


@pytest.mark.parametrize("path", ["/tmp/kept", "/var/tmp/kept", "/home/tool/kept", "/kept"])
def test_every_part_of_the_tree_is_kept(box: Box, made: str, path: str) -> None:
    assert box.sh(f"echo kept > {path}", image=made).text == ""
    assert box.sh(f"cat {path}", image=made).text == "kept\n"


@pytest.mark.parametrize("first, second", [*permutations(ENGINES, 2)])
def test_an_engine_finds_what_another_one_wrote(
    home: Home, made: str, first: str, second: str
) -> None:
    script = "echo $0 > /tmp/by; mkdir -p /srv/deep; echo $0 > /srv/deep/by; chmod 700 /srv/deep"
    assert Box(home, first).run("-u", "root", made, "sh", "-c", script, first).text == ""
    script = "cat /tmp/by /srv/deep/by; stat -c %a /srv/deep; rm -r /srv"
    assert Box(home, second).sh(script, "-u", "root", image=made).text == f"{first}\n" * 2 + "700\n"
    assert Box(home, first).sh("ls -d /srv 2>&1", image=made).code == 1


def test_the_stored_image_never_changes(box: Box, made: str) -> None:
    before = manifest(box.home.tree("busybox"))
    script = "echo x > /data/x; chmod 700 /data; rm -rf /bin/sh; touch -d @5 /etc/group"
    assert box.sh(script, "-u", "root", image=made).text == ""
    assert manifest(box.home.tree("busybox")) == before
    assert box.sh("ls /data").text == ""


def test_root_writes_everywhere_and_owns_what_it_wrote(box: Box, made: str) -> None:
    script = "id -u; echo x > /root/file; chown root:root /root/file; stat -c %u /root/file /bin"
    assert box.sh(script, "-u", "root", image=made).text == "0\n0\n0\n"
    assert (box.home.tree(made) / "root" / "file").stat().st_uid == os.geteuid()


def test_a_run_that_is_read_only_changes_nothing(box: Box, made: str) -> None:
    assert box.sh("true", image=made).text == ""
    before = manifest(box.home.tree(made))
    script = "echo x > /x; echo x > /tmp/x; echo x > /data/x; chmod 700 /data; ls /tmp"
    ran = box.sh(script, "--read-only", image=made)
    refusals = (b"Read-only file system", b"Permission denied", b"Operation not permitted")
    assert ran.out == b"x\n" and sum(map(ran.err.count, refusals)) == 3, ran
    after = manifest(box.home.tree(made))
    # The root's own time may change: it has room for the old root while the run is set up.
    tree = str(box.home.tree(made))
    assert {p: f for p, f in after.items() if p != tree} == {
        p: f for p, f in before.items() if p != tree
    }


@pytest.mark.parametrize("path", ["etc/hosts", "etc/resolv.conf"])
def test_files_that_are_the_hosts_matter_stay_as_they_are_in_the_tree(
    box: Box, made: str, path: str
) -> None:
    (box.home.tree(made) / path).write_text("of the tree\n")
    assert "of the tree" not in box.sh(f"cat /{path}", image=made).text
    assert (box.home.tree(made) / path).read_text() == "of the tree\n"


def test_a_package_may_replace_nsswitch_conf(box: Box, made: str) -> None:
    script = "echo new > /etc/n; mv /etc/n /etc/nsswitch.conf && cat /etc/nsswitch.conf"
    assert box.sh(script, "-u", "root", image=made).text == "new\n"
    assert (box.home.tree(made) / "etc/nsswitch.conf").read_text() == "new\n"


def test_runs_leave_no_device_and_no_process_file_in_the_tree(box: Box, made: str) -> None:
    assert box.sh("ls /dev/null /proc/self/stat", "-t", image=made).code == 0
    tree = box.home.tree(made)
    assert list((tree / "dev").iterdir()) == list((tree / "proc").iterdir()) == []
    assert [entry.name for entry in tree.iterdir() if entry.name.startswith(".")] == []


def test_two_runs_may_share_a_container(box: Box, made: str) -> None:
    script = "echo ready; until [ -e /data/go ]; do sleep 0.1; done; cat /etc/hosts"
    first = box.start_sh(script, image=made)
    try:
        assert box.sh("cat /etc/hosts; echo go > /data/go", image=made).text != ""
        assert first.wait(PATIENCE) == 0
        assert first.stdout is not None and b"localhost" in first.stdout.read()
    finally:
        first.kill()
        first.wait()


def test_a_container_outlives_its_image(home: Home, name: str) -> None:
    home.add("short-lived", shell_layer().file("data/of-it", b"still here").bytes())
    create(home, "--name", name, "short-lived")
    assert home.call("rmi", "short-lived").code == 0
    for engine in ENGINES:
        assert Box(home, engine).sh("cat /data/of-it", image=name).text == "still here"
    assert described(home, name)["Config"]["Image"] == "short-lived"


def test_what_create_was_told_holds_in_every_run(box: Box, name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("bound\n")
    tmp_path.chmod(0o755)
    create(
        box.home,
        *("--name", name, "-v", f"{tmp_path}:/mnt/bound:ro", "-w", "/data", "-u", "tool"),
        *("-e", "FROM_IMAGE=is changed", "-e", "PASSED", "--hostname", "small", "--entrypoint"),
        *("", "configured", "sh", "-c", "id -u; pwd; echo $HOSTNAME; cat /mnt/bound/file; env"),
        environment={"PASSED": "on"},
    )
    for given in ({}, {"PASSED": "not any more"}):
        said = box.run(name, environment=given).text.splitlines()
        assert said[:4] == ["1234", "/data", "small", "bound"]
        assert {"FROM_IMAGE=is changed", "PASSED=on"} <= set(said[4:])
    ran = box.run("-u", "root", "-e", "PASSED=now", "-w", "/", name, "sh", "-c", "id -u; pwd; env")
    assert ran.text.splitlines()[:2] == ["0", "/"] and "PASSED=now" in ran.text.splitlines()


@pytest.mark.parametrize(
    "words, output",
    [
        (["configured"], "from|cmd|"),
        (["configured", "other"], "other|"),
        (["--entrypoint", "echo", "configured"], "\n"),
        (["--entrypoint", "echo", "configured", "words"], "words\n"),
    ],
)
def test_entrypoint_and_command_are_joined_as_docker_does(
    home: Home, name: str, words: list[str], output: str
) -> None:
    create(home, "--name", name, *words)
    assert Box(home, "userns").run("-u", "root", name).text == output


def test_a_container_wins_over_an_image_of_its_name_unless_a_workflow_engine_calls(
    home: Home, name: str
) -> None:
    home.add(name, shell_layer().bytes())
    create(home, "--name", name, "busybox")
    box = Box(home, "userns")
    assert box.sh("touch /data/written", image=name).text == ""
    assert box.sh("ls /data", image=name).text == "written\n"
    assert box.sh("ls /data", image=name, environment={"CWL_USERSPACE_CALLER": "test"}).text == ""
    kinds = [json.loads(home.call("inspect", *w, name).text)[0] for w in ([], ["--type=image"])]
    assert ["RepoTags" in kind for kind in kinds] == [False, True]
    assert home.call("rmi", name).code == 0


def test_a_container_is_found_by_its_id_and_its_beginning(home: Home, name: str) -> None:
    identifier = create(home, "--name", name, "busybox")
    for text in (name, identifier, identifier[:12]):
        assert Box(home, "userns").run(text, "echo", "found").text == "found\n"
        assert described(home, text)["Id"] == identifier


def test_without_a_name_the_ids_beginning_is_the_name(home: Home) -> None:
    identifier = create(home, "busybox")
    assert listed(home, "-a")[identifier[:12]]["State"] == "created"
    assert home.call("rm", identifier).text == f"{identifier}\n"
    assert identifier[:12] not in listed(home, "-a")


def test_a_name_is_given_once(home: Home, made: str) -> None:
    before = described(home, made)
    ran = home.call("create", "--name", made, "configured")
    assert (ran.code, ran.out) == (125, b"") and made in ran.complaint
    assert described(home, made) == before


def test_of_many_that_want_one_name_at_once_one_gets_it(home: Home, name: str) -> None:
    words = home.command("create", "--name", name, "busybox")
    pipe = subprocess.PIPE
    racing = [
        subprocess.Popen(words, env=home.environment, stdout=pipe, stderr=pipe) for _ in range(8)
    ]
    ended = [(*process.communicate(timeout=PATIENCE), process.returncode) for process in racing]
    won = [out for out, _, code in ended if code == 0]
    assert [out.decode().strip() for out in won] == [described(home, name)["Id"]]
    assert all(name.encode() in err for _, err, code in ended if code)
    assert os.listdir(home.place / "store" / "tmp") == []


@pytest.mark.parametrize("name_given", ["", "x", "-x", "a/b", "..", "a b", "é" * 3, "x" * 129])
def test_what_cannot_be_a_name_is_refused(home: Home, name_given: str) -> None:
    ran = home.call("create", f"--name={name_given}", "busybox")
    assert ran.code == 125 and repr(name_given) in ran.complaint


def test_no_container_of_an_image_that_nobody_has(home: Home, name: str) -> None:
    ran = home.call("create", "--name", name, "localhost:1/no/image")
    assert ran.code == 125 and "localhost:1" in ran.complaint
    assert name not in listed(home, "-a")


def test_a_copy_has_all_that_the_image_has(home: Home, name: str) -> None:
    home.add("odd", ODD)
    create(home, "--name", name, "odd")
    tree = home.tree(name)
    modes = {entry.name: stat.S_IMODE(entry.lstat().st_mode) for entry in tree.iterdir()}
    image = {e.name: stat.S_IMODE(e.lstat().st_mode) for e in home.tree("odd").iterdir()}
    assert (
        modes == {**image, "etc": 0o755}
        and modes["shadow"] == modes["closed"] == 0
        and modes["dim"] == 0o555
    )
    assert (tree / "one").stat().st_ino == (tree / "two").stat().st_ino
    assert (tree / "one").stat().st_ino != (home.tree("odd") / "one").stat().st_ino
    assert os.readlink(tree / "nowhere") == "/no/such/place"
    assert (tree / "dim" / "inner").read_bytes() == b"in the dim"
    (tree / "shadow").chmod(0o400)
    assert (tree / "shadow").read_bytes() == b"nobody reads this"


def test_nobody_else_comes_near_a_container(home: Home, made: str) -> None:
    assert stat.S_IMODE(home.tree(made).parent.stat().st_mode) == 0o700


def test_rm_takes_everything_whatever_its_modes(home: Home, name: str) -> None:
    create(home, "--name", name, "busybox")
    tree = home.tree(name)
    script = "mkdir -p /a/b/c; touch /a/b/c/f; chmod 0 /a/b/c /a/b/c/f /a/b /a; chmod 555 /data /"
    assert Box(home, "userns").sh(script, "-u", "root", image=name).text == ""
    assert home.call("rm", name).text == f"{name}\n"
    assert not tree.parent.exists() and os.listdir(home.place / "store" / "tmp") == []
    ran = home.call("rm", name)
    assert ran.code == 1 and name in ran.complaint
    assert home.call("rm", "-f", name) == (0, b"", b"")


def test_rm_leaves_a_container_in_which_something_runs_unless_forced(box: Box, made: str) -> None:
    word = marker()
    process = box.start_sh(f"echo ready; sleep 100; : {word}", image=made)
    try:
        ran = box.home.call("rm", made)
        assert ran.code == 1 and str(process.pid) in ran.complaint and "rm -f" in ran.complaint
        assert process.poll() is None and box.sh("ls /data", image=made).text == ""
        assert box.home.call("rm", "-f", made).text == f"{made}\n"
        assert process.wait(PATIENCE) == 137
    finally:
        process.kill()
        process.wait()
    assert made not in listed(box.home, "-a")


def test_rm_leaves_a_container_in_which_another_host_says_that_it_runs(
    home: Home, name: str
) -> None:
    identifier = create(home, "--name", name, "busybox")
    record = home.place / "state" / "cwl-userspace" / "runs" / "elsewhere.json"
    facts = {"id": "elsewhere", "name": name, "image": "", "container": identifier, "pid": 1}
    record.write_text(json.dumps({**facts, "host": "another-host", "start": "1", "time": 0}))
    try:
        ran = home.call("rm", name)
        assert ran.code == 1 and "1 on another-host" in ran.complaint
        assert home.call("rm", "-f", name).code == 0
    finally:
        record.unlink()


def test_the_rm_of_a_run_leaves_the_container(box: Box, made: str) -> None:
    assert box.run("--rm", made, "touch", "/data/kept").text == ""
    assert box.run("--rm", made, "ls", "/data").text == "kept\n"


def test_ps_tells_what_runs_from_what_was_created(box: Box, made: str) -> None:
    assert made not in listed(box.home) and listed(box.home, "-a")[made]["Status"] == "Created"
    inside = box.start_sh("echo ready; sleep 100", image=made)
    beside = box.start_sh("echo ready; sleep 100", "--name", "beside", image="busybox")
    try:
        rows = listed(box.home)
        assert set(rows) == {made, "beside"}
        assert rows[made]["Status"] == f"Up (process {inside.pid})"
        assert rows["beside"]["Image"] == "busybox:latest"
        state = described(box.home, made)["State"]
        assert (state["Status"], state["Running"], state["Pid"]) == ("running", True, inside.pid)
        for target in (made, "beside"):
            assert box.home.call("kill", target).code == 0
        assert (inside.wait(PATIENCE), beside.wait(PATIENCE)) == (137, 137)
    finally:
        for process in (inside, beside):
            process.kill()
            process.wait()
    assert "beside" not in listed(box.home, "-a")


def test_ps_prints_a_table_and_ids(home: Home, made: str) -> None:
    titles, *rows = home.call("ps", "-a").text.splitlines()
    assert titles.split("   ")[0].strip() == "CONTAINER ID"
    assert any(row.endswith(made) and "busybox" in row for row in rows)
    assert described(home, made)["Id"] in home.call("ps", "-aq", "--no-trunc").text.splitlines()
    assert described(home, made)["Id"][:12] in home.call("ps", "-a", "-q").text.splitlines()


def test_inspect_shows_a_container_in_dockers_shape(home: Home, name: str, tmp_path: Path) -> None:
    identifier = create(home, "--name", name, "-v", f"{tmp_path}:/mnt", "configured", "words")
    found = described(home, name)
    assert found["Id"] == identifier and found["Name"] == f"/{name}"
    assert found["Image"] == json.loads(home.call("inspect", "configured").text)[0]["Id"]
    state = found["State"]
    assert (state["Status"], state["Running"], state["Pid"]) == ("created", False, 0)
    assert found["Config"]["Cmd"] == ["words"] and found["Config"]["User"] == "tool"
    mount = {"Type": "bind", "Source": str(tmp_path), "Destination": "/mnt", "RW": True}
    (shown,) = found["Mounts"]
    assert shown.items() >= mount.items()
    assert found["GraphDriver"]["Data"]["RootDir"] == str(home.tree(name))
    assert home.call("inspect", "-f", "{{.Name}}", "--type=container", name).text == f"/{name}\n"
    ran = home.call("inspect", "--type=container", "busybox")
    assert (ran.code, ran.out) == (1, b"[]\n")


def test_a_create_that_is_killed_leaves_nothing_to_be_seen(tmp_path: Path) -> None:
    home = Home(tmp_path)
    files = (tars.file(f"d/{number}", b"%d" % number * 500) for number in range(6000))
    home.add("large", tars.layer(*files))
    building = home.place / "store" / "tmp"
    words = home.command("create", "--name", "large", "large")
    for after in (0.0, 0.05, 0.1):
        process = subprocess.Popen(words, env=home.environment, stdout=subprocess.DEVNULL)
        for _ in waiting(PATIENCE):
            if any((entry / "rootfs" / "d").exists() for entry in building.iterdir()):
                break
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert listed(home, "-a") == {}
        assert len(os.listdir(building)) == 1
        assert not _grows(building)
    create(home, "--name", "large", "large")
    assert os.listdir(building) == []
    assert len(os.listdir(home.tree("large") / "d")) == 6000


def _grows(place: Path) -> bool:
    """True if something still copies: a killed process must take its helper with it."""
    for _ in waiting(5.0):
        before = sum(len(files) for _, _, files in os.walk(place))
        time.sleep(0.2)
        if sum(len(files) for _, _, files in os.walk(place)) == before:
            return False
    return True


def test_an_export_can_be_imported(home: Home, made: str, tmp_path: Path) -> None:
    box = Box(home, "userns")
    script = "echo exported > /data/file; ln /data/file /data/again; ln -s file /data/link"
    script += "; cd /data; mkdir closed; touch closed/file; chmod 0 closed/file closed"
    assert box.sh(script, image=made).text == ""
    assert home.call("export", "-o", tmp_path / "tree.tar", made) == (0, b"", b"")
    assert home.call("export", made).out == (tmp_path / "tree.tar").read_bytes()
    assert os.listdir(tmp_path) == ["tree.tar"]
    home.add("exported", (tmp_path / "tree.tar").read_bytes())
    seen = "cat /data/link; stat -c %h /data/again; stat -c %a /data/closed /data/closed/file"
    said = box.sh(seen, "-u", "root", image="exported").text
    assert said == "exported\n2\n0\n0\n"
    assert home.call("rmi", "exported").code == 0
    ran = home.call("export", "busybox")
    assert (ran.code, ran.out) == (1, b"") and "busybox" in ran.complaint


def test_a_damaged_record_is_named(home: Home, made: str) -> None:
    record = home.tree(made).parent / "container.json"
    whole = record.read_text()
    record.write_text("{")
    try:
        ran = home.call("run", made, "true")
        assert ran.code == 125 and str(record) in ran.complaint
        assert home.call("ps", "-a").code == 0
    finally:
        record.write_text(whole)
