"""What a registry says of its repositories is text of anybody's, and goes to a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from cwl_userspace.errors import RegistryError
from cwl_userspace.image.catalogue import hub_search, repositories
from cwl_userspace.image.registry import Registry
from tests.containers import Home
from tests.fake_faults import Faults
from tests.fake_hub import hub
from tests.fake_registry import FakeRegistry

pytestmark = pytest.mark.once


@pytest.mark.parametrize("form", ["v1", "v2"])
def test_no_name_that_is_found_can_command_a_terminal(form: str) -> None:
    with hub(form, ["tool/one", "tool/\x1b[31mtwo\n"]) as searched:
        names = [found.name for found in hub_search("tool", searched.url)]
    assert names == ["tool/one", "tool/ [31mtwo "]


@pytest.mark.parametrize(
    "faults",
    [Faults(new_names=1000, new_name=f"{'n' * 4000}-"), Faults(new_names=300_000, new_name="-")],
    ids=["bytes", "names"],
)
def test_a_list_without_an_end_is_read_to_a_bound_which_is_told(faults: Faults) -> None:
    with FakeRegistry() as fake:
        fake.faults = faults
        with pytest.raises(RegistryError, match=r"goes on with .* after [0-9]+ names"):
            list(repositories(Registry(fake.authority)))


def test_what_is_found_before_the_bound_of_a_list_is_shown(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with FakeRegistry() as fake:
        fake.faults.new_names = 1
        shown = home.call("search", f"{fake.authority}/name-99").text
    assert shown.splitlines()[1].startswith(f"{fake.authority}/name-99 ")
    log = tmp_path / "state" / "cwl-userspace" / "log"
    assert "goes on with a list of its repositories after 1000 names" in log.read_text()
