"""A site's store beneath the user's own: everything is found there, and nothing is written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers import PATIENCE, Home, manifest, oci_layout, shell_layer

once = pytest.mark.once
IMAGE = "docker.io/library/busybox:latest"
LAYER = shell_layer().bytes()


def home_at(place: Path) -> Home:
    place.mkdir(parents=True)
    return Home(place)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """A store that an admin has filled; nothing is written there, though here it could be."""
    admin = home_at(tmp_path / "admin")
    admin.add("busybox", LAYER, {"Env": ["FROM=site"]})
    store = admin.place / "store"
    before = manifest(store)
    yield store
    assert manifest(store) == before


@pytest.fixture
def user(tmp_path: Path, site: Path) -> Home:
    """A user with an empty store of his own above the site's."""
    home = home_at(tmp_path / "user")
    home.environment["CWL_USERSPACE_STORE_PATH"] = f":{site}"
    return home


def log(home: Home) -> str:
    path = home.place / "state" / "cwl-userspace" / "log"
    return path.read_text() if path.exists() else ""


def own(home: Home, name: str) -> list[str]:
    path = home.place / "store" / name
    return sorted(os.listdir(path)) if path.exists() else []


@once
def test_a_run_takes_the_image_of_the_site_and_leaves_nothing_in_either_store(
    user: Home, site: Path
) -> None:
    assert user.call("run", "busybox", "sh", "-c", "echo $FROM").text == "site\n"
    assert own(user, ".") == []
    assert user.tree("busybox") == next((site / "trees").glob("*/rootfs"))
    identifier = user.call("inspect", "-f", "{{.Id}}", "busybox").text.strip()
    for name in (identifier, identifier[7:15]):
        assert user.call("run", name, "echo", "found").text == "found\n"


@once
def test_images_shows_what_is_where_and_the_own_name_wins(user: Home, site: Path) -> None:
    user.add("mine", shell_layer().file("mine").bytes(), {})
    user.add("busybox", shell_layer().file("newer").bytes(), {"Env": ["FROM=user"]})
    lines = user.call("images", "--format", "json").text.splitlines()
    shown = {(row["Repository"], row["Store"]) for row in map(json.loads, lines)}
    store = str(user.place / "store")
    assert shown == {("busybox", store), ("mine", store), ("<none>", str(site))}
    assert user.call("run", "busybox", "sh", "-c", "echo $FROM").text == "user\n"
    assert user.call("rmi", "busybox").code == 0
    assert user.call("run", "busybox", "sh", "-c", "echo $FROM").text == "site\n"


@once
def test_what_is_made_of_an_image_of_the_site_is_in_the_own_store(user: Home, site: Path) -> None:
    assert user.call("save", "-o", user.place / "saved.tar", "busybox").text == ""
    assert user.call("create", "--name", "mine", "busybox").code == 0
    assert user.call("run", "mine", "sh", "-c", "echo x > /new && cat /new").text == "x\n"
    (user.place / "Dockerfile").write_text("FROM busybox\nRUN echo built > /built\n")
    ran = user.call("build", "-q", "-t", "built", "--pull=false", user.place)
    assert ran.code == 0, ran
    assert user.call("run", "built", "cat", "/built").text == "built\n"
    assert len(own(user, "trees")) == 1 and own(user, "containers") == ["mine"]


@once
def test_a_pull_asks_the_registry_and_fetches_no_layer_of_a_tree_beneath(
    user: Home, tmp_path: Path
) -> None:
    layout = oci_layout(tmp_path / "layout", "busybox:latest", LAYER, {"Env": ["FROM=registry"]})
    index = json.loads((layout / "index.json").read_bytes())
    blobs = layout / "blobs" / "sha256"
    document = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_bytes())
    (blobs / document["layers"][0]["digest"][7:]).unlink()
    config = tmp_path / "config.yml"
    config.write_text(f'registries: {{docker.io: {{mirrors: ["oci:{layout}"]}}}}\n')
    ran = user.call("pull", "busybox", environment={"CWL_USERSPACE_CONFIG": str(config)})
    assert ran.text == f"{IMAGE}\n"
    assert user.call("run", "busybox", "sh", "-c", "echo $FROM").text == "registry\n"
    assert own(user, "trees") == [] and len(own(user, "images")) == 1


@once
def test_root_in_a_container_has_a_copy_of_its_own(user: Home, site: Path) -> None:
    """Where the site's files belong to somebody else; those of one's own need no copy."""
    script = "echo more >> /etc/group && tail -n 1 /etc/group"
    assert user.call("run", "-u", "root", "busybox", "sh", "-c", script).text == "more\n"
    assert user.call("run", "busybox", "cat", "/etc/group").out.startswith(b"root:")


@once
def test_rmi_says_that_an_image_is_the_sites(user: Home, site: Path) -> None:
    for name in ("busybox", user.call("images", "-q").text.strip()):
        said = user.call("rmi", name).complaint
        assert f"{name} is in {site}, a store beneath yours" in said
    assert user.call("images", "-q", "busybox").text != ""


def broken(site: Path, how: str) -> str:
    """Where a store beneath is that cannot be used, and what is said of it."""
    place = site.parent.parent / "broken"
    if how == "missing":
        return str(place)
    shutil.copytree(site, place, symlinks=True, copy_function=shutil.copy)
    if how == "newer":
        (place / "format").write_text("77\n")
    elif how == "closed":
        (place / "format").unlink()
        (place / "format").symlink_to("format")
    else:
        for record in (place / "images").iterdir():
            record.write_bytes(b"{}")
    return str(place)


REASONS = {
    "missing": "there is no store at",
    "newer": "has the format '77'",
    "closed": "cannot be read",
    "damaged": "is damaged",
}


@once
@pytest.mark.parametrize("how", REASONS)
def test_a_store_beneath_that_cannot_be_used_is_noted_once_and_left_out(
    user: Home, site: Path, how: str
) -> None:
    place = broken(site, how)
    user.environment["CWL_USERSPACE_STORE_PATH"] = f":{place}:{site}"
    assert user.call("run", "busybox", "echo", "found").text == "found\n"
    assert log(user).count(f"the store {place} beneath is not used: ") == 1
    assert REASONS[how] in log(user)
    if how != "damaged":  # a list of names does not look into records
        assert user.call("images", "-q").text.count("\n") == 1
    user.environment["CWL_USERSPACE_STORE_PATH"] = f":{place}"
    if how != "damaged":
        told = user.call("doctor", "--json", "--offline", "--quick").out
        assert REASONS[how] in json.loads(told)["store"]["beneath"]
    nowhere = user.call("inspect", "-p", "busybox")
    assert nowhere.code == 1 and REASONS[how] in nowhere.complaint


READ_ONLY = """
mount --bind "$1" "$1"
mount -o remount,bind,ro,nosuid,nodev "$1"
shift
"$@"
"""


@once
def test_a_site_store_on_a_read_only_mount_serves_runs_builds_and_cwltool(
    user: Home, site: Path, tmp_path: Path
) -> None:
    (user.place / "Dockerfile").write_text("FROM busybox\nCOPY Dockerfile /copied\n")
    tool = {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "requirements": {"DockerRequirement": {"dockerPull": "busybox"}},
        "baseCommand": ["sh", "-c", "echo $FROM"],
        "inputs": {},
        "outputs": {"out": "stdout"},
    }
    (tmp_path / "tool.cwl").write_text(json.dumps(tool))
    runner = Path(sys.executable).with_name("cwltool-userspace")
    script = f"""
        set -eu; cd {tmp_path}
        "$1" --engine proot run busybox sh -c 'echo $FROM'
        "$1" build -q -t built {user.place} > built
        "$1" run built head -n 1 /copied
        {runner} --quiet --outdir outputs tool.cwl > told
        cat outputs/*
        ! touch {site}/names/x 2> /dev/null
    """
    words = [*user.command(), b"sh", b"-c", os.fsencode(script), b"sh"]
    ran = subprocess.run(
        ["unshare", "-Urm", "sh", "-euc", READ_ONLY, "sh", site, *words[1:], words[0]],
        env=user.environment,
        capture_output=True,
        timeout=PATIENCE,
    )
    assert (ran.returncode, ran.stdout) == (0, b"site\nFROM busybox\nsite\n"), ran


def test_another_user_runs_from_a_site_store(site: Path) -> None:
    """As root; a user without rights can let nobody else read his store, and is himself."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as path:
        os.chmod(path, 0o755)
        place = Path(path)
        shutil.copytree(site, place / "site", symlinks=True, copy_function=shutil.copy2)
        user = home_at(place / "user")
        user.environment["CWL_USERSPACE_STORE_PATH"] = f":{place / 'site'}"
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "65534:65534", user.place], check=True)
            user.prefix = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        before = manifest(place / "site")
        bind = ("-v", f"{user.place}:/var/tmp/deep/er")
        for engine in ("userns", "proot"):
            script = "echo $FROM > /tmp/x; cat /tmp/x; ls /var/tmp/deep/er | wc -l"
            ran = user.call("--engine", engine, "run", *bind, "busybox", "sh", "-c", script)
            assert ran.text == "site\n6\n"
        assert user.call("rmi", "busybox").code == 125
        assert manifest(place / "site") == before
        # What root's modes close to others a pack has nevertheless.
        script = "echo more >> /root/file && cat /root/file"
        as_root = ("run", "-u", "root", "busybox", "sh", "-c", script)
        if os.geteuid() == 0:
            assert "a pack of the tree has all files" in user.call(*as_root).complaint
            admin = home_at(place / "admin")
            admin.environment["CWL_USERSPACE_HOME"] = str(place / "site")
            admin.environment["CWL_USERSPACE_LOCAL_STORE"] = str(place / "local")
            assert admin.call("run", "busybox", "true").text == ""
        assert user.call(*as_root).text == "more\n"
