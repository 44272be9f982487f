"""``login`` tries a login before it keeps it where Docker does; ``logout`` forgets it."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.containers import Box, Home, Ran, Tar, Word
from tests.fake_registry import FakeRegistry
from tests.terminals import Person

pytestmark = pytest.mark.once

USER, PASSWORD = "somebody", "pass:word with ümlaut"
HELPER = """#!/bin/sh
verb=$1
case $verb in
store) cat > "$HOME/kept" ;;
get) cat > /dev/null
     [ -e "$HOME/kept" ] && cat "$HOME/kept" || { echo credentials not found in native keychain; exit 1; } ;;
erase) cat > "$HOME/erased"; rm "$HOME/kept" ;;
esac
"""  # noqa: E501


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        registry.add("tool", "1", [Tar().file("content").bytes()])
        registry.faults.auth = "bearer"
        registry.faults.login = (USER, PASSWORD)
        yield registry


@pytest.fixture
def open_registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home")


def config(home: Home) -> Path:
    return home.place / "home" / ".docker" / "config.json"


def written(home: Home) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(config(home).read_text())
    return document


def write(home: Home, document: dict[str, Any]) -> None:
    config(home).parent.mkdir(exist_ok=True)
    config(home).write_text(json.dumps(document))


def login(home: Home, registry: str, password: str = PASSWORD, user: str = USER) -> Ran:
    told = f"{password}\n".encode()
    return home.call("login", "-u", user, "--password-stdin", registry, stdin=told)


def said_anywhere(home: Home, secret: str) -> list[str]:
    """The files of a home that have a secret in them, as it is or as Docker encodes it."""
    forms = (secret.encode(), base64.b64encode(f"{USER}:{secret}".encode()))
    files = [path for path in home.place.rglob("*") if path.is_file()]
    return [path.name for path in files if any(form in path.read_bytes() for form in forms)]


def with_helper(home: Home) -> dict[str, str]:
    """The environment in which the credential helper ``test`` is found."""
    place = home.place / "bin"
    place.mkdir()
    (place / "docker-credential-test").write_text(HELPER)
    (place / "docker-credential-test").chmod(0o755)
    return {"PATH": f"{place}:{os.environ['PATH']}"}


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
def test_a_login_that_the_registry_takes_is_kept_and_used(
    home: Home, registry: FakeRegistry, scheme: str
) -> None:
    registry.faults.auth = scheme
    name = f"{registry.authority}/tool:1"
    refused = home.call("pull", name).complaint
    assert f"cwl-userspace login {registry.authority}" in refused
    assert login(home, registry.authority).text == "Login Succeeded\n"
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert written(home) == {"auths": {registry.authority: {"auth": pair}}}
    assert stat.S_IMODE(config(home).stat().st_mode) == 0o600
    assert stat.S_IMODE(config(home).parent.stat().st_mode) == 0o700
    assert home.call("pull", name).code == 0
    assert said_anywhere(home, PASSWORD) == ["config.json"]


def test_a_login_that_the_registry_refuses_changes_nothing(
    home: Home, registry: FakeRegistry
) -> None:
    write(home, {"auths": {"other.example": {"auth": "b3RoZXI6b3RoZXI="}}})
    before = config(home).read_bytes()
    said = login(home, registry.authority, "a wrong one").complaint
    assert f"{registry.authority} refuses this login" in said and "a wrong one" not in said
    assert config(home).read_bytes() == before
    assert said_anywhere(home, "a wrong one") == []


def test_all_else_in_the_file_stays_and_a_link_to_it_too(
    home: Home, registry: FakeRegistry
) -> None:
    real = home.place / "elsewhere.json"
    other = {"other.example": {"auth": "b3RoZXI6b3RoZXI="}}
    others = {"HttpHeaders": {"X": "1"}, "auths": other}
    spelled = {f"http://{registry.authority}/v1/": {"auth": "b2xkOm9sZA=="}}
    real.write_text(json.dumps({**others, "auths": {**other, **spelled}}))
    config(home).parent.mkdir()
    config(home).symlink_to(real)
    assert login(home, registry.authority).code == 0
    assert config(home).is_symlink() and {*written(home)["auths"]} == {
        "other.example",
        registry.authority,
    }
    assert home.call("logout", registry.authority).text == (
        f"Removing login credentials for {registry.authority}\n"
    )
    assert written(home) == others
    assert home.call("logout", registry.authority).text.startswith("Not logged in")


def test_the_hub_is_kept_under_the_name_that_docker_uses(home: Home) -> None:
    old = {"https://index.docker.io/v1/": {"auth": "b2xkOm9sZA=="}, "docker.io": {"auth": "x"}}
    write(home, {"auths": {**old, "docker.io/me": {"auth": "bWU6bWU="}}})
    assert home.call("logout").text == "Removing login credentials for docker.io\n"
    assert written(home) == {"auths": {"docker.io/me": {"auth": "bWU6bWU="}}}


@pytest.mark.parametrize("key", ["credsStore", "credHelpers"])
def test_a_helper_keeps_the_login_where_the_file_names_one(
    home: Home, registry: FakeRegistry, key: str
) -> None:
    environment = with_helper(home)
    named = "test" if key == "credsStore" else {registry.authority: "test"}
    write(home, {key: named})
    words = ("login", "-u", USER, "--password-stdin", registry.authority)
    ran = home.call(*words, stdin=PASSWORD.encode(), environment=environment)
    assert ran.text == "Login Succeeded\n"
    assert written(home) == {key: named, "auths": {registry.authority: {}}}
    kept = json.loads((home.place / "home" / "kept").read_text())
    assert kept == {"ServerURL": registry.authority, "Username": USER, "Secret": PASSWORD}
    name = f"{registry.authority}/tool:1"
    assert home.call("pull", name, environment=environment).code == 0
    assert home.call("logout", registry.authority, environment=environment).code == 0
    assert (home.place / "home" / "erased").read_text() == registry.authority
    assert written(home) == {key: named, "auths": {}}


def test_a_helper_that_is_not_installed_keeps_nothing_and_neither_does_the_file(
    home: Home, registry: FakeRegistry
) -> None:
    write(home, {"credsStore": "no-such"})
    assert "docker-credential-no-such is not installed" in login(home, registry.authority).complaint
    assert written(home) == {"credsStore": "no-such"}


def test_a_login_that_is_kept_can_be_tried_again(home: Home, registry: FakeRegistry) -> None:
    assert login(home, registry.authority).code == 0
    assert home.call("login", registry.authority).text == "Login Succeeded\n"
    registry.faults.login = (USER, "another by now")
    assert "refuses this login" in home.call("login", registry.authority).complaint


@pytest.mark.parametrize(
    "words, says",
    [
        ((), "--password-stdin"),
        (("-u", USER), "--password-stdin"),
        (("--password-stdin",), "-u"),
        (("-u", USER, "-p", "x", "--password-stdin"), "exclude each other"),
        (("-u", USER, "--password-stdin"), "password is empty"),
        (("-u", "a:b", "-p", "x"), "no colon"),
        (("-u", USER, "-p", "x", "registry.example/some/image"), "registry.example"),
    ],
)
def test_in_a_pipe_nothing_is_asked_for_and_one_line_says_what_is_missing(
    home: Home, words: tuple[Word, ...], says: str
) -> None:
    named = () if "registry.example/some/image" in words else ("127.0.0.1:9",)
    assert says in home.call("login", *words, *named).complaint
    assert not config(home).exists()


def test_at_a_terminal_both_are_asked_for_and_the_password_is_not_shown(
    home: Home, registry: FakeRegistry
) -> None:
    class Plain(Box):
        def words(self, *words: Word) -> tuple[Word, ...]:
            return words

    person = Person(Plain(home, ""), "login", registry.authority)
    assert person.sees("Username")
    person.type(f"{USER}\n")
    assert person.sees("Password: ")
    person.type(f"{PASSWORD}\n")
    assert person.sees("Login Succeeded")
    assert person.process.wait(30) == 0
    assert PASSWORD.encode() not in person.shown
    assert said_anywhere(home, PASSWORD) == ["config.json"]


def test_a_registry_that_asks_nobody_is_told_the_login_all_the_same(
    home: Home, open_registry: FakeRegistry
) -> None:
    assert login(home, open_registry.authority).text == "Login Succeeded\n"
    assert [request.headers.get("authorization", "")[:5] for request in open_registry.requests] == [
        "",
        "Basic",
    ]
    log = (home.place / "state" / "cwl-userspace" / "log").read_text()
    assert "asks nobody for a login" in log and PASSWORD not in log


def test_a_file_that_cannot_be_written_is_named_and_stays_as_it_was(
    home: Home, registry: FakeRegistry
) -> None:
    config(home).mkdir(parents=True)
    assert str(config(home)) in login(home, registry.authority).complaint
    assert [*config(home).iterdir()] == [] and len([*config(home).parent.iterdir()]) == 1


def test_the_environment_says_which_file(home: Home, registry: FakeRegistry) -> None:
    for variable, file in (("DOCKER_CONFIG", "config.json"), ("REGISTRY_AUTH_FILE", "")):
        place = home.place / variable
        words = ("login", "-u", USER, "--password-stdin", registry.authority)
        environment = {variable: str(place)}
        ran = home.call(*words, stdin=PASSWORD.encode(), environment=environment)
        assert ran.code == 0, ran
        assert registry.authority in (place / file if file else place).read_text()
    assert not config(home).exists()


def test_an_identity_token_is_kept_as_one(home: Home, registry: FakeRegistry) -> None:
    registry.faults.identity_token = "an identity"
    assert login(home, registry.authority, "an identity", "<token>").code == 0
    assert home.call("pull", f"{registry.authority}/tool:1").code == 0
