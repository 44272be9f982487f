"""Which image a registry gives, and which it must not."""

from __future__ import annotations

import json

import pytest

from cwl_userspace import __version__
from cwl_userspace.errors import (
    ContentMismatch,
    ImageError,
    ImageNotFound,
    RegistryError,
)
from cwl_userspace.oci import DOCUMENT_LIMIT, DOCUMENT_TYPES, Platform
from tests.fake_registry import INDEX, OCI, FakeRegistry, descriptor, sha256
from tests.pulling import Client

pytestmark = pytest.mark.once


@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
def test_layers_arrive_byte_for_byte_whatever_their_compression(
    fake: FakeRegistry, compression: str
) -> None:
    added = fake.add("tool", "1", [b"one" * 99_999, b"two"], compression=compression)
    image = Client(fake).image()
    assert Client(fake).pull() == list(added.blobs)
    assert [str(layer.diff_id) for layer in image.layers] == list(added.diff_ids)
    assert [str(layer.blob.digest) for layer in image.layers] == list(added.layers)
    assert sha256(image.config) == added.config
    assert str(image.manifest_digest) == added.manifest


def test_docker_manifests_are_taken_like_oci_ones(fake: FakeRegistry) -> None:
    added = fake.add("tool", "1", docker=True)
    assert Client(fake).pull() == list(added.blobs)


def test_every_kind_of_manifest_is_asked_for_and_no_compression(fake: FakeRegistry) -> None:
    fake.add("tool", "1")
    Client(fake).pull()
    asked = fake.asked("/manifests/")[0].headers["accept"].split(", ")
    assert sorted(asked) == sorted(DOCUMENT_TYPES)
    assert {request.headers["accept-encoding"] for request in fake.requests} == {"identity"}
    agents = {request.headers["user-agent"] for request in fake.requests}
    assert agents == {f"cwl-userspace/{__version__}"}


def test_an_image_costs_one_request_for_each_document_and_layer(fake: FakeRegistry) -> None:
    fake.add("tool", "1", [b"one", b"two"])
    Client(fake).pull()
    assert len(fake.requests) == 4


def test_a_repository_may_have_several_parts(fake: FakeRegistry) -> None:
    added = fake.add("group/team/tool", "v1")
    assert Client(fake).pull("group/team/tool:v1") == list(added.blobs)


def test_a_wrong_content_type_does_not_matter(fake: FakeRegistry) -> None:
    added = fake.add("tool", "1")
    fake.faults.content_type = "text/html"
    assert Client(fake).pull() == list(added.blobs)


def test_a_content_encoding_that_is_not_true_does_not_change_the_bytes(fake: FakeRegistry) -> None:
    added = fake.add("tool", "1")
    fake.faults.encoding_label = "gzip"
    assert Client(fake).pull() == list(added.blobs)


def test_a_digest_is_asked_for_in_place_of_the_tag(fake: FakeRegistry) -> None:
    old = fake.add("tool", "1", [b"old"])
    fake.add("tool", "1", [b"new"])
    assert Client(fake).pull(f"tool:1@{old.manifest}") == list(old.blobs)


def test_other_bytes_than_the_digest_says_are_refused_whatever_the_header_says(
    fake: FakeRegistry,
) -> None:
    asked, forged = fake.add("tool", "1", [b"asked"]), fake.add("tool", "2", [b"forged"])
    fake.manifests["tool", asked.manifest] = fake.manifests["tool", forged.manifest]
    with pytest.raises(ContentMismatch, match=forged.manifest):
        Client(fake).image(f"tool@{asked.manifest}")


def test_an_index_gives_the_image_of_the_platform(fake: FakeRegistry) -> None:
    intel = fake.add("tool", "x", [b"intel"])
    arm = fake.add("tool", "y", [b"arm"], config={"architecture": "arm64"})
    fake.index("tool", "1", {"linux/amd64": intel.manifest, "linux/arm64/v8": arm.manifest})
    client = Client(fake)
    assert client.layers(client.image()) == list(intel.blobs)
    assert client.layers(client.image(platform=Platform("linux", "arm64"))) == list(arm.blobs)


def test_an_index_can_be_asked_for_by_its_digest(fake: FakeRegistry) -> None:
    intel = fake.add("tool", "x", [b"intel"])
    index = fake.index("tool", "1", {"linux/amd64": intel.manifest})
    assert Client(fake).pull(f"tool@{index}") == list(intel.blobs)


def test_an_index_without_the_platform_lists_what_it_has(fake: FakeRegistry) -> None:
    added = fake.add("tool", "x")
    fake.index("tool", "1", {"linux/s390x": added.manifest, "windows/amd64": added.manifest})
    with pytest.raises(ImageError, match=r"linux/s390x, windows/amd64") as caught:
        Client(fake).image()
    assert "unknown" not in str(caught.value)


def test_a_manifest_that_an_index_lies_about_is_refused(fake: FakeRegistry) -> None:
    one, two = fake.add("tool", "x", [b"one"]), fake.add("tool", "y", [b"two"])
    fake.index("tool", "1", {"linux/amd64": one.manifest})
    fake.manifests["tool", one.manifest] = fake.manifests["tool", two.manifest]
    with pytest.raises(ContentMismatch, match=two.manifest):
        Client(fake).image()


def test_an_unknown_tag_is_an_image_not_found_that_names_both(fake: FakeRegistry) -> None:
    fake.add("tool", "1")
    with pytest.raises(ImageNotFound, match=r"127\.0\.0\.1:\d+ does not have .*tool:2"):
        Client(fake).image("tool:2")


def test_a_missing_configuration_is_named(fake: FakeRegistry) -> None:
    added = fake.add("tool", "1")
    fake.faults.missing = {added.config}
    with pytest.raises(ImageNotFound, match=added.config):
        Client(fake).image()


def test_a_missing_layer_is_named(fake: FakeRegistry) -> None:
    added = fake.add("tool", "1", [b"one", b"two"])
    fake.faults.missing = {added.layers[1]}
    with pytest.raises(ImageNotFound, match=f"{added.layers[1]} of tool"):
        Client(fake).pull()


def test_other_bytes_for_the_configuration_are_refused(fake: FakeRegistry) -> None:
    fake.add("tool", "1")
    fake.faults.corrupt = True
    with pytest.raises(ContentMismatch, match="digest"):
        Client(fake).image()


def test_other_bytes_of_a_layer_come_through_for_the_store_to_refuse(fake: FakeRegistry) -> None:
    added = fake.add("tool", "1")
    client = Client(fake)
    image = client.image()
    fake.faults.corrupt = True
    assert sha256(client.layers(image)[0]) != added.layers[0]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"schemaVersion": 1, "fsLayers": []}, "schema 1"),
        ({"schemaVersion": 2, "layers": [], "manifests": []}, "both"),
        (b"<html>Log in to the network</html>", "not JSON"),
        (b"null", "None"),
        (b"[]", "expected a JSON object"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_manifest_is_refused_by_kind(
    fake: FakeRegistry, document: object, says: str
) -> None:
    fake.manifest("tool", "1", document)
    with pytest.raises(ImageError, match=says):
        Client(fake).image()


def test_an_artifact_that_is_no_image_is_refused_by_type(fake: FakeRegistry) -> None:
    chart = descriptor("application/vnd.cncf.helm.config.v1+json", b"{}")
    fake.manifest("tool", "1", {"schemaVersion": 2, "config": chart, "layers": []})
    with pytest.raises(ImageError, match="helm"):
        Client(fake).image()


def test_a_manifest_without_end_is_not_read_to_its_end(fake: FakeRegistry) -> None:
    fake.add("tool", "1")
    fake.faults.endless = 100
    with pytest.raises(ImageError, match=f"at most {DOCUMENT_LIMIT}"):
        Client(fake).image()
    assert fake.faults.endless > 50


def test_a_configuration_that_is_said_to_be_huge_is_not_asked_for(fake: FakeRegistry) -> None:
    config = descriptor(f"{OCI}.config.v1+json", b"{}") | {"size": DOCUMENT_LIMIT + 1}
    fake.manifest("tool", "1", {"schemaVersion": 2, "config": config, "layers": []})
    with pytest.raises(ImageError, match=f"at most {DOCUMENT_LIMIT}"):
        Client(fake).image()
    assert fake.asked("/blobs/") == []


def test_indexes_that_lead_to_each_other_without_end_are_refused(fake: FakeRegistry) -> None:
    digest = fake.add("tool", "x").manifest
    for level in range(8):
        digest = fake.index("tool", f"level{level}", {"linux/amd64": digest}, attested=False)
    with pytest.raises(ImageError, match="nested too deeply"):
        Client(fake).image("tool:level7")
    assert len(fake.requests) < 8


def test_an_index_entry_without_a_type_is_a_manifest(fake: FakeRegistry) -> None:
    added = fake.add("tool", "x")
    raw = fake.manifests["tool", "x"][1]
    entry = descriptor("", raw, platform={"os": "linux", "architecture": "amd64"})
    fake.manifest("tool", "1", {"schemaVersion": 2, "manifests": [entry]}, INDEX)
    assert Client(fake).pull() == list(added.blobs)


def test_a_digest_that_is_a_path_is_refused_before_it_is_asked_for(fake: FakeRegistry) -> None:
    entry = descriptor(f"{OCI}.config.v1+json", b"{}") | {"digest": "sha256:../../../token"}
    fake.manifest("tool", "1", {"schemaVersion": 2, "config": entry, "layers": []})
    with pytest.raises(ContentMismatch):
        Client(fake).image()
    assert len(fake.requests) == 1


def test_a_registry_that_nobody_serves_is_one_sentence_at_once(fake: FakeRegistry) -> None:
    with FakeRegistry() as gone:
        client = Client(gone)
    with pytest.raises(RegistryError, match="cannot be reached: Connection refused") as caught:
        client.image()
    assert "0x" not in str(caught.value)
    assert client.pauses == []


def test_words_of_the_registry_reach_the_message_without_control_characters(
    fake: FakeRegistry,
) -> None:
    fake.faults.fail, fake.faults.status = 1, 418
    fake.faults.message = "I am\x1b[2J a teapot\n"
    with pytest.raises(RegistryError, match=r"418 .*: I am \[2J a teapot;") as caught:
        Client(fake).image()
    assert "\x1b" not in str(caught.value)


def test_a_layer_is_of_the_image_that_was_given_last(fake: FakeRegistry) -> None:
    fake.add("first", "1", [b"shared"])
    fake.add("second", "1", [b"shared"])
    client = Client(fake)
    client.image("first:1")
    client.pull("second:1")
    assert fake.requests[-1].path.startswith("/v2/second/blobs/")


def test_what_comes_is_what_the_manifest_says(fake: FakeRegistry) -> None:
    added = fake.add("tool", "1", config={"config": {"Env": ["A=b"]}})
    image = Client(fake).image()
    assert json.loads(image.config)["config"] == {"Env": ["A=b"]}
    assert image.layers[0].blob.size == len(added.blobs[0])
    assert sha256(image.config) == added.config
