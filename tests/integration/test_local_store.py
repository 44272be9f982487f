"""Runs from a tree on a local disk: unpacked from one file once, whole, or not used at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from cwl_userspace.localtree import LocalTrees
from cwl_userspace.store import records
from cwl_userspace.store.lease import lease
from cwl_userspace.store.store import Store
from tests.containers import Box, Home, Ran, manifest, oci_layout, shell_layer, waiting
from tests.unsynced import wait_until_synced

FILES = 1500
once = pytest.mark.once


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home of this test's own, for its store is damaged."""
    (tmp_path / "home").mkdir()
    home = Home(tmp_path / "home")
    home.environment["CWL_USERSPACE_LOCAL_STORE"] = str(tmp_path / "disk" / "local")
    home.add("busybox", shell_layer().file("closed", b"secret", 0).bytes())
    return home


def disk(home: Home) -> Path:
    """The store on the local disk."""
    return Path(home.environment["CWL_USERSPACE_LOCAL_STORE"]) / f"cwl-userspace-{os.geteuid()}"


def copies(home: Home) -> list[Path]:
    """The trees that are published there."""
    return sorted((disk(home) / "trees").glob("*/rootfs"))


def below(tree: Path) -> dict[str, object]:
    """Everything about a tree but where it is, how much room a directory takes there, and the
    root's own time, which no layer has set and which is kept to the microsecond.
    """
    found = {os.path.relpath(path, tree): facts for path, facts in manifest(tree).items()}
    found["."] = (*found["."][:2], 0, *found["."][3:])
    return {p: f if (tree / p).is_file() else (*f[:3], *f[4:]) for p, f in found.items()}


def log(home: Home) -> str:
    """What was written to the log."""
    path = home.place / "state" / "cwl-userspace" / "log"
    return path.read_text() if path.exists() else ""


def test_a_run_needs_nothing_of_the_shared_tree_once_it_is_copied(box: Box) -> None:
    assert box.sh("cat /etc/group").out.startswith(b"root:")
    shared = box.home.tree("busybox")
    assert below(copies(box.home)[0]) == below(shared)
    shutil.move(shared, shared.with_name("away"))
    shared.mkdir()
    before = manifest(copies(box.home)[0])
    change = "echo x > /etc/group; rm -f /bin/busybox; mkdir /new; echo $((6 * 7))"
    assert box.sh(f"({change}) 2> /tmp/errors", "-u", "root").text == "42\n"
    assert manifest(copies(box.home)[0]) == before
    assert "not from a local disk" not in log(box.home)


def test_a_run_opens_nothing_in_the_shared_tree(home: Home, tmp_path: Path) -> None:
    run = ["--engine", "userns", "run", "busybox", "cat", "/etc/group"]
    assert home.call(*run).out.startswith(b"root:")
    trace = tmp_path / "trace"
    command = [*(b"strace", b"-f", b"-qq", b"-o", bytes(trace)), *home.command(*run)]
    done = subprocess.run(command, env=home.environment, capture_output=True, timeout=60)
    assert done.stdout.startswith(b"root:"), done
    shared = str(home.tree("busybox"))
    calls = [line for line in trace.read_text().splitlines() if shared in line]
    assert {line.split("(")[0].split()[-1] for line in calls} <= {"stat", "newfstatat", "lstat"}
    assert str(copies(home)[0]) in trace.read_text()


def packs(home: Home) -> list[Path]:
    """The packs in the shared store."""
    return sorted((home.place / "store" / "packs").glob("*"))


def fetched(home: Home, name: str = "fetched") -> str:
    """An image that a mirror has, so that it can be fetched again; not in the store yet."""
    layer = shell_layer().directory("dim", 0o555).file("closed", b"secret", 0).bytes()
    layout = oci_layout(home.place / "layout", f"{name}:latest", layer, {"Env": ["FROM=mirror"]})
    config = home.place / f"{name}.yml"
    config.write_text(f'registries: {{docker.io: {{mirrors: ["oci:{layout}"]}}}}\n')
    home.environment["CWL_USERSPACE_CONFIG"] = str(config)
    return name


def elsewhere(home: Home) -> None:
    """From now on be on another node, whose disk is empty."""
    home.environment["CWL_USERSPACE_LOCAL_STORE"] += "x"


@once
def test_a_first_fetch_writes_one_file_to_the_shared_store(home: Home) -> None:
    name = fetched(home)
    shutil.rmtree(home.place / "store" / "trees")
    assert home.call("run", name, "sh", "-c", "echo $FROM").text == "mirror\n"
    assert list((home.place / "store" / "trees").iterdir()) == []
    (pack,) = packs(home)
    assert sorted(os.listdir(pack)) == ["contents.zst", "pack.json", "tree.tar.zst"]
    (first,) = copies(home)
    elsewhere(home)
    assert home.call("run", name, "sh", "-c", "echo $FROM").text == "mirror\n"
    (second,) = copies(home)
    assert second != first and below(second) == below(first)
    # Without a local disk, or for what is not a run, a tree is made of the pack.
    home.environment["CWL_USERSPACE_LOCAL_STORE"] = ""
    assert home.call("run", name, "sh", "-c", "echo $FROM").text == "mirror\n"
    assert below(home.tree(name)) == below(first)
    assert home.call("verify", name).code == 0
    assert home.call("rmi", name).code == 0
    assert packs(home) == list((home.place / "store" / "trees").iterdir()) == []


@once
@pytest.mark.parametrize("verb", ["save", "create", "build"])
def test_what_needs_a_tree_makes_it_of_the_pack(home: Home, verb: str) -> None:
    name = fetched(home)
    assert home.call("pull", name).code == 0
    (home.place / "Dockerfile").write_text(f"FROM {name}\nRUN test -d /dim\n")
    words = {
        "save": ("-o", str(home.place / "saved"), name),
        "create": (name,),
        "build": ("-q", str(home.place)),
    }
    assert home.call(verb, *words[verb]).code == 0
    assert home.tree(name).is_dir()


@once
@pytest.mark.parametrize(
    ("damage", "other"),
    [("cut", "tree"), ("changed", "mirror"), ("gone", "site"), ("record", "mirror")],
)
def test_a_damaged_pack_is_noted_once_and_the_image_comes_from_elsewhere(
    home: Home, tmp_path: Path, damage: str, other: str
) -> None:
    name = fetched(home)
    assert home.call("pull", name).code == 0
    if other == "tree":
        assert home.tree(name).is_dir()
    if other == "site":
        trees = shutil.ignore_patterns("trees")
        shutil.copytree(home.place / "store", tmp_path / "site", symlinks=True, ignore=trees)
        home.environment["CWL_USERSPACE_STORE_PATH"] = f":{tmp_path / 'site'}"
    if other != "mirror":
        home.environment["CWL_USERSPACE_CONFIG"] = ""
    damaged = packs(home)[0]
    spoil(damaged, damage)
    elsewhere(home)
    assert home.call("run", name, "sh", "-c", "echo $FROM; ls -d /dim").text == "mirror\n/dim\n"
    assert log(home).count(f"the pack {damaged} is not used: ") == 1
    assert len(copies(home)) == 1
    elsewhere(home)
    assert home.call("run", name, "true").text == ""
    assert log(home).count(" is not used: ") == 1


def spoil(pack: Path, damage: str) -> None:
    """Damage a pack in one of several ways."""
    file = pack / "tree.tar.zst"
    content = bytearray(file.read_bytes())
    if damage == "gone":
        file.unlink()
    elif damage == "record":
        (pack / "pack.json").write_bytes(b"{}")
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 1
        file.write_bytes(content)


@once
def test_a_site_store_need_have_nothing_but_packs(home: Home, tmp_path: Path) -> None:
    name = fetched(home)
    assert home.call("pull", name).code == 0
    site = home.place / "store"
    assert list((site / "trees").iterdir()) != []  # what was imported before
    before = manifest(site)
    home.environment.update(
        CWL_USERSPACE_HOME=str(tmp_path / "mine"),
        CWL_USERSPACE_STORE_PATH=f":{site}",
        CWL_USERSPACE_CONFIG="",
    )
    elsewhere(home)
    assert home.call("run", name, "sh", "-c", "echo $FROM").text == "mirror\n"
    assert not (tmp_path / "mine" / "trees").exists()
    home.environment["CWL_USERSPACE_LOCAL_STORE"] = ""
    assert home.call("run", name, "sh", "-c", "echo $FROM").text == "mirror\n"
    assert manifest(site) == before


def test_a_tool_starts_while_the_shared_store_is_away(home: Home, tmp_path: Path) -> None:
    """It is moved aside once the container is there, and before the tool looks at a file."""
    name = fetched(home)
    assert home.call("pull", name).code == 0
    box = Box(home, "userns")
    script = "echo ready; read go; cat /etc/group"
    process = box.start_sh(script, "-i", image=name, stdin=subprocess.PIPE)
    (home.place / "store").rename(home.place / "away")
    try:
        out, _ = process.communicate(b"go\n", timeout=60)
    finally:
        (home.place / "away").rename(home.place / "store")
    assert process.returncode == 0 and out.startswith(b"root:")


def test_without_the_setting_there_is_no_copy(box: Box) -> None:
    assert box.run("busybox", "true", environment={"CWL_USERSPACE_LOCAL_STORE": ""}).text == ""
    assert box.run("busybox", "true", environment={"CWL_USERSPACE_LOCAL_STORE": "$NONE"}).text == ""
    assert not disk(box.home).exists()


def test_a_run_with_a_local_tree_looks_at_three_files_of_the_store(
    home: Home, tmp_path: Path
) -> None:
    """And at none from the moment when its tool has a root of its own."""
    run = ["--engine", "userns", "run", fetched(home), "cat", "/etc/group"]
    assert home.call(*run).out.startswith(b"root:")
    trace = tmp_path / "trace"
    options = (b"-f", b"-qq", b"-e", b"trace=%file", b"-o", bytes(trace))
    command = [b"strace", *options, *home.command(*run)]
    done = subprocess.run(command, env=home.environment, capture_output=True, timeout=60)
    assert done.stdout.startswith(b"root:"), done
    before, _, after = trace.read_text().partition("pivot_root")
    store = home.environment["CWL_USERSPACE_HOME"] + "/"
    opened = [line for line in before.splitlines() if store in line and "openat(" in line]
    assert [line.split(store)[1].split("/")[0].split('"')[0] for line in opened] == [
        "format",
        "names",
        "images",
    ]
    assert after and store not in after


def test_many_runs_at_once_make_one_copy(home: Home) -> None:
    box = Box(home, "userns")
    started = [box.start("busybox", "cat", "/etc/group") for _ in range(8)]
    for process in started:
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, out[:5]) == (0, b"root:")
    assert len(copies(home)) == len(packs(home)) == 1
    assert list((disk(home) / "tmp").iterdir()) == []
    assert list((home.place / "store" / "tmp").iterdir()) == []
    assert "not from a local disk" not in log(home)


def test_a_copy_that_is_killed_is_never_used(home: Home) -> None:
    layer = shell_layer().directory("many")
    for number in range(FILES):
        layer.file(f"many/{number}", b"x" * number)
    home.add("many", layer.bytes())
    box = Box(home, "userns")
    killed = 0
    for _ in range(3):
        process = box.start("many", "true")
        for _ in waiting(20):
            if process.poll() is not None or any(disk(home).glob("tmp/*/rootfs/many/*")):
                break
        process.kill()
        process.communicate()
        killed += not copies(home)
    assert killed, "the copy was too quick"
    assert box.sh("ls /many | wc -l", image="many").text == f"{FILES}\n"
    assert below(copies(home)[0]) == below(home.tree("many"))
    # What was killed has left nothing but what the next one has removed.
    for _ in waiting(20):
        if not list((disk(home) / "tmp").iterdir()):
            break
    assert list((disk(home) / "tmp").iterdir()) == []


def on_small_disk(home: Home, limit: str, engine: str) -> Ran:
    """Two runs, one after the other, with a local disk of a certain size."""
    script = """
        place=$CWL_USERSPACE_LOCAL_STORE; options=$1; shift
        mkdir -p "$place" && mount -t tmpfs -o "$options" none "$place" && "$@" && "$@"
        find "$place"/*/tmp -mindepth 1 >&2
    """
    words = home.command("--engine", engine, "run", "busybox", "cat", "/etc/group")
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", limit]
    done = subprocess.run([*unshare, *words], env=home.environment, capture_output=True, timeout=60)
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("limit", "engine"), [("size=200k", "proot"), ("size=64m,nr_inodes=30", "userns")]
)
def test_a_full_local_disk_is_said_in_the_log_and_the_shared_tree_is_taken(
    home: Home, limit: str, engine: str
) -> None:
    assert on_small_disk(home, limit, engine).text.count("root:x:0:") == 2
    said = [line for line in log(home).splitlines() if "not from a local disk" in line]
    assert len(said) == 2
    assert "no room for" in said[0] or "no space left" in said[0]
    assert "an earlier run said: " in said[1]  # not every run tries


@pytest.mark.parametrize("how", ["open", "link", "file"])
def test_a_directory_that_others_can_write_is_not_used(home: Home, how: str) -> None:
    place = disk(home)
    place.parent.mkdir(parents=True)
    if how == "file":
        place.touch()
    else:
        aside = place.with_name("aside")
        aside.mkdir(mode=0o700)
        place.symlink_to(aside) if how == "link" else aside.rename(place)
    place.chmod(0o777 if how == "open" else 0o700)
    assert home.call("run", "busybox", "cat", "/etc/group").out.startswith(b"root:")
    assert "is not a directory that only its user can write" in log(home)
    assert copies(home) == []


def test_a_tree_that_a_cleaner_may_have_been_at_is_made_anew_beside_it(home: Home) -> None:
    assert home.call("run", "busybox", "true").text == ""
    old = copies(home)[0].parent
    wait_until_synced(old)
    (old / "rootfs" / "etc" / "group").unlink()
    os.utime(old, (0, time.time() - 10 * 24 * 3600))
    for _ in range(2):
        assert home.call("run", "busybox", "cat", "/etc/group").out.startswith(b"root:")
        assert [tree.parent.name for tree in copies(home)] == [old.name, f"{old.name}.1"]
    wait_until_synced(old.with_name(f"{old.name}.1"))
    os.utime(old, (0, time.time() - 40 * 24 * 3600))
    os.utime(old.with_name(f"{old.name}.1"), (0, time.time() - 10 * 24 * 3600))
    assert home.call("run", "busybox", "cat", "/etc/group").out.startswith(b"root:")
    assert [tree.parent.name for tree in copies(home)] == [f"{old.name}.1", f"{old.name}.2"]


def test_nobody_waits_for_ever_for_a_copy(home: Home, tmp_path: Path) -> None:
    shared = Store(home.environment["CWL_USERSPACE_HOME"])
    record = records.find(shared, "busybox")
    local = Store(str(disk(home)))
    os.makedirs(local.path, mode=0o700)
    local.prepare()
    said: list[str] = []
    with lease(local, f"tree-{record.chain.hex}"):
        directory = os.path.dirname(local.path)
        trees = LocalTrees(directory, said.append)
        assert trees.tree(shared, record, 0.2) == str(home.tree("busybox"))
        assert "another process still unpacks it" in said[0]
    assert trees.tree(shared, record, 0.2) == local.tree(record.chain)
