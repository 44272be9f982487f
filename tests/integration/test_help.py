"""Help, manual pages and hints say the same of a verb, and name what was meant."""

from __future__ import annotations

import os
import subprocess
import uuid
from pathlib import Path

import pytest

from cwl_userspace.cli import VERBS
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import every
from cwl_userspace.cli.manual import MANUAL
from cwl_userspace.cli.words import parse
from tests.containers import Home

pytestmark = pytest.mark.once

PAGES = every(Context(os.environ, "", quiet=True))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.verb)
def test_a_verb_says_what_it_does_and_its_examples_are_words_that_it_has(page: object) -> None:
    from cwl_userspace.cli.words import HelpAsked

    assert isinstance(page, HelpAsked)
    assert all(option.help for option in page.options)
    for example in MANUAL.get(page.verb, ("", ()))[1]:
        command = example.partition("#")[0].partition("|")[0].partition("<")[0].split()
        if command[:2] == ["cwl-userspace", page.verb]:
            parse(page.verb, page.options, command[2:], options_end_at_argument=True)


def test_every_page_is_of_a_verb_that_there_is() -> None:
    assert {page.verb for page in PAGES} == set(VERBS) >= set(MANUAL) - {""}


def test_help_of_a_verb_is_what_the_verb_itself_says(home: Home) -> None:
    said = home.call("help", "pull").text
    assert said == home.call("pull", "--help").text
    assert said.startswith("usage: cwl-userspace pull ")
    assert "--platform OS/ARCH" in said and "cwl-userspace pull debian" in said


def test_manual_pages_are_read_without_a_warning(home: Home, tmp_path: Path) -> None:
    place = Path(home.call("help", "--man", tmp_path).text.strip())
    pages = sorted(place.iterdir())
    assert [page.name for page in pages] == sorted(
        ["cwl-userspace.1", *(f"cwl-userspace-{verb}.1" for verb in VERBS)]
    )
    read = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-P-cbou", *pages], capture_output=True, text=True
    )
    assert (read.returncode, read.stderr) == (0, "")
    assert "--on-unmet refuse|warn|copy" in read.stdout
    assert 'cwl-userspace run -v "$PWD:/work" -w /work' in read.stdout


def test_the_pages_that_are_installed_are_those_of_these_verbs(home: Home, tmp_path: Path) -> None:
    """If this fails: cwl-userspace help --man docs/man"""
    place = Path(home.call("help", "--man", tmp_path).text.strip())
    kept = Path(__file__).parents[2] / "docs/man/man1"
    assert {p.name: p.read_text() for p in kept.iterdir()} == {
        p.name: p.read_text() for p in place.iterdir()
    }


def test_a_name_that_is_nearly_that_of_an_image_is_asked_for(home: Home) -> None:
    assert "did you mean busybox:latest? Else" in home.call("rmi", "busibox").complaint
    assert "did you mean busybox:latest?" in home.call("--offline", "run", "busyboy").complaint


def test_a_name_that_is_nearly_that_of_a_container_is_asked_for(home: Home) -> None:
    name = f"kept-{uuid.uuid4().hex[:12]}"
    home.call("create", "--name", name, "busybox")
    assert f"did you mean {name}?" in home.call("rm", f"{name[:-1]}x").complaint
    assert home.call("rm", name).code == 0


def test_a_name_like_no_other_gets_the_usual_hint(home: Home) -> None:
    assert "did you mean" not in home.call("rmi", "quite/another").complaint


def test_a_verb_and_an_option_that_are_nearly_right_are_asked_for(home: Home) -> None:
    assert "did you mean 'images'?" in home.call("imges").complaint
    assert "did you mean 'images'?" in home.call("help", "imges").complaint
    assert "did you mean --workdir?" in home.call("run", "--workdri", "/").complaint
    assert "did you mean --offline?" in home.call("--ofline", "images").complaint
