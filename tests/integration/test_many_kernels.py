"""One store and one home on nodes with different kernels: what a node finds out is its own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.containers import PATIENCE, Home, manifest

pytestmark = pytest.mark.once

NODE = """
hostname "$1"; printf '%s\\n' "$2" > "$3"
mount --bind "$3" /proc/sys/kernel/random/boot_id
shift 3
"$@"
"""


def on_node(home: Home, host: str, boot: str, *words: str) -> bytes:
    """A command on a node of that name, in a certain boot of its kernel."""
    aside = home.place / "tmp" / f"boot-{host}"
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "--uts", "sh", "-euc", NODE, "sh"]
    done = subprocess.run(
        [*unshare, host, boot, aside, *home.command(*words)],
        env=home.environment,
        capture_output=True,
        timeout=PATIENCE,
    )
    aside.unlink()
    assert done.returncode == 0, done
    return done.stdout


def probes(home: Home) -> dict[str, int]:
    """The probes' answers that are kept, each with the inode of its file."""
    place = home.place / "cache" / "cwl-userspace"
    return {path.name: path.stat().st_ino for path in place.glob("probe-*")}


@pytest.fixture
def node_home(tmp_path: Path, home: Home) -> Home:
    """A home with nothing in its cache, over the store that all tests have."""
    (tmp_path / "home").mkdir()
    own = Home(tmp_path / "home")
    own.environment["CWL_USERSPACE_HOME"] = home.environment["CWL_USERSPACE_HOME"]
    own.environment["CWL_USERSPACE_ENGINE"] = "proot"
    return own


def test_each_node_probes_for_itself_and_nothing_of_it_is_in_the_store(node_home: Home) -> None:
    run = ("run", "busybox", "echo", "ran")
    store = Path(node_home.environment["CWL_USERSPACE_HOME"])
    before = manifest(store).keys()
    assert on_node(node_home, "one", "boot-a", *run) == b"ran\n"
    first = probes(node_home)
    assert first and all(name.endswith("-one.json") for name in first)
    assert on_node(node_home, "two", "boot-b", *run) == b"ran\n"
    assert set(probes(node_home)) - set(first) == {n.replace("-one.", "-two.") for n in first}
    assert manifest(store).keys() - before == set()


def test_another_boot_or_kernel_of_a_node_is_probed_anew(node_home: Home) -> None:
    run = ("run", "busybox", "true")
    on_node(node_home, "one", "boot-a", *run)
    place = node_home.place / "cache" / "cwl-userspace"
    (path,) = place.glob("probe-*")
    kept = json.loads(path.read_bytes())
    assert "boot-a" in kept["key"] and os.uname().release in kept["key"]
    on_node(node_home, "one", "boot-b", *run)
    assert "boot-b" in json.loads(path.read_bytes())["key"]
    kept["key"] = [word if word != os.uname().release else "4.18.0" for word in kept["key"]]
    path.write_text(json.dumps(kept))
    on_node(node_home, "one", "boot-b", *run)
    assert os.uname().release in json.loads(path.read_bytes())["key"]
