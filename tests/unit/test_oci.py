"""What manifests, indexes and configurations say, and which of them are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cwl_userspace.digest import Digest
from cwl_userspace.errors import ContentMismatch, ImageError
from cwl_userspace.image.source import resolve, verified
from cwl_userspace.oci import (
    DOCUMENT_LIMIT,
    Descriptor,
    Index,
    Manifest,
    Platform,
    choose,
    load_json,
    pair_layers,
    parse_document,
)
from tests.fake_registry import INDEX, OCI, descriptor, sha256

AMD64 = Platform("linux", "amd64")
CONFIG = f"{OCI}.config.v1+json"
MANIFEST = f"{OCI}.manifest.v1+json"


def manifest(**changes: Any) -> dict[str, Any]:
    layer = descriptor(f"{OCI}.layer.v1.tar", b"layer")
    base = {"schemaVersion": 2, "config": descriptor(CONFIG, b"{}"), "layers": [layer]}
    return {**base, **changes}


def index(*platforms: str | None) -> Index:
    """An index with one entry a platform; each entry's digest is of its position."""
    entries = []
    for position, text in enumerate(platforms):
        entry = descriptor(MANIFEST, str(position).encode())
        if text is not None:
            os, architecture, *variant = text.split("/")
            entry["platform"] = {"os": os, "architecture": architecture}
            entry["platform"] |= {"variant": variant[0]} if variant else {}
        entries.append(entry)
    parsed = parse_document(json.dumps({"manifests": entries}).encode(), "it")
    assert isinstance(parsed, Index)
    return parsed


def chosen(found: Descriptor) -> int:
    """The position of an entry in the index that it comes from."""
    digests = {sha256(str(position).encode()): position for position in range(10)}
    return digests[str(found.digest)]


def parse(document: Any) -> Manifest | Index:
    return parse_document(json.dumps(document).encode(), "debian:latest")


def test_a_manifest_has_a_configuration_and_layers_in_order() -> None:
    layers = [descriptor("", b"one"), descriptor("", b"two")]
    parsed = parse(manifest(layers=layers))
    assert isinstance(parsed, Manifest)
    assert [str(layer.digest) for layer in parsed.layers] == [sha256(b"one"), sha256(b"two")]
    assert parsed.layers[0].size == 3
    assert str(parsed.config.digest) == sha256(b"{}")


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (None, "expected a JSON object"),
        ([], "expected a JSON object"),
        ("text", "expected a JSON object"),
        ({}, "neither an image manifest nor an index"),
        ({"schemaVersion": 1}, "schema 1"),
        ({"fsLayers": []}, "schema 1"),
        (manifest(manifests=[]), "both a manifest and an index"),
        ({"config": {}, "manifests": []}, "both a manifest and an index"),
        ({"manifests": {}}, "expected a JSON array"),
        (manifest(layers=None), "expected a JSON array"),
        (manifest(layers=[None]), "a layer of debian:latest is None"),
        (manifest(config=[]), "the configuration of debian:latest"),
        (manifest(config=descriptor("application/vnd.cncf.helm", b"")), "vnd.cncf.helm"),
        (manifest(config=descriptor(f"{OCI}.empty.v1+json", b"{}")), "empty"),
    ],
)
def test_documents_that_describe_no_image_are_refused_by_kind(document: Any, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        parse(document)


@pytest.mark.parametrize(
    "change",
    [{"size": -1}, {"size": "3"}, {"size": 3.0}, {"size": True}, {"size": None},
     {"digest": None}, {"digest": "sha256:abc"}, {"digest": "md5:" + "0" * 32},
     {"digest": "sha256:../../etc/passwd"}, {"digest": "sha256:" + "A" * 64},
     {"digest": ["sha256:" + "a" * 64]}],
)  # fmt: skip
def test_a_descriptor_without_a_true_digest_and_size_is_refused(change: dict[str, Any]) -> None:
    entry = {**descriptor("", b"one"), **change}
    with pytest.raises(ContentMismatch):
        parse(manifest(layers=[entry]))


@pytest.mark.parametrize("change", [{"mediaType": 7}, {"annotations": "x"}, {"platform": "linux"}])
def test_a_descriptor_with_fields_of_other_types_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ImageError):
        parse(manifest(layers=[{**descriptor("", b"one"), **change}]))


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "it is not JSON"),
        (b'{"a": 1', "it is not JSON"),
        (b"\xff\xfe\xff", "it is not JSON"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"1" * 5000, "it is not JSON"),
        (b" " * (DOCUMENT_LIMIT + 1), f"at most {DOCUMENT_LIMIT}"),
    ],
)
def test_damaged_json_is_one_sentence(raw: bytes, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        load_json(raw, "it")


@pytest.mark.parametrize(
    ("wanted", "offered", "position"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], 1),
        ("linux/amd64", ["windows/amd64", "linux/amd64"], 1),
        ("linux/arm64", ["linux/amd64", "linux/arm64/v8"], 1),
        ("linux/arm64/v8", ["linux/arm64"], 0),
        ("linux/arm/v7", ["linux/arm/v6", "linux/arm/v7"], 1),
        ("linux/amd64", ["linux/amd64/v3", "linux/amd64"], 1),
        ("linux/amd64", ["linux/amd64", "linux/amd64"], 0),
        ("linux/amd64", ["unknown/unknown", "linux/amd64"], 1),
        ("linux/amd64", [None], 0),
        ("linux/amd64", ["unknown/unknown", None], 1),
    ],
)
def test_an_index_gives_the_entry_that_fits_best(
    wanted: str, offered: list[str | None], position: int
) -> None:
    found = choose(index(*offered), Platform.parse(wanted), "it")
    assert chosen(found) == position


@pytest.mark.parametrize(
    ("offered", "hint"),
    [
        ([], "it offers nothing"),
        (["unknown/unknown"], "it offers nothing"),
        (["linux/s390x", "linux/arm/v7"], "it offers linux/arm/v7, linux/s390x"),
        ([None, None], "it offers nothing"),
    ],
)
def test_an_index_without_a_fitting_entry_lists_what_it_offers(
    offered: list[str | None], hint: str
) -> None:
    with pytest.raises(ImageError, match="has no image for linux/amd64") as caught:
        choose(index(*offered), AMD64, "it")
    assert caught.value.hint == hint


def test_an_attestation_is_no_image_even_where_it_names_the_platform() -> None:
    entry = descriptor(MANIFEST, b"0", platform={"os": "linux", "architecture": "amd64"})
    entry["annotations"] = {"vnd.docker.reference.type": "attestation-manifest"}
    parsed = parse({"manifests": [entry]})
    assert isinstance(parsed, Index)
    with pytest.raises(ImageError, match="has no image"):
        choose(parsed, AMD64, "it")


@pytest.mark.parametrize("text", ["linux", "linux/", "/amd64", "a/b/c/d", ""])
def test_a_platform_has_two_or_three_parts(text: str) -> None:
    with pytest.raises(ImageError, match="invalid platform"):
        Platform.parse(text)


def test_the_platform_of_this_host_is_in_go_words() -> None:
    host = Platform.host()
    assert host.os == "linux"
    assert host.architecture not in ("x86_64", "aarch64")
    assert Platform.parse(str(host)) == host


def test_layers_are_paired_with_their_diff_ids_in_order() -> None:
    layers = [descriptor("", b"one"), descriptor("", b"two")]
    parsed = parse(manifest(layers=layers))
    assert isinstance(parsed, Manifest)
    config = json.dumps({"rootfs": {"diff_ids": [sha256(b"ONE"), sha256(b"TWO")]}}).encode()
    paired = pair_layers(parsed, config, "it")
    assert [(str(p.blob.digest), str(p.diff_id)) for p in paired] == [
        (sha256(b"one"), sha256(b"ONE")),
        (sha256(b"two"), sha256(b"TWO")),
    ]


@pytest.mark.parametrize(
    "config",
    [{}, [], {"rootfs": None}, {"rootfs": {"diff_ids": None}}, {"rootfs": {"diff_ids": []}},
     {"rootfs": {"diff_ids": [sha256(b"1"), sha256(b"2")]}}, {"rootfs": {"diff_ids": ["x"]}},
     {"rootfs": {"diff_ids": [7]}}],
)  # fmt: skip
def test_a_configuration_whose_diff_ids_do_not_fit_is_refused(config: Any) -> None:
    parsed = parse(manifest())
    assert isinstance(parsed, Manifest)
    with pytest.raises(ImageError):
        pair_layers(parsed, json.dumps(config).encode(), "it")


@pytest.mark.parametrize(
    ("raw", "says"), [(b"two", "digest"), (b"ones", "4 bytes, not the 3"), (b"", "0 bytes")]
)
def test_bytes_that_are_not_as_stated_are_refused(raw: bytes, says: str) -> None:
    expected = Descriptor("", Digest.parse(sha256(b"one")), 3)
    assert verified(b"one", expected, "it") == b"one"
    with pytest.raises(ContentMismatch, match=says):
        verified(raw, expected, "it")


def test_resolving_follows_an_index_and_verifies_each_step() -> None:
    config = json.dumps({"rootfs": {"diff_ids": [sha256(b"layer")]}}).encode()
    raw = json.dumps(manifest(config=descriptor(CONFIG, config))).encode()
    entry = descriptor(MANIFEST, raw, platform={"os": "linux", "architecture": "amd64"})
    top = json.dumps({"mediaType": INDEX, "manifests": [entry]}).encode()
    blobs = {sha256(config): config, sha256(raw): raw}
    image = resolve(top, lambda wanted: blobs[str(wanted.digest)], AMD64, "it")
    assert (image.config, image.manifest) == (config, raw)
    assert str(image.manifest_digest) == sha256(raw)
    for digest in list(blobs):
        forged = {**blobs, digest: blobs[digest].replace(b"2", b"3", 1)}
        with pytest.raises(ContentMismatch):
            resolve(top, lambda wanted, f=forged: f[str(wanted.digest)], AMD64, "it")  # type: ignore[misc]
