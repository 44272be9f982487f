"""Where logins are found, and what becomes of files that are damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cwl_userspace.errors import SettingsError
from cwl_userspace.image.credentials import Credentials
from tests.fake_registry import basic
from tests.logins import auths

ENTRY = {"auth": basic("me", "w:ord")[6:]}


def entry(name: str) -> dict[str, str]:
    return {"auth": basic(name, "word")[6:]}


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("r.example", "r.example"),
        ("R.example", "r.example"),
        ("r.example:5000", "r.example:5000"),
        ("https://r.example", "r.example"),
        ("https://r.example/v1/", "r.example"),
        ("http://r.example:5000/v2/", "r.example:5000"),
        ("r.example/", "r.example"),
        ("r.example/v1/", "r.example"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("r.example/group", "r.example"),
        ("r.example/group/tool", "r.example"),
    ],
)
def test_a_login_is_found_under_each_spelling_of_its_registry(
    tmp_path: Path, key: str, registry: str
) -> None:
    found = auths(tmp_path, {key: ENTRY}).login(registry, "group/tool")
    assert found is not None
    assert (found.username, found.password) == ("me", "w:ord")


@pytest.mark.parametrize(
    "key",
    ["example", "other.example", "r.example:5000", "r.example/else", "r.example.org", "docker.io"],
)  # fmt: skip
def test_a_login_is_not_given_to_another_registry(tmp_path: Path, key: str) -> None:
    assert auths(tmp_path, {key: ENTRY}).login("r.example", "group/tool") is None


def test_the_most_exact_entry_wins(tmp_path: Path) -> None:
    keys = ["r.example", "r.example/a", "r.example/a/b", "https://r.example/v1/"]
    logins = auths(tmp_path, {key: entry(key[-3:]) for key in keys})
    for repository, user in [("a/b", "a/b"), ("a/b/c", "a/b"), ("a/x", "e/a"), ("x", "ple")]:
        found = logins.login("r.example", repository)
        assert found is not None
        assert found.username == user


def test_each_kind_of_login_is_read(tmp_path: Path) -> None:
    logins = auths(
        tmp_path,
        {
            "plain": {"username": "me", "password": "word"},
            "identity": {"identitytoken": "i"},
            "registry": {"registrytoken": "r"},
            "user": {"auth": basic("<token>", "i")[6:]},
            "padded": {"auth": basic("me", "word\0\0")[6:]},
            "empty": {},
        },
    )
    found = {name: logins.login(name, "x") for name in ("plain", "identity", "registry", "user")}
    assert {name: login and tuple(login[1:]) for name, login in found.items()} == {
        "plain": ("me", "word", "", ""),
        "identity": ("", "", "i", ""),
        "registry": ("", "", "", "r"),
        "user": ("", "", "i", ""),
    }
    padded = logins.login("padded", "x")
    assert padded is not None
    assert padded.password == "word"
    assert logins.login("empty", "x") is None


def test_a_login_does_not_show_its_secrets(tmp_path: Path) -> None:
    found = auths(tmp_path, {"r.example": ENTRY}).login("r.example", "x")
    assert "w:ord" not in repr(found)


def test_the_environment_says_which_file(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": "/run/me"}
    docker, podman = str(tmp_path / ".docker/config.json"), "/run/me/containers/auth.json"
    assert Credentials.from_environment(home).files == (docker, podman)
    chosen = home | {"DOCKER_CONFIG": "/etc/mine"}
    assert Credentials.from_environment(chosen).files == ("/etc/mine/config.json",)
    chosen |= {"REGISTRY_AUTH_FILE": "/etc/auth.json"}
    assert Credentials.from_environment(chosen).files == ("/etc/auth.json",)


def test_no_file_means_no_login(tmp_path: Path) -> None:
    files = [str(tmp_path / "none.json"), str(tmp_path / "none" / "none.json")]
    assert Credentials(files).login("r.example", "x") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        ("[" * 100_000, "not JSON: nested too deeply"),
        ("[]", "not a JSON object"),
        ('{"auths": []}', "auths in .* not a JSON object"),
        ('{"auths": {"r.example": 7}}', "entry for r.example"),
        ('{"auths": {"r.example": {"auth": 7}}}', "auth of r.example .* not text"),
        ('{"auths": {"r.example": {"auth": "c2VjcmV0"}}}', "not the base64 form"),
        ('{"auths": {"r.example": {"auth": "%%%"}}}', "not the base64 form"),
        ('{"credHelpers": {"r.example": "../../bin/sh"}}', "cannot be a credential helper"),
        ('{"credHelpers": {"r.example": "no-such"}}', "docker-credential-no-such is not installed"),
    ],
)
def test_a_damaged_file_is_one_sentence_that_names_it(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match=says) as caught:
        Credentials([str(path)]).login("r.example", "x")
    assert "helper" in says or "credential" in says or str(path) in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


def test_a_directory_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(SettingsError, match=r"config\.json cannot be read: Is a directory"):
        Credentials([str(tmp_path / "config.json")]).login("r.example", "x")


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A credential helper that notes what it is asked, and answers with a file."""
    program = tmp_path / "docker-credential-keys"
    program.write_text(
        f'#!/bin/sh\ncd {tmp_path}\n{{ echo "$@"; cat; }} > asked\ncat answer\nexit $(cat code)\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path


def answer(helper: Path, text: str, code: int = 0) -> None:
    (helper / "answer").write_text(text)
    (helper / "code").write_text(str(code))


def test_a_helper_of_the_registry_comes_before_the_file(helper: Path) -> None:
    answer(helper, json.dumps({"ServerURL": "x", "Username": "me", "Secret": "word"}))
    logins = auths(helper, {"r.example": entry("file")}, credHelpers={"r.example": "keys"})
    found = logins.login("r.example", "x")
    assert found is not None
    assert (found.username, found.password) == ("me", "word")
    assert (helper / "asked").read_text() == "get\nr.example"


def test_the_store_for_all_is_asked_for_the_hub_by_its_old_address(helper: Path) -> None:
    answer(helper, json.dumps({"Username": "<token>", "Secret": "identity"}))
    found = auths(helper, {}, credsStore="keys").login("docker.io", "library/debian")
    assert found is not None
    assert (found.username, found.identity_token) == ("", "identity")
    assert (helper / "asked").read_text() == "get\nhttps://index.docker.io/v1/"


def test_a_store_without_the_login_leaves_it_to_the_file(helper: Path) -> None:
    answer(helper, "credentials not found in native keychain\n", 1)
    found = auths(helper, {"r.example": entry("file")}, credsStore="keys").login("r.example", "x")
    assert found is not None
    assert found.username == "file"


def test_a_store_that_is_not_installed_leaves_it_to_the_file(tmp_path: Path) -> None:
    found = auths(tmp_path, {"r.example": entry("file")}, credsStore="desktop-of-another-host")
    login = found.login("r.example", "x")
    assert login is not None
    assert login.username == "file"


def test_a_store_that_fails_leaves_it_to_the_file_and_says_why(helper: Path) -> None:
    answer(helper, "the key ring is locked", 1)
    found = auths(helper, {"r.example": entry("file")}, credsStore="keys")
    login = found.login("r.example", "x")
    assert login is not None
    assert login.username == "file"
    assert found.login("public.example", "x") is None
    assert found.trouble == (
        "docker-credential-keys failed for public.example: 'the key ring is locked'"
    )


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("the key ring is locked", 1, "failed for r.example: 'the key ring is locked'"),
        ("not JSON: s3cr3t", 0, "gives no login"),
        ('{"Username": "me", "Secret": ["s3cr3t"]}', 0, "gives no login"),
    ],
)
def test_a_helper_that_fails_is_named_without_the_secret(
    helper: Path, text: str, code: int, says: str
) -> None:
    answer(helper, text, code)
    with pytest.raises(SettingsError, match=f"docker-credential-keys {says}") as caught:
        auths(helper, {}, credHelpers={"r.example": "keys"}).login("r.example", "x")
    assert "s3cr3t" not in str(caught.value)
