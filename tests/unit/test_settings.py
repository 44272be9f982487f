"""Settings come from the environment and one YAML file; a mistake is told with its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cwl_userspace.errors import SettingsError
from cwl_userspace.settings import Settings, load

EXAMPLE = """
engine: proot
store: ~/images
on_unmet: warn
registries:
  docker.io:
    mirrors: ["http://127.0.0.1:5000", "oci:/shared/images"]
  registry.example.org: {insecure: true}
"""


def read(place: Path, text: str | None, **environment: str) -> Settings:
    variables = {
        "HOME": str(place),
        "XDG_CACHE_HOME": str(place / "cache"),
        "XDG_CONFIG_HOME": str(place / "config"),
        "XDG_STATE_HOME": str(place / "state"),
        **environment,
    }
    if text is not None:
        (place / "config" / "cwl-userspace").mkdir(parents=True, exist_ok=True)
        (place / "config" / "cwl-userspace" / "config.yml").write_text(text)
    return load(variables)


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    settings = read(tmp_path, None)
    assert (settings.engine, settings.on_unmet, settings.proot) == ("auto", "", "")
    assert settings.store == str(tmp_path / "cache" / "cwl-userspace")
    assert settings.registries == {}


def test_the_file_is_read_and_the_second_time_from_its_copy(tmp_path: Path) -> None:
    for _ in range(2):
        settings = read(tmp_path, EXAMPLE)
        assert (settings.engine, settings.on_unmet) == ("proot", "warn")
        assert settings.store == str(tmp_path / "images")
        hub = settings.registries["docker.io"]
        assert hub.mirrors == ("http://127.0.0.1:5000", "oci:/shared/images")
        assert settings.registries["registry.example.org"].insecure
    assert (tmp_path / "cache" / "cwl-userspace" / "config.json").exists()


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    assert read(tmp_path, "engine: proot\n").engine == "proot"
    assert read(tmp_path, "engine: userns\n").engine == "userns"


def test_the_environment_wins(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        EXAMPLE,
        CWL_USERSPACE_ENGINE="userns",
        CWL_USERSPACE_HOME="/elsewhere",
        CWL_USERSPACE_ON_UNMET="refuse",
    )
    assert (settings.engine, settings.store) == ("userns", "/elsewhere")
    assert settings.on_unmet == "refuse"


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a directory should be")
    assert read(tmp_path, EXAMPLE).engine == "proot"


def test_without_home_the_account_is_asked(tmp_path: Path) -> None:
    settings = load({"XDG_CACHE_HOME": str(tmp_path)})
    assert settings.store == str(tmp_path / "cwl-userspace")
    assert os.path.isabs(settings.state)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("engine: auto\nengin: x\n", 2, ["'engin'", "did you mean 'engine'?"]),
        ("registries:\n  docker.io:\n    miror: []\n", 3, ["'miror'", "did you mean 'mirrors'?"]),
        ("registries:\n  docker.io:\n    mirrors: oci:/x\n", 3, ["mirrors", "a list"]),
        ("registries:\n  docker.io:\n    mirrors: [ftp://x]\n", 3, ["ftp://x", "oci:DIRECTORY"]),
        ("registries:\n  x.org: {insecure: maybe}\n", 2, ["'maybe'", "true or false"]),
        ("registries: [docker.io]\n", 1, ["registries", "keys and values"]),
        ("engine: [userns]\n", 1, ["engine", "text"]),
        ("engine: auto\n  store: x\n", 2, ["not YAML"]),
        ("proot_places: https://x\n", 1, ["proot_places", "a list of addresses"]),
        ("proot_places:\n  - https://x\n  - ftp://x\n", 3, ["'ftp://x'", "a file's path"]),
        ("proot_places:\n  - {url: /x, sha: ab}\n", 2, ["'sha'", "did you mean 'sha256'?"]),
        ("proot_places:\n  - {url: /x, sha256: ab}\n", 2, ["'ab'", "64 hexadecimal"]),
        ("- engine\n", 1, ["the file", "keys and values"]),
    ],
)
def test_a_mistake_is_told_with_file_line_and_what_was_expected(
    tmp_path: Path, text: str, line: int, words: list[str]
) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text)
    said = str(caught.value)
    assert f"{tmp_path}/config/cwl-userspace/config.yml:{line}: " in said
    assert all(word in said for word in words)


def test_places_for_proot_are_addresses_with_or_without_a_hash(tmp_path: Path) -> None:
    text = f"proot_places:\n  - https://x/y\n  - url: /shared/proot\n    sha256: {'A' * 64}\n"
    for _ in range(2):  # the second time from what is kept of the first
        settings = read(tmp_path, text)
        assert settings.proot_places == (("https://x/y", ""), ("/shared/proot", "a" * 64))
    assert read(tmp_path, "engine: proot\n").proot_places == ()


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nothing\.yml"):
        read(tmp_path, None, CWL_USERSPACE_CONFIG=str(tmp_path / "nothing.yml"))


def test_an_unknown_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'ignore'"):
        read(tmp_path, None, CWL_USERSPACE_ON_UNMET="ignore")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", ""),
        ("/scratch/local", "/scratch/local"),
        ("~/x", "{}/x"),
        ("$TMPDIR", "/tmp/job 1"),
        ("${TMPDIR}/trees", "/tmp/job 1/trees"),
        ("$NOT_ON_THIS_HOST/trees", ""),
    ],
)
def test_a_local_store_may_begin_with_a_variable(tmp_path: Path, text: str, place: str) -> None:
    expected = place.format(tmp_path)
    written = f"local_store: '{text}'\n"
    assert read(tmp_path, written, TMPDIR="/tmp/job 1").local_store == expected
    given = {"CWL_USERSPACE_LOCAL_STORE": text, "TMPDIR": "/tmp/job 1"}
    assert read(tmp_path, "local_store: /other\n", **given).local_store == expected or not text


def test_a_local_store_that_is_no_absolute_path_is_refused(tmp_path: Path) -> None:
    for text in ("local", "$RELATIVE/x"):
        with pytest.raises(SettingsError, match="local_store is"):
            read(tmp_path, f"local_store: {text}\n", RELATIVE="somewhere")


def test_the_first_of_store_path_is_the_own_store_and_the_others_are_beneath(
    tmp_path: Path,
) -> None:
    text = "store_path: [~/own, /site/store, ~/own, /site/more]\n"
    for _ in range(2):  # from the file, and from its copy
        settings = read(tmp_path, text)
        assert settings.store == str(tmp_path / "own")
        assert settings.beneath == ("/site/store", "/site/more")
    settings = read(tmp_path, text, CWL_USERSPACE_HOME="/scratch/me")
    assert (settings.store, settings.beneath[0]) == ("/scratch/me", "/site/store")


@pytest.mark.parametrize(
    ("path", "own", "beneath"),
    [
        (":/site", "~/images", ("/site",)),
        ("/a:/site:~/b", "/a", ("/site", "~/b")),
        ("/a", "/a", ()),
        ("", "~/images", ()),
    ],
)
def test_the_environment_can_lay_a_store_beneath_the_own_one(
    tmp_path: Path, path: str, own: str, beneath: tuple[str, ...]
) -> None:
    settings = read(tmp_path, EXAMPLE, CWL_USERSPACE_STORE_PATH=path)
    expected = [place.replace("~", str(tmp_path)) for place in (own, *beneath)]
    assert [settings.store, *settings.beneath] == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("store_path: /site\n", "a list of directories"),
        ("store_path: []\n", "a list of directories"),
        ("store: /a\nstore_path: [/b]\n", "store and store_path both say"),
    ],
)
def test_a_store_path_without_meaning_is_told_with_its_line(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        read(tmp_path, text)
    assert f"config.yml:{text.count(chr(10))}: " in str(caught.value)


def test_what_the_store_keeps_can_be_said_in_the_file_and_in_variables(tmp_path: Path) -> None:
    settings = read(tmp_path, None)
    assert (settings.share_files, settings.keep_blobs) == ("auto", False)
    settings = read(tmp_path, "share_files: never\nkeep_blobs: true\n")
    assert (settings.share_files, settings.keep_blobs) == ("never", True)
    settings = read(tmp_path, "keep_blobs: true\n", CWL_USERSPACE_KEEP_BLOBS="0")
    assert not settings.keep_blobs
    assert read(tmp_path, None, CWL_USERSPACE_KEEP_BLOBS="yes").keep_blobs
    assert read(tmp_path, None, CWL_USERSPACE_SHARE_FILES="never").share_files == "never"


@pytest.mark.parametrize(
    ("text", "variables", "reason"),
    [
        ("keep_blobs: sometimes\n", {}, "config.yml:1.*true or false"),
        ("share_files: always\n", {}, "auto, never"),
        ("", {"CWL_USERSPACE_KEEP_BLOBS": "sometimes"}, "expected 1 or 0"),
    ],
)
def test_a_wrong_word_for_what_the_store_keeps_is_refused(
    tmp_path: Path, text: str, variables: dict[str, str], reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason):
        read(tmp_path, text, **variables)
