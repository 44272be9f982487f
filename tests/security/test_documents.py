"""Names, digests and documents of whatever content: read, or refused by an error of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwl_userspace.digest import Digest
from cwl_userspace.errors import ContentMismatch, ImageError, InvalidReference
from cwl_userspace.image.layout import Layout
from cwl_userspace.image.source import resolve
from cwl_userspace.oci import (
    DOCUMENT_TYPES,
    OCI_CONFIG,
    Descriptor,
    Platform,
    diff_ids_of,
    load_json,
    parse_document,
)
from cwl_userspace.reference import ImageReference
from cwl_userspace.spec import ImageConfig
from cwl_userspace.store.records import file_name, key_of
from tests.command import Command
from tests.fuzzing import examples
from tests.images import CONFIG, NAME
from tests.images import Layout as Writer

pytestmark = pytest.mark.once
MANY = examples(300)

# Names.

PIECE = st.sampled_from(
    ["debian", "library/", "docker.io/", "localhost:5000/", "[::1]:80/", "A", "a.b/", "..", "/",
     ":", ":1", "@", "@sha256:", "a" * 64, "0" * 64, "-", "_", "__", "___", " ", "%2F", "\n", "\0",
     "é", "xn--", ":99999999", "//", "\u0130", "\ud800"]
)  # fmt: skip


@MANY
@given(st.one_of(st.text(), st.lists(PIECE, max_size=8).map("".join)))
def test_whatever_a_name_is_it_is_read_or_refused(text: str) -> None:
    read_name(text)


def read_name(text: str) -> None:
    """What is said of a name holds, if it is one."""
    try:
        reference = ImageReference.parse(text)
    except InvalidReference as error:
        assert error.message
        return
    assert ImageReference.parse(str(reference)) == reference
    assert ImageReference.parse(reference.familiar) == reference
    kept = file_name(key_of(reference))
    assert kept not in (".", "..") and not set("/\0\n") & set(kept) and kept.isascii()
    assert reference.repository == reference.repository.lower()


@MANY
@given(
    st.one_of(
        st.text(),
        st.text("0123456789abcdefABCDEF/.:g\n", min_size=60, max_size=70).map("sha256:".__add__),
        st.from_regex(r"sha256:[0-9a-f]{64}\n?"),
        st.none() | st.integers() | st.lists(st.text()),
    )
)
def test_a_digest_is_64_digits_or_no_digest(text: object) -> None:
    try:
        digest = Digest.parse(text)
    except ContentMismatch:
        return
    assert str(digest) == text and len(digest.hex) == 64
    assert set(digest.hex) <= set("0123456789abcdef")


# Documents: any JSON at all, and documents in which something is.

SCALAR = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.sampled_from([*DOCUMENT_TYPES, OCI_CONFIG, "sha256:" + "a" * 64, "linux", -1, 2**70]),
)  # fmt: skip
KEY = st.sampled_from(
    ["layers", "manifests", "config", "mediaType", "digest", "size", "platform", "os", "variant",
     "architecture", "annotations", "schemaVersion", "rootfs", "diff_ids", "fsLayers", "Env",
     "User", "Cmd", "Entrypoint", "WorkingDir", "imageLayoutVersion", "", "urls"]
)  # fmt: skip
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEY, inner, max_size=6),
    max_leaves=20,
)
DESCRIPTOR = {"mediaType": OCI_CONFIG, "digest": "sha256:" + "a" * 64, "size": 7}
WHOLE: tuple[dict[str, Any], ...] = (
    {"schemaVersion": 2, "config": DESCRIPTOR, "layers": [DESCRIPTOR, DESCRIPTOR]},
    {
        "schemaVersion": 2,
        "manifests": [
            {**DESCRIPTOR, "platform": {"os": "linux", "architecture": "amd64"}},
            {**DESCRIPTOR, "annotations": {"a": "b"}},
        ],
    },
    {"rootfs": {"type": "layers", "diff_ids": ["sha256:" + "b" * 64]}, "config": {"Env": ["A=1"]}},
)
WHOLE_BYTES = tuple(json.dumps(whole).encode() for whole in WHOLE)


@st.composite
def spoilt(draw: st.DrawFn) -> Any:
    """A whole document in which a place or two hold anything."""
    document = json.loads(json.dumps(draw(st.sampled_from(WHOLE))))
    for _ in range(draw(st.integers(1, 2))):
        place, key = document, draw(st.sampled_from(list(document)))
        while isinstance(place[key], (dict, list)) and place[key] and draw(st.booleans()):
            place = place[key]
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = draw(st.sampled_from(keys))
        place[key] = draw(ANYTHING)
    return document


def read_all(raw: bytes) -> None:
    """Everything that reads a document of an image; only ImageError may come of it."""
    for reader in (
        lambda: parse_document(raw, "the image"),
        lambda: list(diff_ids_of(raw, "the image")),
        lambda: Descriptor.parse(load_json(raw, "the image"), "the image"),
        lambda: resolve(raw, lambda _: raw, Platform("linux", "amd64"), "the image"),
        lambda: ImageConfig.from_json(_config(raw)),
    ):
        try:
            reader()
        except ImageError as error:
            assert error.message and error.hint


def _config(raw: bytes) -> dict[str, Any]:
    document = load_json(raw, "the image")
    return document if isinstance(document, dict) else {}


@MANY
@given(st.one_of(ANYTHING, spoilt()))
def test_whatever_a_document_says_it_is_read_or_refused(document: Any) -> None:
    read_all(json.dumps(document).encode())


@MANY
@given(
    st.sampled_from(WHOLE_BYTES),
    st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3)), max_size=3),
    st.integers(0, 400),
)
def test_whatever_the_bytes_of_a_document_they_are_read_or_refused(
    raw: bytes, changes: list[tuple[int, bytes]], cut: int
) -> None:
    for position, piece in changes:
        raw = raw[:position] + piece + raw[position + 1 :]
    read_all(raw[: cut + 100])


DEEP = (50, 99, 100, 101, 300, 330, 490, 700, 985, 995, 5000, 100_000)


@pytest.mark.parametrize("depth", DEEP)
@pytest.mark.parametrize("opening", ["[", '{"layers":', '[{"config":'])
def test_no_document_is_too_deep_for_an_answer(depth: int, opening: str) -> None:
    """Python's limit would be met here in one function and there in another."""
    closing = "".join("]" if c == "[" else "}" for c in reversed(opening) if c in "[{")
    deep = f"{opening * depth}1{closing * depth}"
    read_all(deep.encode())
    for whole in WHOLE:
        for key in whole:
            text = json.dumps({**whole, key: "HERE"}).replace('"HERE"', deep)
            read_all(text.encode())


@pytest.mark.parametrize("depth", [20, 95, 300])
def test_an_image_whose_labels_are_deep_is_shown_or_refused(
    command: Command, tmp_path: Path, depth: int
) -> None:
    layout = Writer()
    config = {"rootfs": {"type": "layers", "diff_ids": []}, "config": {"Labels": "HERE"}}
    deep = json.dumps(config).replace('"HERE"', "[" * depth + "]" * depth).encode()
    manifest = layout.manifest([])
    manifest["config"] = layout.add(deep, CONFIG)
    layout.entry(manifest)
    place = layout.directory(tmp_path / "image")
    if depth > 100:
        assert "nested too deeply" in command.refuses(place)
        return
    assert command.load(place).returncode == 0
    shown = command("inspect", NAME)
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert json.loads(shown.stdout)[0]["Config"]["Labels"] is not None
    assert command("inspect", "-f", "{{json .Config}}", NAME).returncode == 0


@examples(60)
@given(st.dictionaries(st.sampled_from(["oci-layout", "index.json"]), ANYTHING))
def test_whatever_a_layout_holds_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, Any]
) -> None:
    place = tmp_path_factory.mktemp("layout")
    for name, content in {"oci-layout": {"imageLayoutVersion": "1.0.0"}, **files}.items():
        (place / name).write_text(json.dumps(content))
    layout = Layout.directory(str(place))
    try:
        for entry in layout.entries():
            layout.resolve(entry, Platform("linux", "amd64"), "the image")
    except ImageError as error:
        assert error.message
