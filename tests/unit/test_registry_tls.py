"""When TLS is spoken, whom it trusts, and that nothing talks it down."""

from __future__ import annotations

import base64
import contextlib
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cwl_userspace.errors import ImageNotFound, RegistryError, SettingsError
from cwl_userspace.image.neterrors import NotTls
from cwl_userspace.image.proxies import proxy_for
from cwl_userspace.image.registry import Registry
from cwl_userspace.image.transport import Request, Transport
from cwl_userspace.oci import Image
from cwl_userspace.reference import ImageReference
from tests.certificates import Authority
from tests.fake_registry import FakeRegistry, sha256
from tests.pulling import AMD64, Client

pytestmark = pytest.mark.once

CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The host's own certificates, proxies and home play no part."""
    for name in CA_VARIABLES + PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def secure(certificates: Authority) -> Iterator[FakeRegistry]:
    with FakeRegistry(certificates.good) as registry:
        yield registry


def pull(fake: FakeRegistry, **options: object) -> list[bytes]:
    return Client(fake, **options).pull()


def test_no_certificates_are_read_for_a_registry_that_speaks_plain_http_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "damaged.pem").write_text("no certificate")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "damaged.pem"))
    with FakeRegistry() as plain:
        added = plain.add("tool", "1")
        assert pull(plain) == list(added.blobs)


@pytest.mark.parametrize("variable", CA_VARIABLES)
def test_a_private_authority_is_trusted_when_the_environment_names_it(
    secure: FakeRegistry,
    certificates: Authority,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    added = secure.add("tool", "1")
    monkeypatch.setenv(variable, certificates.ca)
    assert pull(secure) == list(added.blobs)


def test_a_private_authority_is_trusted_for_the_host_that_certs_d_names(
    secure: FakeRegistry, certificates: Authority, tmp_path: Path
) -> None:
    added = secure.add("tool", "1")
    directory = tmp_path / ".config/containers/certs.d" / secure.authority
    directory.mkdir(parents=True)
    shutil.copy(certificates.wrong_host[0], directory / "another.crt")
    shutil.copy(certificates.ca, directory / "site.crt")
    assert pull(secure) == list(added.blobs)


def test_an_unknown_authority_is_refused_and_named_and_plain_http_is_not_tried(
    secure: FakeRegistry,
) -> None:
    secure.add("tool", "1")
    with pytest.raises(RegistryError, match=r"127\.0\.0\.1:\d+ is signed by an unknown authority"):
        pull(secure)
    assert secure.requests == []


def test_a_certificate_for_another_host_is_refused_as_that(
    certificates: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certificates.ca)
    with FakeRegistry(certificates.wrong_host) as wrong:
        wrong.add("tool", "1")
        with pytest.raises(RegistryError, match="is for another host name"):
            pull(wrong)
        assert wrong.requests == []


def test_insecure_takes_any_certificate_without_a_word_on_stderr(
    secure: FakeRegistry, recwarn: pytest.WarningsRecorder, capfd: pytest.CaptureFixture[str]
) -> None:
    added = secure.add("tool", "1")
    assert pull(secure, insecure=True) == list(added.blobs)
    assert capfd.readouterr().err == ""
    assert [str(warning.message) for warning in recwarn] == []


def test_a_bundle_that_does_not_exist_is_named_with_its_variable(
    secure: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such.pem")
    with pytest.raises(SettingsError, match=r"REQUESTS_CA_BUNDLE names /no/such\.pem"):
        pull(secure)


def test_a_bundle_that_is_damaged_does_not_end_in_plain_http(
    secure: FakeRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("not a certificate\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    with pytest.raises(RegistryError, match=r"TLS .* fails"):
        pull(secure)


def test_plain_http_is_spoken_to_a_loopback_host_that_speaks_no_tls(fake: FakeRegistry) -> None:
    added = fake.add("tool", "1")
    for host in (fake.authority, f"localhost:{fake.port}"):
        assert pull(fake, host=host) == list(added.blobs)


def test_a_plain_server_that_hangs_up_on_tls_is_asked_in_plain_http_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_hang_up_on_tls, args=(server,), daemon=True)
        thread.start()
        pauses: list[float] = []
        registry = Registry(f"127.0.0.1:{server.getsockname()[1]}", sleep=pauses.append)
        with pytest.raises(ImageNotFound):
            registry.image(ImageReference.parse("tool"), AMD64)
        assert pauses == []


def _hang_up_on_tls(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            with connection:
                if connection.recv(65536).startswith(b"GET "):
                    connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


def test_plain_http_is_found_out_once(fake: FakeRegistry) -> None:
    fake.add("tool", "1", [b"one", b"two"])
    client = Client(fake)
    client.pull()
    client.pull()
    # The server takes a TLS greeting for a request that it cannot read.
    assert fake.greetings == 1
    assert client.pauses == []


def test_a_registry_that_once_spoke_tls_is_never_asked_in_plain_http(
    certificates: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certificates.ca)
    with FakeRegistry(certificates.good) as secure:
        secure.add("tool", "1")
        client = Client(secure)
        client.pull()
    with FakeRegistry(port=secure.port) as plain:
        plain.add("tool", "1")
        with pytest.raises(NotTls, match="does not speak TLS"):
            client.pull()
        assert plain.requests == []


def test_an_endpoint_spelled_https_is_not_asked_in_plain_http(fake: FakeRegistry) -> None:
    fake.add("tool", "1")
    with pytest.raises(NotTls, match="insecure: true"):
        pull(fake, endpoint=f"https://{fake.authority}")
    assert fake.requests == []


def test_a_tag_may_not_be_redirected_away_from_tls_but_a_layer_may(
    secure: FakeRegistry,
    other: FakeRegistry,
    certificates: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certificates.ca)
    added = secure.add("tool", "1")
    other.blobs, secure.faults.redirect = secure.blobs, other.url
    assert pull(secure) == list(added.blobs)
    secure.faults.redirect_manifests = other.url
    with pytest.raises(RegistryError, match="away from TLS"):
        pull(secure)


def test_a_login_does_not_follow_a_redirect_to_plain_http_on_the_same_host(
    secure: FakeRegistry,
    other: FakeRegistry,
    certificates: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certificates.ca)
    secure.add("tool", "1")
    other.blobs = secure.blobs
    secure.faults.auth, secure.faults.redirect = "bearer", other.url
    pull(secure)
    assert [request.headers.get("authorization") for request in other.requests] == [None, None]


def through_proxy(proxy: FakeRegistry) -> Image:
    # The name is not resolved: that is the proxy's task.
    registry = Registry("registry.invalid", endpoint="http://registry.invalid")
    return registry.image(ImageReference.parse("registry.invalid/tool:1"), AMD64)


def test_a_proxy_of_the_environment_is_used_and_alone_gets_its_password(
    fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = fake.add("tool", "1")
    monkeypatch.setenv("http_proxy", f"http://me:word@{fake.authority}")
    assert sha256(through_proxy(fake).config) == added.config
    assert fake.requests[0].path == "http://registry.invalid/v2/tool/manifests/1"
    assert fake.requests[0].headers["proxy-authorization"].startswith("Basic ")
    monkeypatch.setenv("http_proxy", "http://me:word@proxy.invalid")
    fake.requests.clear()
    pull(fake)
    assert all("proxy-authorization" not in request.headers for request in fake.requests)


def test_no_proxy_is_honoured_and_loopback_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert proxy_for("https://outside.example/v2/") == ("proxy.example", 3128, "")
    assert proxy_for("https://noinside.example/v2/") is not None
    assert proxy_for("https://registry.inside.example/v2/") is None
    assert proxy_for("http://127.0.0.1:5000/v2/") is None


@pytest.mark.parametrize(
    ("exceptions", "url", "excepted"),
    [
        ("*", "https://any.example/", True),
        (".example, other", "https://a.example/", True),
        ("*.example", "https://a.example/", True),
        ("10.0.0.0/8", "https://10.1.2.3/v2", True),
        ("10.0.0.0/8", "https://11.1.2.3/v2", False),
        ("[fd00::1]", "https://[fd00::1]:5000/", True),
        ("a.example:5000", "https://a.example:5000/", True),
        ("a.example:5000", "https://a.example/", False),
    ],
)
def test_no_proxy_knows_domains_ports_and_networks(
    monkeypatch: pytest.MonkeyPatch, exceptions: str, url: str, excepted: bool
) -> None:
    monkeypatch.setenv("ALL_PROXY", "me:w%40rd@proxy.example:3128")
    monkeypatch.setenv("no_proxy", exceptions)
    found = proxy_for(url)
    login = "Basic " + base64.b64encode(b"me:w@rd").decode()
    assert found == (None if excepted else ("proxy.example", 3128, login))


@pytest.mark.parametrize("proxy", ["socks5://proxy.example:1080", "https://me:word@proxy.example"])
def test_a_proxy_of_another_kind_is_refused_without_its_password(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(SettingsError, match="is not a proxy that can be asked") as caught:
        proxy_for("https://registry.example/v2/")
    assert "word" not in str(caught.value)


def test_a_proxy_that_is_gone_is_named_as_the_cause_without_its_password(
    fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeRegistry() as gone:
        monkeypatch.setenv("http_proxy", f"http://me:word@{gone.authority}")
    with pytest.raises(RegistryError, match="through the proxy") as caught:
        through_proxy(fake)
    assert "word" not in str(caught.value)


def test_a_netrc_does_not_replace_a_login(
    fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    added = fake.add("tool", "1")
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password word\ndefault login me password word\n")
    monkeypatch.setenv("NETRC", str(netrc))
    fake.faults.auth = "bearer"
    assert pull(fake) == list(added.blobs)
    sent = {request.headers.get("authorization", "") for request in fake.requests}
    assert not any(value.startswith("Basic") for value in sent)


def test_a_redirect_that_names_a_user_is_refused(fake: FakeRegistry) -> None:
    fake.faults.redirect_manifests = f"http://me:word@{fake.authority}/?"
    transport = Transport("a registry", fake.url)
    with pytest.raises(RegistryError, match="not an http address"):
        transport.send(Request(f"{fake.url}/v2/tool/manifests/1", {}))
