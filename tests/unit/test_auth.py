"""How a registry asks for a login, and what it gets."""

from __future__ import annotations

import socket
from http.client import HTTPResponse
from pathlib import Path

import pytest

from cwl_userspace.errors import AuthenticationError, RegistryError
from cwl_userspace.image.auth import Authenticator, Challenge, parse_challenges
from cwl_userspace.image.connections import Response
from cwl_userspace.image.credentials import Credentials
from cwl_userspace.image.transport import Transport
from tests.fake_registry import FOR_EVER, FakeRegistry, basic
from tests.logins import auths
from tests.pulling import Client

REALM = "https://a.example/token"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('BASIC realm="x"', [("basic", {"realm": "x"})]),
        (
            'Bearer realm="https://a.example/token",service="a",scope="repository:x:pull,push"',
            [("bearer", {"realm": REALM, "service": "a", "scope": "repository:x:pull,push"})],
        ),
        ('bEaReR  ReAlM = "a" ,  Service="b, c"', [("bearer", {"realm": "a", "service": "b, c"})]),
        (
            'Basic realm="a", Bearer realm="b"',
            [("basic", {"realm": "a"}), ("bearer", {"realm": "b"})],
        ),
        (
            "Negotiate YWJj==, Basic realm=a, Digest",
            [("negotiate", {}), ("basic", {"realm": "a"}), ("digest", {})],
        ),
        (r'Bearer realm="say \"x\", y\\"', [("bearer", {"realm": 'say "x", y\\'})]),
        ("Bearer realm=https://a.example/token,x=", [("bearer", {"realm": REALM, "x": ""})]),
        ('Bearer realm="a" service="b"', [("bearer", {"realm": "a", "service": "b"})]),
        ('Bearer realm="a",realm="b"', [("bearer", {"realm": "a"})]),
        (',, Bearer , realm="a",,', [("bearer", {"realm": "a"})]),
        ('Bearer realm="not closed', [("bearer", {"realm": "not closed"})]),
        ('="nonsense", Basic', [("nonsense", {}), ("basic", {})]),
    ],
)
def test_challenges_are_told_apart(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges(header) == [Challenge(*challenge) for challenge in expected]


def test_a_hostile_challenge_is_read_in_no_time() -> None:
    for header in ('"' * 60_000, "a" * 60_000, "a=" * 30_000, "a " * 30_000, 'a="\\' * 15_000):
        parse_challenges(header)


def test_no_login_is_sent_before_it_is_asked_for(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.add("tool", "1")
    login = auths(tmp_path, {fake.authority: {"auth": basic("me", "word")[6:]}})
    Client(fake, credentials=login).pull()
    assert all("authorization" not in request.headers for request in fake.requests)


def test_an_anonymous_token_is_fetched_once_for_a_repository(fake: FakeRegistry) -> None:
    added = fake.add("group/tool", "1", [b"one", b"two"])
    fake.faults.auth = "bearer"
    assert Client(fake).pull("group/tool:1") == list(added.blobs)
    (token,) = fake.asked("/token")
    assert token.path.endswith("?scope=repository%3Agroup%2Ftool%3Apull&service=fake%2C+Inc.")
    assert "authorization" not in token.headers
    assert len(fake.requests) == 6


def test_another_repository_gets_another_token(fake: FakeRegistry) -> None:
    fake.add("one", "1")
    fake.add("two", "1")
    fake.faults.auth = "bearer"
    client = Client(fake)
    client.pull("one:1")
    client.pull("two:1")
    assert len(fake.asked("/token")) == 2
    assert "two" in fake.requests[-1].headers["authorization"]


@pytest.mark.parametrize("key", ["token", "access_token"])
def test_a_token_may_have_two_names(fake: FakeRegistry, key: str) -> None:
    added = fake.add("tool", "1")
    fake.faults.auth, fake.faults.token_reply = "bearer", {key: "TOKEN", "expires_in": 60}
    assert Client(fake).pull() == list(added.blobs)


def test_a_token_server_may_be_elsewhere(fake: FakeRegistry, other: FakeRegistry) -> None:
    added = fake.add("tool", "1")
    fake.issuer, fake.faults.auth = other, "bearer"
    fake.faults.realm = f"{other.url}/token?from=fake"
    assert Client(fake).pull() == list(added.blobs)
    assert other.requests[0].path.startswith("/token?from=fake&scope=")


def test_a_password_goes_to_the_token_server_and_never_to_the_registry(
    fake: FakeRegistry, other: FakeRegistry, tmp_path: Path
) -> None:
    added = fake.add("tool", "1")
    fake.issuer, fake.faults.auth, fake.faults.realm = other, "bearer", f"{other.url}/token"
    other.faults.login = ("me", "w:örd")
    login = auths(tmp_path, {fake.authority: {"username": "me", "password": "w:örd"}})
    assert Client(fake, credentials=login).pull() == list(added.blobs)
    assert "account=me" in other.requests[0].path
    assert not any("Basic" in r.headers.get("authorization", "") for r in fake.requests)


def test_basic_is_answered_with_the_login(fake: FakeRegistry, tmp_path: Path) -> None:
    added = fake.add("tool", "1")
    fake.faults.auth, fake.faults.login = "basic", ("me", "word")
    login = auths(tmp_path, {fake.authority: {"auth": basic("me", "word")[6:]}})
    assert Client(fake, credentials=login).pull() == list(added.blobs)
    assert len(fake.requests) == 4


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
def test_a_wrong_password_is_an_error_that_names_registry_and_file(
    fake: FakeRegistry, tmp_path: Path, scheme: str
) -> None:
    fake.add("tool", "1")
    fake.faults.auth, fake.faults.login = scheme, ("me", "word")
    login = auths(tmp_path, {fake.authority: {"auth": basic("me", "s3cr3t")[6:]}})
    with pytest.raises(AuthenticationError) as caught:
        Client(fake, credentials=login).pull()
    assert str(caught.value).startswith(f"{fake.authority} refuses access to tool")
    assert str(tmp_path / "config.json") in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert len(fake.requests) == 2


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
def test_a_missing_login_is_an_error_that_says_where_it_was_looked_for(
    fake: FakeRegistry, tmp_path: Path, scheme: str
) -> None:
    fake.add("tool", "1")
    fake.faults.auth, fake.faults.login = scheme, ("me", "word")
    login = Credentials([str(tmp_path / "none.json")])
    with pytest.raises(AuthenticationError, match="without a login") as caught:
        Client(fake, credentials=login).pull()
    assert "cwl-userspace login" in caught.value.hint
    assert str(tmp_path / "none.json") in caught.value.hint


@pytest.mark.parametrize("scheme", ["deny", "Bearer", 'Bearer realm="",error="insufficient_scope"'])
def test_a_refusal_for_ever_ends_after_a_few_requests(fake: FakeRegistry, scheme: str) -> None:
    fake.add("tool", "1")
    fake.faults.auth = scheme
    client = Client(fake)
    with pytest.raises(AuthenticationError, match=fake.authority):
        client.pull()
    assert len(fake.requests) <= 5
    assert client.pauses == []


def test_tokens_that_never_satisfy_end_after_a_few_requests(fake: FakeRegistry) -> None:
    fake.add("tool", "1")
    fake.faults.auth, fake.faults.narrow_tokens = "bearer", FOR_EVER
    with pytest.raises(AuthenticationError, match="refuses access to tool"):
        Client(fake).pull()
    assert len(fake.requests) <= 5


def test_403_is_a_refusal_and_not_a_question(fake: FakeRegistry) -> None:
    fake.faults.fail, fake.faults.status = 1, 403
    with pytest.raises(AuthenticationError, match="one at a time please"):
        Client(fake).pull()
    assert len(fake.requests) == 1


def test_a_token_that_expires_is_renewed(fake: FakeRegistry) -> None:
    added = fake.add("tool", "1", [b"one", b"two", b"three"])
    fake.faults.auth, fake.faults.token_uses = "bearer", 2
    assert Client(fake).pull() == list(added.blobs)
    assert len(fake.asked("/token")) == 3


def test_a_token_that_is_too_narrow_is_replaced_once(fake: FakeRegistry) -> None:
    added = fake.add("tool", "1")
    fake.faults.auth, fake.faults.narrow_tokens = "bearer", 1
    assert Client(fake).pull() == list(added.blobs)
    assert len(fake.asked("/token")) == 2


def test_an_identity_token_is_traded_for_an_access_token(
    fake: FakeRegistry, tmp_path: Path
) -> None:
    added = fake.add("tool", "1")
    fake.faults.auth, fake.faults.identity_token = "bearer", "id&1"
    fake.faults.token_reply = {"access_token": "TOKEN"}
    login = auths(tmp_path, {fake.authority: {"identitytoken": "id&1"}})
    assert Client(fake, credentials=login).pull() == list(added.blobs)
    (trade,) = fake.asked("/token")
    assert (trade.method, trade.path) == ("POST", "/token")
    assert "grant_type=refresh_token&" in trade.body
    assert "scope=repository%3Atool%3Apull" in trade.body


def test_a_token_server_without_oauth_gets_the_identity_token_by_get(
    fake: FakeRegistry, tmp_path: Path
) -> None:
    added = fake.add("tool", "1")
    fake.faults.auth, fake.faults.oauth, fake.faults.login = "bearer", False, ("me", "id")
    login = auths(tmp_path, {fake.authority: {"username": "me", "identitytoken": "id"}})
    assert Client(fake, credentials=login).pull() == list(added.blobs)
    assert [request.method for request in fake.asked("/token")] == ["POST", "GET"]


def test_a_registry_token_is_sent_as_it_is(fake: FakeRegistry, tmp_path: Path) -> None:
    added = fake.add("tool", "1")
    fake.faults.auth, fake.tokens = "bearer", {"ready": FOR_EVER}
    login = auths(tmp_path, {fake.authority: {"registrytoken": "ready"}})
    assert Client(fake, credentials=login).pull() == list(added.blobs)
    assert fake.asked("/token") == []


@pytest.mark.parametrize(
    "reply", [{"token": ""}, {"token": 7}, {"tok": "x"}, {"token": "a\r\nX: y"}]
)
def test_a_token_server_that_gives_no_token_is_named(
    fake: FakeRegistry, reply: dict[str, object]
) -> None:
    fake.add("tool", "1")
    fake.faults.auth, fake.faults.token_reply = "bearer", reply
    with pytest.raises(AuthenticationError, match=r"server 127\.0\.0\.1 of .* gives no token"):
        Client(fake).pull()


def test_a_token_server_that_fails_for_ever_is_named(
    fake: FakeRegistry, other: FakeRegistry
) -> None:
    fake.add("tool", "1")
    fake.faults.auth, fake.faults.realm = "bearer", f"{other.url}/nowhere"
    with pytest.raises(RegistryError, match=r"token server 127\.0\.0\.1 of .* answers 404"):
        Client(fake).pull()


def test_of_several_ways_to_log_in_bearer_is_taken(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.add("tool", "1")
    fake.faults.auth = f'Negotiate, Basic realm="x", Bearer realm="{fake.url}/token"'
    login = auths(tmp_path, {fake.authority: {"auth": basic("me", "word")[6:]}})
    with pytest.raises(AuthenticationError):
        Client(fake, credentials=login).pull()
    assert len(fake.asked("/token?account=me&scope=repository%3Atool%3Apull")) >= 1


def test_a_way_to_log_in_that_is_unknown_is_named(fake: FakeRegistry) -> None:
    fake.faults.auth = "Negotiate"
    with pytest.raises(AuthenticationError, match="of the kind negotiate"):
        Client(fake).pull()


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("https://registry.example", "http://registry.example/token"),
        ("https://registry.example", "http://127.0.0.1/token"),
        ("https://registry.example", "https://127.0.0.1/token"),
        ("https://registry.example", "https://localhost/token"),
        ("https://registry.example", "https://169.254.169.254/token"),
        ("https://registry.example", "https://10.1.2.3/token"),
        ("https://registry.example", "https://0x7f.1/token"),
        ("https://registry.example", "https://[::1]/token"),
        ("https://registry.example", "https://me:word@auth.example/token"),
        ("https://registry.example", "file:///etc/passwd"),
        ("https://registry.example", "https://[::1/token"),
        ("https://10.0.0.1", "https://127.0.0.1/token"),
        ("http://127.0.0.1:5000", "http://auth.example/token"),
    ],
)
def test_a_login_is_not_sent_to_a_realm_that_has_no_right_to_it(
    tmp_path: Path, registry: str, realm: str
) -> None:
    host = registry.partition("://")[2]
    login = auths(tmp_path, {host: {"auth": basic("me", "word")[6:]}})
    authenticator = Authenticator(Transport(host, registry), host, login)
    said = f'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm="{realm}"\r\n\r\n'
    ours, theirs = socket.socketpair()
    theirs.sendall(said.encode())
    theirs.close()
    raw = HTTPResponse(ours)
    raw.begin()
    answer = Response(raw, f"{registry}/v2/tool/manifests/1", ours.close)
    with pytest.raises(AuthenticationError, match="no login was sent"):
        authenticator.answer("tool", answer, None)
