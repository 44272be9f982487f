"""verify finds what is wrong with a store, and repairs what it can fetch."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import tars
from tests.command import Command, Result
from tests.containers import settled
from tests.images import NAME, Layout, oci_directory
from tests.trees import snapshot

FULL = "docker.io/library/test:1"
FILE = "docker.io%2Flibrary%2Ftest:1"
LAYER = tars.layer(
    *(tars.file(f"d/f{i}", b"%d" % i, 0o640) for i in range(12)),
    tars.symlink("link", "d"),
    tars.file("odd\x1b[31m", b""),
)
CLOSED = tars.layer(
    tars.file("closed/secret", b"s" * 5000, 0o000),
    tars.directory("closed", 0o300),
)

pytestmark = pytest.mark.once


class Cared(Command):
    """A store with one image, and the registry's mirror that it came from."""

    def __init__(self, top: Path, layer: bytes = LAYER) -> None:
        super().__init__(top)
        self.mirror = oci_directory(top / "mirror", [layer])
        (top / "config.yml").write_text(
            f'registries:\n  docker.io:\n    mirrors: ["oci:{self.mirror}"]\n'
        )
        self.environ["CWL_USERSPACE_CONFIG"] = str(top / "config.yml")
        assert self("pull", NAME).returncode == 0
        self.before = self.tree()

    def copy(self, top: Path) -> Cared:
        """Another with copies of the same files."""
        other: Cared = Cared.__new__(Cared)
        Command.__init__(other, top)
        other.mirror = Path(shutil.copytree(self.mirror, top / "mirror"))
        text = (self.top / "config.yml").read_text()
        (top / "config.yml").write_text(text.replace(str(self.mirror), str(other.mirror)))
        other.environ["CWL_USERSPACE_CONFIG"] = str(top / "config.yml")
        subprocess.run(["cp", "-a", self.store, other.store], check=True)
        other.before = self.before
        return other

    def path(self, name: str = NAME) -> Path:
        return self.file("trees") / "rootfs" if name == NAME else super().path(name)

    def file(self, directory: str) -> Path:
        """The only file in a directory of the store."""
        (found,) = (self.store / directory).iterdir()
        return found

    def assert_sound(self) -> None:
        result = self("verify", "-q")
        assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
        assert self.tree() == self.before
        self.assert_no_litter()

    def finds(self, *words: str) -> str:
        result = self("verify", *words)
        assert (result.returncode, result.stderr) == (1, b""), result
        return result.stdout.decode()

    def repairs(self) -> str:
        result = self("verify", "--repair")
        assert (result.returncode, result.stderr) == (0, b""), result
        self.assert_sound()
        return result.stdout.decode()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Cared:
    original = Cared(tmp_path_factory.mktemp("original"))
    assert settled(original.store)
    return original


@pytest.fixture
def cared(tmp_path: Path, original: Cared) -> Cared:
    return original.copy(tmp_path)


def test_a_sound_store_is_said_to_be_sound_and_stays_as_it_is(cared: Cared) -> None:
    before = snapshot(cared.store)
    result = cared("verify")
    said = result.stdout.decode()
    assert (result.returncode, result.stderr) == (0, b"")
    assert "14 files as they were recorded" in said and "MB/s" in said
    assert snapshot(cared.store) == before
    cared.assert_sound()


def test_what_is_wrong_with_a_tree_is_named_counted_and_repaired(cared: Cared) -> None:
    tree = cared.path()
    for number in range(9):
        (tree / f"d/f{number}").unlink()
    (tree / "d/f9").write_bytes(b"X")
    (tree / "d/f10").chmod(0o4755)
    (tree / "new\x1b[31m").touch()
    said = cared.finds(NAME)
    assert "9 missing, 1 additional, " in said
    assert "missing     d/f0" in said and "and " in said and " more" in said
    assert "\x1b" not in said
    assert "repaired" in cared.repairs()


def test_what_a_mode_closes_is_compared_too(tmp_path: Path) -> None:
    cared = Cared(tmp_path, CLOSED)
    tree = cared.path()
    (tree / "closed").chmod(0o700)
    secret = tree / "closed/secret"
    found = secret.stat()
    secret.chmod(0o600)
    secret.write_bytes(b"S" * 5000)
    os.utime(secret, ns=(found.st_atime_ns, found.st_mtime_ns))
    secret.chmod(0)
    (tree / "closed").chmod(0o300)
    assert "closed/secret: its content" in cared.finds()
    assert stat.S_IMODE((tree / "closed").stat().st_mode) == 0o300
    cared.repairs()


@pytest.mark.parametrize("content", [b"{", b"{}"])
@pytest.mark.parametrize("place", ["names", "images", "tree.json", "contents.zst"])
def test_a_document_that_is_damaged_is_named_and_repaired(
    cared: Cared, place: str, content: bytes
) -> None:
    path = cared.file(place if place in ("names", "images") else "trees")
    path = path if path.is_file() else path / place
    path.write_bytes(content)
    assert (path.parent.name if place == "contents.zst" else path.name) in cared.finds()
    cared.repairs()


# What a record says of its image that its blobs, each as its own name says, do not.
UNTRUE: dict[str, tuple[dict[str, Any], str]] = {
    "configuration": ({"config": {"os": "linux"}}, "its configuration is not that of the blob"),
    "layers": ({"chain": f"sha256:{'1' * 64}"}, "its chain is not that of the layers"),
    "digest": ({"manifest": "sha256:short"}, "short"),
    "manifest": ({}, f"it is the manifest of sha256:{'2' * 64}"),
}


@pytest.mark.parametrize("untrue", UNTRUE)
def test_a_record_that_its_blobs_belie_is_named(cared: Cared, untrue: str) -> None:
    path = cared.file("images")
    record = json.loads(path.read_bytes())
    changed, said = UNTRUE[untrue]
    if untrue == "manifest":
        sound = (cared.store / "blobs/sha256" / record["manifest"][7:]).read_text()
        other = sound.replace(record["id"], f"sha256:{'2' * 64}").encode()
        name = hashlib.sha256(other).hexdigest()
        (cared.store / "blobs/sha256" / name).write_bytes(other)
        changed = {"manifest": f"sha256:{name}"}
    path.write_text(json.dumps({**record, **changed}))
    assert said in cared.finds()


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"bytes": null}'])
def test_damaged_facts_of_a_tree_keep_nobody_from_its_image(cared: Cared, content: bytes) -> None:
    (cared.file("trees") / "tree.json").write_bytes(content)
    assert cared.load(cared.mirror).stderr == b""
    assert "tree.json" in cared.finds()


def test_a_record_that_is_lost_is_written_anew(cared: Cared) -> None:
    cared.file("images").unlink()
    assert "is not in the store" in cared.finds()
    cared.repairs()


@pytest.mark.parametrize("place", ["config", "manifest", "layer", "tree"])
def test_a_blob_or_tree_that_is_damaged_or_lost_is_repaired(cared: Cared, place: str) -> None:
    record = json.loads(cared.file("images").read_bytes())
    manifest = json.loads((cared.store / "blobs/sha256" / record["manifest"][7:]).read_bytes())
    if place == "tree":
        path = cared.file("trees")
        shutil.rmtree(path)
    else:
        kept = {"config": record["id"], "manifest": record["manifest"],
                "layer": manifest["layers"][0]["digest"]}  # fmt: skip
        path = cared.store / "blobs/sha256" / kept[place][7:]
        path.write_bytes(b"not the layer, which is kept for once")
    assert path.name in cared.finds()
    assert "repaired" in cared.repairs()


def test_what_nobody_has_any_more_is_not_repaired_and_stays(cared: Cared) -> None:
    shutil.rmtree(cared.mirror)
    (cared.path() / "d/f1").write_bytes(b"other")
    result = cared("verify", "--repair")
    assert result.returncode == 1
    assert b"not repaired: " in result.stdout
    assert (cared.path() / "d/f1").read_bytes() == b"other"
    cared.assert_no_litter()


def test_layers_that_were_kept_need_no_registry(cared: Cared) -> None:
    (cared.top / "config.yml").write_text(
        (cared.top / "config.yml").read_text() + "keep_blobs: true\n"
    )
    for blob in (cared.mirror / "blobs/sha256").iterdir():
        shutil.copy(blob, cared.store / "blobs/sha256")
    shutil.rmtree(cared.mirror)
    (cared.path() / "d/f1").write_bytes(b"other")
    before = sorted(os.listdir(cared.store / "blobs/sha256"))
    cared.repairs()
    assert sorted(os.listdir(cared.store / "blobs/sha256")) == before


def test_a_tree_that_goes_on_from_another_is_compared_and_repaired_by_itself(cared: Cared) -> None:
    layout = Layout()
    layout.entry(layout.manifest([LAYER, tars.layer(tars.file("d/more"))]), "more:1")
    for name, raw in layout.files().items():
        (cared.mirror / name).write_bytes(raw)
    assert cared("pull", "more:1").returncode == 0
    assert cared("verify").stdout.count(b"as they were recorded") == 2
    tree = cared.path("more:1")
    before = snapshot(tree)
    assert before.keys() - cared.before.keys() == {"d/more"}
    (tree / "d/more").unlink()
    assert "missing     d/more" in cared.finds("more:1")
    assert cared("verify", "--repair", "more:1").returncode == 0
    assert snapshot(tree) == before


def test_another_image_is_not_taken_for_the_damaged_one(cared: Cared) -> None:
    """The name has moved on; the image that is here is asked for by its digest."""
    layout = Layout()
    layout.entry(layout.manifest([tars.layer(tars.file("other"))]))
    old = json.loads((cared.mirror / "index.json").read_bytes())
    layout.directory(cared.mirror)
    assert json.loads((cared.mirror / "index.json").read_bytes()) != old
    (cared.path() / "d/f1").unlink()
    cared.repairs()


def test_a_tree_in_use_is_not_replaced(cared: Cared) -> None:
    (cared.path() / "d/f1").unlink()
    record = json.loads(cared.file("images").read_bytes())
    runs = cared.top / "state/cwl-userspace/runs"
    runs.mkdir(parents=True)
    with open(f"/proc/{os.getpid()}/stat", "rb") as file:
        start = file.read().rpartition(b")")[2].split()[19].decode()
    (runs / "x.json").write_text(json.dumps({
        "id": "abcdef123456", "image": record["id"], "host": os.uname().nodename,
        "pid": os.getpid(), "start": start, "time": 0,
    }))  # fmt: skip
    result = cared("verify", "--repair")
    assert result.returncode == 1
    assert b"in use by the container abcdef123456" in result.stdout
    assert not (cared.path() / "d/f1").exists()
    (runs / "x.json").unlink()
    cared.repairs()


def test_a_tree_without_a_record_is_no_fault_and_gets_one(cared: Cared) -> None:
    (cared.file("trees") / "contents.zst").unlink()
    said = cared("verify")
    assert said.returncode == 0 and b"nothing is recorded of its tree" in said.stdout
    assert b"recorded as it is now" in cared("verify", "--record").stdout
    (cared.path() / "d/f1").unlink()
    assert "missing     d/f1" in cared.finds()
    cared.repairs()


@pytest.mark.parametrize("damaged", [False, True])
def test_a_tree_without_a_record_is_compared_with_a_new_fetch(cared: Cared, damaged: bool) -> None:
    (cared.file("trees") / "contents.zst").unlink()
    if damaged:
        (cared.path() / "d/f1").unlink()
    inode = cared.path().stat().st_ino
    cared.repairs()
    assert (cared.path().stat().st_ino == inode) is not damaged
    assert (cared.file("trees") / "contents.zst").exists()


def test_strays_are_named_and_what_no_image_has_is_left_to_prune(cared: Cared) -> None:
    for stray in ("names/stray", "images/stray.json", "images/stray"):
        (cared.store / stray).write_text("{}")
    (cared.store / "blobs/sha256" / ("0" * 64)).touch()
    said = cared.finds()
    assert "names/stray: " in said and "images/stray.json: " in said and "images/stray: " in said
    assert f"no image's: blobs/sha256/{'0' * 64}" in said
    result = cared("verify", "--repair")
    assert result.returncode == 1 and result.stdout.count(b"not repaired") == 3


def test_only_what_is_named_is_looked_at(cared: Cared) -> None:
    other = Layout()
    other.entry(other.manifest([tars.layer(tars.file("x"))]), "other:1")
    assert cared.load(other.directory(cared.top / "other")).returncode == 0
    (cared.path("other:1") / "x").unlink()
    assert cared("verify", NAME).returncode == 0
    identifier = json.loads(cared("inspect", "other:1").stdout)[0]["Id"]
    for text in ("other:1", identifier, identifier[7:19]):
        assert "missing     x" in cared.finds(text)
    assert refused(cared("verify", "no:such"))
    result = cared("verify", "--repair", "other:1")
    assert result.returncode == 1 and b"not repaired" in result.stdout


def test_a_pack_is_a_tree_and_is_compared_by_its_digest(cared: Cared) -> None:
    local = cared.top / "local"
    local.mkdir()
    assert cared("rmi", NAME).returncode == 0
    assert cared("pull", NAME, CWL_USERSPACE_LOCAL_STORE=str(local)).returncode == 0
    (pack,) = (cared.store / "packs").iterdir()
    assert cared.listing("trees") == []
    assert cared("verify").returncode == 0
    file = pack / "tree.tar.zst"
    file.write_bytes(file.read_bytes()[:-1])
    assert f"packs/{pack.name}: its digest is " in cared.finds()
    cared.repairs()
    assert cared.listing("packs") == []


def test_the_modes_of_a_store_of_a_group_are_right(cared: Cared) -> None:
    cared("rmi", NAME)
    cared.store.chmod(0o2775)
    assert cared("pull", NAME).returncode == 0
    assert stat.S_IMODE((cared.path() / "d").stat().st_mode) == 0o775
    assert cared("verify").returncode == 0
    (cared.path() / "d").chmod(0o777)
    assert "d: mode 0777, not 0755" in cared.finds()


def refused(result: Result) -> bool:
    return result.returncode == 1 and result.stderr.startswith(b"cwl-userspace: ")


def test_quick_reads_no_file(cared: Cared) -> None:
    path = cared.path() / "d/f1"
    found = path.stat()
    path.write_bytes(b"2")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert cared("verify", "--quick").returncode == 0
    assert "d/f1: its content" in cared.finds()
    path.unlink()
    assert "missing" in cared.finds("--quick")
