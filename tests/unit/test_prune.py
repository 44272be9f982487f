"""Pruning: what nobody needs goes, what somebody needs stays, and every byte can be had back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cwl_userspace.asroot import remove_tree
from cwl_userspace.errors import StoreError
from cwl_userspace.image.archive import loadable
from cwl_userspace.oci import Platform
from cwl_userspace.store import records
from cwl_userspace.store.images import add
from cwl_userspace.store.inuse import Use
from cwl_userspace.store.owner import Owner
from cwl_userspace.store.prune import Item, Plan, Wish, carry_out, plan
from cwl_userspace.store.purge import purge
from cwl_userspace.store.records import Record
from cwl_userspace.store.remove import remove_image, remove_name
from cwl_userspace.store.store import MARK, Store
from cwl_userspace.store.users import ADD, BUILD, Busy
from tests import tars
from tests.images import oci_directory

pytestmark = pytest.mark.once
DAY = 24 * 3600.0
PLAIN = Wish()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(str(tmp_path / "store"))
    made.prepare()
    return made


def put(store: Store, top: Path, name: str, age: float = 0.0, size: int = 10) -> Record:
    layer = tars.layer(tars.directory("d", 0o555), tars.file("d/f", name.encode() * size, 0o400))
    path = oci_directory(top / f"image-{name}", [layer], name=name)
    (entry,) = loadable(str(path), str(top), Platform.host())
    record = add(store, entry.image, entry.source, entry.names, lambda doing: None)
    used = Path(store.path, "images", f"{record.id.hex}.json")
    os.utime(used, (used.stat().st_mtime - age,) * 2)
    return record


def key(name: str) -> str:
    return f"docker.io/library/{name}"


def pruned(store: Store, wish: Wish = PLAIN, needed: frozenset[str] = frozenset()) -> Plan:
    found = plan(store, wish, needed)
    assert list(carry_out(store, found.items, remove_tree)) == found.items
    return found


def kinds(items: list[Item]) -> set[str]:
    return {item.kind for item in items}


def everything(store: Store) -> list[str]:
    """All names but the marks of trees that are being synced, which go when they like."""
    return sorted(
        os.path.relpath(os.path.join(top, name), store.path)
        for top, folders, files in os.walk(store.path)
        for name in (*folders, *files)
        if not name.startswith(MARK)
    )


def left(store: Store) -> set[str]:
    return {name.removeprefix(key("")) for name, _ in records.names(store)}


def test_an_image_without_a_name_goes_with_all_that_is_its_own(
    store: Store, tmp_path: Path
) -> None:
    put(store, tmp_path, "one:1")
    before = everything(store)
    record = put(store, tmp_path, "two:1")
    assert pruned(store).items == []
    remove_name(store, key("two:1"))
    found = pruned(store)
    assert kinds(found.items) == {"image", "tree"} and sum(i.size for i in found.items) > 0
    assert everything(store) == before
    assert not store.has_tree(record.chain)


def test_what_is_planned_is_not_done(store: Store, tmp_path: Path) -> None:
    put(store, tmp_path, "one:1")
    before = everything(store)
    assert kinds(plan(store, Wish(all=True), frozenset()).items) == {"image", "tree"}
    assert everything(store) == before


def test_orphans_go_unless_somebody_adds_an_image(store: Store, tmp_path: Path) -> None:
    record = put(store, tmp_path, "one:1")
    remove_name(store, key("one:1"))
    Path(store.path, "images", f"{record.id.hex}.json").unlink()
    with Busy(store, ADD):
        assert pruned(store).items == []
    assert kinds(pruned(store).items) == {"tree", "blob"}
    fresh = Store(str(tmp_path / "fresh"))
    fresh.prepare()
    assert everything(store) == everything(fresh)


def test_blobs_that_a_manifest_names_stay(store: Store, tmp_path: Path) -> None:
    record = put(store, tmp_path, "one:1")
    manifest = record.manifest.removeprefix("sha256:")
    document = json.loads(Path(store.path, "blobs", "sha256", manifest).read_bytes())
    layer = document["layers"][0]["digest"].removeprefix("sha256:")
    store.write_file(f"blobs/sha256/{layer}", b"kept")
    store.write_file(f"blobs/sha256/{'0' * 64}", b"not kept")
    assert [item.what for item in pruned(store).items] == [f"blobs/sha256/{'0' * 64}"]


def test_by_age_go_those_that_nobody_has_used(store: Store, tmp_path: Path) -> None:
    for name, age in (("old:1", 40.0), ("older:1", 50.0), ("new:1", 20.0)):
        put(store, tmp_path, name, age * DAY)
    pruned(store, Wish(older_than=45 * DAY))
    assert left(store) == {"old:1", "new:1"}
    pruned(store, Wish(older_than=30 * DAY))
    assert left(store) == {"new:1"}


def test_by_size_go_those_used_least_recently_until_it_is_enough(
    store: Store, tmp_path: Path
) -> None:
    sizes = {}
    for age, name in enumerate(("a:1", "b:1", "c:1", "d:1")):
        sizes[name] = put(store, tmp_path, name, age * DAY, 1000).size
    pruned(store, Wish(keep_size=sum(sizes.values())))
    assert left(store) == {"a:1", "b:1", "c:1", "d:1"}
    pruned(store, Wish(keep_size=sizes["a:1"] + sizes["b:1"]))
    assert left(store) == {"a:1", "b:1"}
    pruned(store, Wish(keep_size=0))
    assert left(store) == set()


def test_what_is_protected_needed_or_in_use_stays_whatever_is_wished(
    store: Store, tmp_path: Path
) -> None:
    names = ("protected:1", "needed:1", "used:1", "other:1")
    made = {name: put(store, tmp_path, name, 99 * DAY) for name in names}
    path = Path(store.path, "names", records.file_name(key("protected:1")))
    path.write_text(json.dumps({**json.loads(path.read_text()), "protected": True}))
    use = Use(store.tree(made["used:1"].chain), made["used:1"].chain.hex)
    assert use.begin()
    needed = frozenset([made["needed:1"].id.hex])
    for wish in (Wish(older_than=DAY), Wish(keep_size=0), Wish(all=True)):
        found = pruned(store, wish, needed)
        assert left(store) == set(names) - {"other:1"}
        assert set(found.kept) == {key(name) for name in names} - {key("other:1")}
    use.end()
    pruned(store, Wish(all=True), needed)
    assert left(store) == {"protected:1", "needed:1"}


def test_what_comes_into_use_or_has_a_name_after_the_look_stays(
    store: Store, tmp_path: Path
) -> None:
    one, two = put(store, tmp_path, "one:1"), put(store, tmp_path, "two:1")
    found = plan(store, Wish(all=True), frozenset())
    use = Use(store.tree(one.chain), one.chain.hex)
    assert use.begin()
    store.write_file(
        f"names/{records.file_name(key('new:1'))}",
        json.dumps({"name": key("new:1"), "image": str(two.id)}),
    )
    gone = list(carry_out(store, found.items, remove_tree))
    use.end()
    assert store.has_tree(one.chain) and store.has_tree(two.chain)
    assert str(two.id) not in {item.what for item in gone}
    assert records.find(store, "new:1").id == two.id


def test_what_an_image_has_that_is_added_after_the_look_stays(store: Store, tmp_path: Path) -> None:
    record = put(store, tmp_path, "one:1")
    documents = [record.id.hex, record.manifest.removeprefix("sha256:")]
    Path(store.path, "images", f"{record.id.hex}.json").unlink()
    found = plan(store, PLAIN, frozenset())
    assert kinds(found.items) == {"tree", "blob"}
    (tmp_path / "again").mkdir()
    put(store, tmp_path / "again", "one:1")
    assert list(carry_out(store, found.items, remove_tree)) == []
    assert store.has_tree(record.chain)
    assert all(Path(store.path, "blobs", "sha256", name).exists() for name in documents)


def test_a_record_that_a_crash_has_torn_is_no_image_and_stops_nothing(
    store: Store, tmp_path: Path
) -> None:
    torn, other = put(store, tmp_path, "torn:1"), put(store, tmp_path, "other:1")
    Path(store.path, "images", f"{torn.id.hex}.json").write_bytes(b"")
    assert [record.id for record in records.images(store)] == [other.id]
    assert {item.what for item in pruned(store).items} >= {torn.chain.hex}
    remove_image(store, other)
    assert not store.has_tree(other.chain)


def test_what_the_dead_have_left_goes_wherever_they_were(store: Store) -> None:
    me = Owner.me()
    name = "from cwl_userspace.store.owner import private_name; print(private_name())"
    dead = subprocess.run(
        [sys.executable, "-c", name], capture_output=True, text=True, check=True
    ).stdout.strip()
    silent = f"0a.{me.pid}.{me.start}.1.{me.boot}.node-9"
    alive = f"0b.{me.pid}.{me.start}.1.{me.boot}.node-9"
    format_1 = f"host-4026531836-{me.pid}-abcdef"
    for path in (dead, f"{dead}.file", silent, alive, format_1, f"{format_1}-new"):
        Path(store.path, "tmp", path).mkdir()
    Path(store.path, "tmp", dead, "closed").mkdir(mode=0)
    for name in (dead, silent, alive):
        Path(store.path, "leases", f"run-{'1' * 64}.{name}").touch()
    Path(store.path, "leases", f".{dead}.dead").touch()
    Path(store.path, "locks", "old").touch()
    long_ago = Path(store.path).stat().st_mtime - 2 * DAY
    for path in (f"tmp/{silent}", f"tmp/{format_1}", f"leases/run-{'1' * 64}.{silent}"):
        os.utime(Path(store.path, path), (long_ago, long_ago))
    pruned(store)
    assert sorted(os.listdir(os.path.join(store.path, "tmp"))) == sorted([alive, f"{format_1}-new"])
    assert os.listdir(os.path.join(store.path, "leases")) == [f"run-{'1' * 64}.{alive}"]
    assert os.listdir(os.path.join(store.path, "locks")) == []


def test_builds_steps_go_unless_one_is_building(store: Store) -> None:
    for place in ("steps/a", "layers/b", "caches/c/d"):
        path = Path(store.path, "build", place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    os.utime(Path(store.path, "build", "steps", "a"), (1, 1))
    with Busy(store, BUILD):
        assert pruned(store, Wish(older_than=DAY)).items == []
    assert [i.what for i in pruned(store, Wish(older_than=DAY)).items] == ["build/steps/a"]
    assert kinds(pruned(store).items) == {"build cache"}
    assert not os.path.exists(os.path.join(store.path, "build"))


def test_a_whole_store_goes_unless_it_is_in_use(store: Store, tmp_path: Path) -> None:
    record = put(store, tmp_path, "one:1")
    for place in ("containers/c/rootfs", "build/steps", "tools"):
        Path(store.path, place).mkdir(parents=True)
    use = Use(store.tree(record.chain), record.chain.hex)
    assert use.begin()
    with pytest.raises(StoreError, match=f"in use by process {os.getpid()} on"):
        purge(store, remove_tree)
    assert store.check() == "2" and store.has_tree(record.chain)
    use.end()
    assert purge(store, remove_tree) > 0
    assert not os.path.exists(store.path)
    with pytest.raises(StoreError, match="no store"):
        purge(store, remove_tree)


def test_a_removal_that_was_cut_off_is_refused_by_all_and_can_be_finished(
    store: Store, tmp_path: Path
) -> None:
    put(store, tmp_path, "one:1")
    Path(store.path, "mine").touch()

    def fails(path: str) -> None:
        raise OSError(5, "Input/output error", path)

    with pytest.raises(StoreError, match="Input/output error"):
        purge(store, fails)
    for refuse in (store.check, store.prepare):
        with pytest.raises(StoreError, match=r"being removed; finish that with .* --whole-store"):
            refuse()
    purge(store, remove_tree)
    assert os.listdir(store.path) == ["mine"]


def test_a_store_of_format_1_is_read_and_becomes_one_of_ours_when_it_is_written(
    store: Store, tmp_path: Path
) -> None:
    record = put(store, tmp_path, "one:1")
    os.rmdir(os.path.join(store.path, "leases"))
    Path(store.path, "format").write_text("1\n")
    assert store.check() == "1" and records.find(store, "one:1").id == record.id
    use = Use(store.tree(record.chain), record.chain.hex)
    assert use.begin()
    put(store, tmp_path, "two:1")
    assert Path(store.path, "format").read_text() == "2\n"
    assert left(store) == {"one:1", "two:1"} and store.has_tree(record.chain)
    pruned(store, Wish(all=True))
    assert left(store) == {"one:1"}
    use.end()
