"""The whole command behind a proxy, beside a mirror that fails, at a registry that throttles."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import Authority, make_authority
from tests.containers import Home, shell_layer
from tests.fake_registry import FOR_EVER, FakeRegistry
from tests.proxy import proxy

pytestmark = pytest.mark.once

# The host that the private authority has signed a certificate for.
HOST = "a.example"
LOGIN = "me:word"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        registry.add("tool", "1", [shell_layer().bytes()])
        yield registry


@pytest.fixture
def secure(certificates: Authority) -> Iterator[FakeRegistry]:
    with FakeRegistry(certificates.wrong_host) as registry:
        registry.add("tool", "1", [shell_layer().bytes()])
        yield registry


def configure(home: Home, registries: dict[str, object]) -> None:
    config = home.place / "config" / "cwl-userspace"
    config.mkdir(exist_ok=True)
    (config / "config.yml").write_text(json.dumps({"registries": registries}))


def leftovers(home: Home) -> list[Path]:
    return [
        path for name in ("names", "trees", "tmp") for path in home.place.glob(f"store/{name}/*")
    ]


def test_a_registry_with_tls_is_reached_through_a_tunnel(
    home: Home, secure: FakeRegistry, certificates: Authority, tmp_path: Path
) -> None:
    secure.faults.auth = "basic"
    secure.faults.login = ("somebody", "secret")
    pair = base64.b64encode(b"somebody:secret").decode()
    (home.place / "home" / ".docker").mkdir()
    (home.place / "home" / ".docker" / "config.json").write_text(
        json.dumps({"auths": {HOST: {"auth": pair}}})
    )
    with proxy(tmp_path, {f"{HOST}:443": secure.authority}, LOGIN) as way:
        environment = {
            "HTTPS_PROXY": f"http://{LOGIN}@{way.authority}",
            "REQUESTS_CA_BUNDLE": certificates.ca,
        }
        ran = home.call("pull", f"{HOST}/tool:1", environment=environment)
        asked = way.asked()
    assert ran.text == f"{HOST}/tool:1\n"
    proxied = "Basic " + base64.b64encode(LOGIN.encode()).decode()
    # The proxy learns nothing but where to: each login goes to the one that it is for.
    assert {*asked} == {f"CONNECT {HOST}:443 {proxied} -"}
    assert all("proxy-authorization" not in request.headers for request in secure.requests)
    assert any("authorization" in request.headers for request in secure.requests)


def test_a_mirror_of_plain_http_is_reached_through_a_proxy_and_no_proxy_is_honoured(
    home: Home, registry: FakeRegistry, tmp_path: Path
) -> None:
    configure(home, {HOST: {"mirrors": ["http://mirror.example"]}})
    with proxy(tmp_path, {"mirror.example": registry.authority}) as way:
        environment = {"http_proxy": f"http://{way.authority}"}
        assert home.call("pull", f"{HOST}/tool:1", environment=environment).code == 0
        assert way.asked() and all(line.startswith("GET http://mirror") for line in way.asked())
        before = len(registry.requests)
        nobody = {**environment, "https_proxy": "", "no_proxy": f"mirror.example,{HOST}"}
        assert home.call("pull", f"{HOST}/tool:1", environment=nobody).code == 125
    assert len(registry.requests) == before


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_a_login_says_so_in_words(
    home: Home, registry: FakeRegistry, tmp_path: Path, scheme: str
) -> None:
    configure(home, {HOST: {"mirrors": [f"{scheme}://mirror.example"]}})
    with proxy(tmp_path, {}, LOGIN) as way:
        environment = {f"{scheme}_proxy": f"http://me:wrong@{way.authority}", "no_proxy": HOST}
        said = home.call("pull", f"{HOST}/tool:1", environment=environment).complaint
    assert "the proxy wants" in said and "user:password@" in said and "wrong" not in said


@pytest.mark.parametrize("fault", ["corrupt", "gone", "limited"])
def test_where_a_mirror_fails_in_whatever_way_the_next_place_has_the_image(
    home: Home, registry: FakeRegistry, fault: str
) -> None:
    with FakeRegistry() as mirror:
        added = mirror.add("tool", "1", [shell_layer().bytes()])
        if fault == "corrupt":
            mirror.faults.corrupt = True
        elif fault == "gone":
            mirror.faults.missing = {*added.layers}
        else:
            mirror.faults.fail, mirror.faults.status = FOR_EVER, 429
            mirror.faults.retry_after = "3600"
        configure(home, {registry.authority: {"mirrors": [mirror.url]}})
        name = f"{registry.authority}/tool:1"
        assert home.call("pull", name).text == f"{name}\n"
        assert mirror.requests and registry.requests


def test_a_rate_limit_is_told_in_words_with_what_to_do(home: Home, registry: FakeRegistry) -> None:
    registry.faults.fail, registry.faults.status = FOR_EVER, 429
    registry.faults.retry_after = "3600"
    registry.faults.limit = "100;w=21600"
    said = home.call("pull", f"{registry.authority}/tool:1").complaint
    for words in ("limits the rate of requests", "100 in 6 h", "wait 3600 s", "login", "mirror"):
        assert words in said
    assert len(registry.requests) == 1 and leftovers(home) == []


def test_a_name_that_cannot_be_found_for_the_moment_is_looked_up_again(tmp_path: Path) -> None:
    """The server of names, in namespaces of its own, recovers while the client pauses."""
    result = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "--net"]
        + [sys.executable, "-m", "tests.failing_names", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stdout) == (0, "1\n"), result.stderr
