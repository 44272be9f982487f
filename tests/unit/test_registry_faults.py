"""What a registry does wrong, and how much of it a pull survives."""

from __future__ import annotations

import contextlib
import email.utils
import random
import socket
import threading
import time

import pytest

from cwl_userspace.errors import ContentMismatch, RegistryError
from cwl_userspace.image.neterrors import Interrupted
from cwl_userspace.image.registry import Registry
from cwl_userspace.reference import ImageReference
from tests.fake_registry import FOR_EVER, FakeRegistry, sha256
from tests.pulling import AMD64, Client

pytestmark = pytest.mark.once

# Does not compress, and is larger than what is read at once.
BIG = random.Random(7).randbytes(3 << 20)


def add_big(fake: FakeRegistry) -> list[bytes]:
    return list(fake.add("tool", "1", [BIG], compression="").blobs)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_faults_of_the_server_are_tried_again_after_growing_pauses(
    fake: FakeRegistry, status: int
) -> None:
    added = fake.add("tool", "1")
    fake.faults.fail, fake.faults.status = 3, status
    client = Client(fake)
    assert client.pull() == list(added.blobs)
    assert len(client.pauses) == 3
    assert 0 < client.pauses[0] <= 0.25
    assert 0.5 <= client.pauses[2] <= 1


def test_a_server_that_fails_for_ever_is_given_up(fake: FakeRegistry) -> None:
    fake.faults.fail = FOR_EVER
    client = Client(fake)
    with pytest.raises(RegistryError, match="503 Service Unavailable, 5 times"):
        client.image()
    assert len(fake.requests) == 5
    assert sum(client.pauses) < 10


def test_a_rate_limit_is_waited_for_as_long_as_the_registry_asks(fake: FakeRegistry) -> None:
    added = fake.add("tool", "1")
    fake.faults.fail, fake.faults.status, fake.faults.retry_after = 2, 429, "2"
    client = Client(fake)
    assert client.pull() == list(added.blobs)
    assert client.pauses == [2.0, 2.0]


def test_a_rate_limit_may_name_a_date(fake: FakeRegistry) -> None:
    fake.add("tool", "1")
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    fake.faults.fail, fake.faults.status, fake.faults.retry_after = 1, 429, date
    client = Client(fake)
    client.pull()
    assert 25 < client.pauses[0] <= 30


@pytest.mark.parametrize("retry_after", ["soon", "-5", "", "٣", "Fri, 99 Foo 2026"])
def test_a_rate_limit_without_sense_is_waited_for_with_growing_pauses(
    fake: FakeRegistry, retry_after: str
) -> None:
    fake.add("tool", "1")
    faults = fake.faults
    faults.fail, faults.status = 2, 429
    faults.retry_after = retry_after.encode().decode("latin-1")
    client = Client(fake)
    client.pull()
    assert 0.5 <= client.pauses[0] <= 1 <= client.pauses[1] <= 2


def test_a_rate_limit_for_ever_ends_in_words_about_it(fake: FakeRegistry) -> None:
    fake.faults.fail, fake.faults.status, fake.faults.retry_after = FOR_EVER, 429, "2"
    client = Client(fake)
    with pytest.raises(RegistryError, match=r"limits the rate of requests.*one at a time"):
        client.image()
    assert sum(client.pauses) < 20


def test_a_registry_that_wants_an_hour_of_patience_is_given_up_at_once(fake: FakeRegistry) -> None:
    fake.faults.fail, fake.faults.status, fake.faults.retry_after = FOR_EVER, 429, "3600"
    client = Client(fake)
    with pytest.raises(RegistryError, match="wait 3600 s"):
        client.image()
    assert client.pauses == []


def test_a_reset_connection_is_resumed_where_it_broke(fake: FakeRegistry) -> None:
    blobs = add_big(fake)
    client = Client(fake)
    image = client.image()
    fake.faults.reset_at, fake.faults.body_fail = len(BIG) // 2, 1
    assert client.layers(image) == blobs
    first, second = fake.asked("/blobs/")[-2:]
    assert "range" not in first.headers
    assert 0 < int(second.headers["range"].removeprefix("bytes=").removesuffix("-")) <= len(BIG) / 2


def test_a_server_without_ranges_is_read_again_from_its_first_byte(fake: FakeRegistry) -> None:
    blobs = add_big(fake)
    client = Client(fake)
    image = client.image()
    fake.faults.ranges = False
    fake.faults.reset_at, fake.faults.body_fail = len(BIG) // 2, 2
    assert client.layers(image) == blobs


def test_a_range_that_starts_elsewhere_is_not_believed(fake: FakeRegistry) -> None:
    blobs = add_big(fake)
    client = Client(fake)
    image = client.image()
    fake.faults.wrong_range = True
    fake.faults.end_at, fake.faults.body_fail = len(BIG) // 2, 1
    assert client.layers(image) == blobs


def test_progress_counts_so_that_many_breaks_do_not_end_a_large_layer(fake: FakeRegistry) -> None:
    blobs = list(fake.add("tool", "1", [BIG * 4], compression="").blobs)
    client = Client(fake)
    image = client.image()
    fake.faults.end_at = 5 << 18
    assert client.layers(image) == blobs
    assert len(fake.asked("/blobs/")) > 6


def test_connections_that_last_for_less_than_one_read_bring_a_layer_home(
    fake: FakeRegistry,
) -> None:
    blobs = list(fake.add("tool", "1", [BIG[:200_000]], compression="").blobs)
    client = Client(fake)
    image = client.image()
    fake.faults.reset_at = 100_000
    assert client.layers(image) == blobs


def test_a_connection_that_always_breaks_early_is_given_up(fake: FakeRegistry) -> None:
    add_big(fake)
    client = Client(fake)
    image = client.image()
    fake.faults.reset_at, fake.faults.ranges = 100_000, False
    with pytest.raises(Interrupted, match="broke off: Connection reset"):
        client.layers(image)
    assert len(fake.asked("/blobs/")) < 10


def test_a_blob_that_is_shorter_than_stated_is_a_mismatch_that_counts(fake: FakeRegistry) -> None:
    added = fake.add("tool", "1", [b"x" * 1000], compression="")
    client = Client(fake)
    image = client.image()
    fake.blobs[added.layers[0]] = b"x" * 900
    with pytest.raises(ContentMismatch, match="900 bytes, not the 1000 stated"):
        client.layers(image)
    assert len(fake.asked("/blobs/")) < 12


@pytest.mark.parametrize("framing", ["length", "chunked", "none"])
def test_a_blob_that_is_longer_than_stated_is_refused_before_the_excess(
    fake: FakeRegistry, framing: str
) -> None:
    added = fake.add("tool", "1")
    client = Client(fake)
    image = client.image()
    fake.faults.append, fake.faults.framing = b"x" * 9_000_000, framing
    got = bytearray()
    with pytest.raises(ContentMismatch, match=f"more than the {len(added.blobs[0])} bytes stated"):
        for piece in client.registry.layer(image.layers[0]):
            got += piece
    assert len(got) <= len(added.blobs[0])


@pytest.mark.parametrize("framing", ["chunked", "none"])
def test_bodies_need_no_stated_length(fake: FakeRegistry, framing: str) -> None:
    blobs = add_big(fake)
    fake.faults.framing = framing
    assert Client(fake).pull() == blobs


@pytest.mark.parametrize("framing", ["chunked", "none"])
def test_short_bodies_without_a_stated_length_are_resumed(fake: FakeRegistry, framing: str) -> None:
    blobs = add_big(fake)
    client = Client(fake)
    image = client.image()
    fake.faults.framing, fake.faults.end_at, fake.faults.body_fail = framing, 2 << 20, 1
    assert client.layers(image) == blobs


@pytest.mark.parametrize("delta", [1000, -1000])
def test_a_wrong_stated_length_does_not_hurt(fake: FakeRegistry, delta: int) -> None:
    blobs = list(fake.add("tool", "1", [b"x" * 3000], compression="").blobs)
    client = Client(fake)
    image = client.image()
    fake.faults.length_delta, fake.faults.body_fail = delta, 1
    assert client.layers(image) == blobs


def test_a_configuration_that_breaks_off_is_asked_for_again(fake: FakeRegistry) -> None:
    added = fake.add("tool", "1")
    fake.faults.end_at, fake.faults.body_fail = 10, 2
    assert Client(fake).pull() == list(added.blobs)


def test_a_configuration_with_too_great_a_stated_length_is_taken(fake: FakeRegistry) -> None:
    added = fake.add("tool", "1")
    fake.faults.length_delta = 10
    assert sha256(Client(fake).image().config) == added.config
    assert len(fake.asked(added.config)) == 1


def test_a_configuration_that_always_breaks_off_is_given_up(fake: FakeRegistry) -> None:
    fake.add("tool", "1")
    fake.faults.end_at = 10
    with pytest.raises(RegistryError, match="broke off"):
        Client(fake).image()


def test_a_silent_server_is_asked_again(fake: FakeRegistry) -> None:
    added = fake.add("tool", "1")
    client = Client(fake, timeouts=(5.0, 0.2))
    image = client.image()
    fake.faults.stall, fake.faults.body_fail = 0.6, 1
    assert client.layers(image) == list(added.blobs)


def test_leaving_a_layer_unread_closes_its_connection(fake: FakeRegistry) -> None:
    add_big(fake)
    client = Client(fake)
    image = client.image()
    for _ in range(3):
        pieces = client.registry.layer(image.layers[0])
        assert BIG.startswith(next(pieces))
        pieces.close()  # type: ignore[attr-defined]
    assert client.layers(image) == [BIG]


def test_a_server_that_speaks_no_http_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_greet_in_ssh, args=(server,), daemon=True)
        thread.start()
        registry = Registry(f"127.0.0.1:{server.getsockname()[1]}", sleep=lambda pause: None)
        with pytest.raises(RegistryError, match=r"127\.0\.0\.1:\d+ broke: SSH-2\.0 \[2J x;"):
            registry.image(ImageReference.parse("tool"), AMD64)


def _greet_in_ssh(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"SSH-2.0\x1b[2J x\r\n")
                connection.recv(65536)
