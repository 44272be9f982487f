"""What a registry says of its repositories is text of anybody's, and goes to a terminal."""

from __future__ import annotations

import pytest

from cwl_userspace.image.catalogue import hub_search
from tests.fake_hub import hub

pytestmark = pytest.mark.once


@pytest.mark.parametrize("form", ["v1", "v2"])
def test_no_name_that_is_found_can_command_a_terminal(form: str) -> None:
    with hub(form, ["tool/one", "tool/\x1b[31mtwo\n"]) as searched:
        names = [found.name for found in hub_search("tool", searched.url)]
    assert names == ["tool/one", "tool/ [31mtwo "]
