"""Documents and archives that lie: wrong digests, sizes, kinds, and JSON that is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cwl_userspace.oci import Platform
from tests import tars
from tests.command import Command
from tests.images import (
    CONFIG,
    INDEX,
    LAYER,
    MANIFEST,
    NAME,
    Layout,
    compressed,
    config_json,
    docker_classic,
    docker_flat,
    docker_hybrid,
    oci_directory,
    oci_tar,
    platform_json,
    sha256,
)
from tests.trees import Snapshot, file

LOWER = tars.layer(tars.file("a", b"a"), tars.file("gone"), tars.directory("d", 0o711))
UPPER = tars.layer(tars.whiteout("gone"), tars.file("d/b", b"b", 0o755), tars.hard_link("c", "a"))
OTHER = Platform("linux", "s390x")
DEEP = b"[" * 100_000 + b"]" * 100_000
Spoil = Callable[[Layout, dict[str, Any]], object]


def _flip(layout: Layout, digest: str) -> None:
    raw = layout.blobs[digest]
    layout.blobs[digest] = raw[:-1] + bytes((raw[-1] ^ 1,))


def _descriptor(manifest: dict[str, Any], which: str) -> dict[str, Any]:
    found: dict[str, Any] = manifest["config"] if which == "config" else manifest["layers"][0]
    return found


def _set(which: str, **fields: Any) -> Spoil:
    return lambda layout, manifest: _descriptor(manifest, which).update(fields)


def _diff_ids(*diff_ids: Any) -> Spoil:
    def spoil(layout: Layout, manifest: dict[str, Any]) -> None:
        manifest["config"] = layout.add(config_json(diff_ids), CONFIG)

    return spoil


def _config(document: Any) -> Spoil:
    def spoil(layout: Layout, manifest: dict[str, Any]) -> None:
        manifest["config"] = layout.add(document, CONFIG)

    return spoil


# What is done to a good image, and what the message must say of it.
SPOILT: dict[str, tuple[Spoil, str]] = {
    "layer bytes": (lambda i, m: _flip(i, m["layers"][0]["digest"]), "damaged"),
    "config bytes": (lambda i, m: _flip(i, m["config"]["digest"]), "digest"),
    "layer size less": (_set("layer", size=20), "20 bytes"),
    "layer size more": (_set("layer", size=10**6), "1000000"),
    "layer size negative": (_set("layer", size=-1), "size"),
    "layer size text": (_set("layer", size="12"), "size"),
    "layer size missing": (_set("layer", size=None), "size"),
    "layer size huge": (_set("layer", size=10**30), ""),
    "config size": (_set("config", size=3), "3"),
    "other DiffID": (_diff_ids(sha256(b"x"), sha256(UPPER)), "unpacked"),
    "too few DiffIDs": (_diff_ids(sha256(LOWER)), "DiffIDs"),
    "too many DiffIDs": (_diff_ids(*[sha256(LOWER)] * 3), "DiffIDs"),
    "DiffID a number": (_diff_ids(1, 2), "digest"),
    "digest a path": (_set("layer", digest="sha256:../../x"), "../../x"),
    "digest md5": (_set("layer", digest="md5:" + "0" * 32), "md5"),
    "digest in capitals": (_set("layer", digest="sha256:" + "A" * 64), "digest"),
    "digest with a newline": (_set("layer", digest="sha256:" + "a" * 63 + "\n"), "digest"),
    "digest missing": (_set("layer", digest=None), "digest"),
    "digest a list": (_set("config", digest=["sha256:" + "a" * 64]), "digest"),
    "no layer blob": (_set("layer", digest=f"sha256:{'ab' * 32}"), "ab" * 32),
    "no config blob": (_set("config", digest=f"sha256:{'ab' * 32}"), "ab" * 32),
    "both kinds": (lambda i, m: m.update(manifests=[]), "both"),
    "schema 1": (lambda i, m: m.update(schemaVersion=1, fsLayers=[], history=[]), "schema 1"),
    "helm chart": (_set("config", mediaType="application/vnd.cncf.helm.config.v1+json"), "helm"),
    "empty artifact": (_set("config", mediaType="application/vnd.oci.empty.v1+json"), "empty"),
    "layers an object": (lambda i, m: m.update(layers={}), "layers"),
    "a layer null": (lambda i, m: m.update(layers=[None, None]), "layer"),
    "config null": (_config(b"null"), "config"),
    "config a list": (_config(b"[]"), "config"),
    "config cut short": (_config(b'{"rootfs": {"type"'), "JSON"),
    "config very deep": (_config(DEEP), "nested"),
    "config not UTF-8": (_config(b'{"\xff": 1}'), "JSON"),
    "config with a huge number": (_config(b'{"a": ' + b"9" * 10**5 + b"}"), "JSON"),
    "config of 5 MiB": (_config(b'{"a": "' + b"x" * (5 << 20) + b'"}'), "bytes"),
    "config without rootfs": (_config({"config": {}}), "rootfs"),
    "rootfs null": (_config({"rootfs": None}), "rootfs"),
    "DiffIDs text": (_config({"rootfs": {"diff_ids": "sha256:"}}), "DiffIDs"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_image_is_refused_and_the_good_one_loads_afterwards(
    command: Command, tmp_path: Path, what: str
) -> None:
    spoil, expected = SPOILT[what]
    layout = Layout()
    manifest = layout.manifest([LOWER, UPPER])
    spoil(layout, manifest)
    layout.entry(manifest)
    said = command.assert_refused(command.load(layout.directory(tmp_path / "bad")))
    assert expected in said
    if what in ("layer bytes", "layer size less", "other DiffID"):
        tree = command.accepts(oci_directory(tmp_path / "good", [LOWER, UPPER]))
        assert tree["d/b"] == file(b"b", 0o755)


@pytest.mark.parametrize(
    "document",
    [b"null", b"[]", b"{}", b'"x"', b'{"layers": [', b"", DEEP, b'{"a":' * 100_000, b"\xff\xfe\0"],
    ids=lambda raw: repr(raw[:12]),
)
def test_a_manifest_that_is_none_is_refused(
    command: Command, tmp_path: Path, document: bytes
) -> None:
    layout = Layout()
    layout.entry(document)
    command.assert_refused(command.load(layout.directory(tmp_path / "manifest")))
    layout.index = {"manifests": []}
    bad = layout.directory(tmp_path / "index")
    (bad / "index.json").write_bytes(document)
    command.assert_refused(command.load(bad))
    command.assert_refused(command.load(docker_flat([LOWER], document)))


def test_an_index_gives_the_image_for_this_host(command: Command, tmp_path: Path) -> None:
    layout = Layout()
    entries = []
    for platform in (OTHER, Platform.host()):
        layer = tars.layer(tars.file("which", str(platform).encode()))
        entries.append(
            layout.add(layout.manifest([layer], platform=platform), MANIFEST)
            | {"platform": platform_json(platform)}
        )
    unknown = {"os": "unknown", "architecture": "unknown"}
    annotations = {"vnd.docker.reference.type": "attestation-manifest"}
    attestation = layout.add(layout.manifest([tars.END]), MANIFEST, platform=unknown)
    entries.insert(0, attestation | {"annotations": annotations})
    nested = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
    layout.entry(nested)
    expected = file(str(Platform.host()).encode())
    assert command.accepts(layout.directory(tmp_path / "image"))["which"] == expected
    layout.index["manifests"] = []
    layout.entry({"schemaVersion": 2, "mediaType": INDEX, "manifests": [layout.add(nested, INDEX)]})
    assert command.accepts(layout.tar(tmp_path / "twice"))["which"] == expected


def test_an_index_without_this_host_says_what_it_has(command: Command, tmp_path: Path) -> None:
    layout = Layout()
    names = [("linux", "s390x"), ("windows", "amd64"), ("linux\n\x1b[31m", "evil")]
    entries = []
    for os_name, architecture in names:
        platform = Platform(os_name, architecture)
        manifest = layout.manifest([LOWER], platform=platform)
        entries.append(layout.add(manifest, MANIFEST, platform=platform_json(platform)))
    layout.entry({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    said = command.refuses(layout.directory(tmp_path / "image"))
    assert "linux/s390x" in said and "windows/amd64" in said


def test_indexes_that_lead_in_circles_are_refused(command: Command, tmp_path: Path) -> None:
    layout = Layout()
    document: dict[str, Any] = {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
    for _ in range(100):
        document = {**document, "manifests": [layout.add(document, INDEX)]}
    layout.entry(document)
    command.refuses(layout.directory(tmp_path / "image"))


FORMS: dict[str, Callable[[Path, list[bytes]], Path]] = {
    "OCI directory": oci_directory,
    "OCI tar": oci_tar,
    "OCI tar, gzip": lambda p, ls: compressed(p, oci_tar(p, ls).read_bytes()),
    "classic": lambda p, ls: _written(p, docker_classic(ls)),
    "classic, gzip": lambda p, ls: compressed(p, docker_classic(ls)),
    "classic, zstd": lambda p, ls: _written(p, tars.zstd(docker_classic(ls))),
    "classic, ./": lambda p, ls: _written(p, docker_classic(ls, "./")),
    "flat": lambda p, ls: _written(p, docker_flat(ls)),
    "hybrid": lambda p, ls: _written(p, docker_hybrid(ls)),
    "hybrid, gzip": lambda p, ls: compressed(p, docker_hybrid(ls)),
}


def _written(path: Path, archive: bytes) -> Path:
    path.write_bytes(archive)
    return path


def test_every_form_of_an_image_gives_the_same_tree(command: Command, tmp_path: Path) -> None:
    expected: Snapshot | None = None
    layers = [LOWER, UPPER, LOWER]
    for what, make in FORMS.items():
        fresh = Command(_made(tmp_path / what.replace("/", "_")))
        tree = fresh.accepts(make(fresh.top / "image", layers))
        expected = expected or tree
        assert tree == expected, what
        if what in ("classic", "OCI tar, gzip", "hybrid"):
            piped = Command(_made(fresh.top / "piped"))
            assert piped.accepts((fresh.top / "image").read_bytes()) == expected
    assert expected and expected["gone"] == file() and expected["d/b"].content == b"b"


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def test_an_archive_without_names_is_found_by_its_id(command: Command) -> None:
    result = command.load(docker_flat([LOWER], RepoTags=None))
    assert result.returncode == 0, result
    identifier = result.stdout.decode().split()[-1]
    assert result.stdout.decode() == f"Loaded image ID: {identifier}\n"
    assert command.tree(identifier)["a"] == file(b"a")
    assert command.tree(identifier.removeprefix("sha256:")[:12])["a"] == file(b"a")


@pytest.mark.parametrize("target", ["{canary}/f", "../../../../../../etc/passwd", "no/such", "."])
@pytest.mark.parametrize("make", [tars.symlink, tars.hard_link])
def test_a_layer_that_is_a_link_out_of_the_archive_is_refused(
    command: Command, tmp_path: Path, target: str, make: Callable[[str, str], bytes]
) -> None:
    target = target.format(canary=tmp_path / "canary")
    config = json.dumps(config_json([sha256(b"canary")])).encode()
    listed = [{"Config": "c.json", "RepoTags": [NAME], "Layers": ["id/layer.tar"]}]
    archive = tars.layer(
        make("id/layer.tar", target),
        tars.file("c.json", config),
        tars.file("manifest.json", json.dumps(listed).encode()),
    )
    assert "layer.tar" in command.assert_refused(command.load(archive))


@pytest.mark.parametrize(
    "entry",
    [
        {"Config": "../../../../etc/passwd"}, {"Config": "/etc/passwd"}, {"Config": None},
        {"Config": ["x"]}, {"Layers": ["../../etc/passwd"]}, {"Layers": [None]}, {"Layers": []},
        {"Layers": "abc"}, {"Layers": 7}, {"RepoTags": ["UPPER"]}, {"RepoTags": ["\ud800"]},
        {"RepoTags": ["../../x"]}, {"RepoTags": ["a\nb"]}, {"RepoTags": [None]}, {"RepoTags": 7},
        {"RepoTags": "abc d"},
    ],
    ids=str,
)  # fmt: skip
def test_an_archive_that_lists_nonsense_is_refused(command: Command, entry: dict[str, Any]) -> None:
    command.assert_refused(command.load(docker_flat([LOWER], **entry)))


def test_links_of_an_archive_that_go_in_circles_are_refused(command: Command) -> None:
    listed = [{"Config": "a", "RepoTags": [NAME], "Layers": []}]
    archive = tars.layer(
        tars.symlink("a", "b"),
        tars.symlink("b", "a"),
        tars.file("manifest.json", json.dumps(listed).encode()),
    )
    command.assert_refused(command.load(archive))


def test_a_foreign_layer_is_taken_from_the_image_itself(command: Command, tmp_path: Path) -> None:
    layout = Layout()
    manifest = layout.manifest([LOWER])
    manifest["layers"][0].update(
        mediaType=LAYER.replace("v1.tar", "nondistributable.v1.tar+gzip"),
        urls=["http://127.0.0.1:1/must-not-be-asked"],
    )
    layout.entry(manifest)
    assert command.accepts(layout.directory(tmp_path / "image"))["a"] == file(b"a")


@pytest.mark.parametrize("pack", [bytes, tars.gzipped, tars.zstd], ids=["plain", "gzip", "zstd"])
def test_a_root_file_system_is_imported(
    command: Command, tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    exported = tars.layer(
        tars.directory("./"), tars.file("./bin/sh", b"#!", 0o755), tars.special("./dev/null", b"3"),
        tars.symlink("./lib", "usr/lib"),
    )  # fmt: skip
    result = command("import", _written(tmp_path / "rootfs.tar", pack(exported)), NAME)
    assert (result.returncode, result.stderr) == (0, b"")
    tree = command.tree()
    assert tree["bin/sh"] == file(b"#!", 0o755) and "dev/null" not in tree
    piped = command("import", "-", "test:2", stdin=pack(exported))
    assert piped.stdout == result.stdout


def test_an_import_does_not_spoil_the_layer_of_the_same_digest(
    command: Command, tmp_path: Path
) -> None:
    """A name such as ``.wh.x`` hides in a layer, but would not in a root file system."""
    tar = tars.layer(tars.file("d/.wh.x", b"data"), tars.file("y"))
    said = command.assert_refused(command("import", _written(tmp_path / "tar", tar), "imported:1"))
    assert ".wh.x" in said
    assert set(command.accepts(oci_directory(tmp_path / "image", [tar]))) == {".", "y"}
