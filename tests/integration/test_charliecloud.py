"""Steps 5 and 6 of Charliecloud's notes on a node of conformance/charliecloud.

The node has its own name and store. The whole, with MPI, is conformance/charliecloud-steps.
"""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from tests.containers import Box, Home

ON_NODE = Path(__file__).parents[2] / "conformance/charliecloud/on-node"


# Not chroot: who is root on such a node has no other ids.
@pytest.mark.parametrize("engine", ["userns", "proot"])
def test_a_flattened_image_is_unpacked_and_runs_on_another_node(
    home: Home, engine: str, tmp_path: Path
) -> None:
    tar, config = tmp_path / "image.tar", tmp_path / "image.json"
    assert home.call("flatten", "--config", config, "configured", tar).code == 0
    node = Box(copy.deepcopy(home), engine)
    node.home.prefix = (str(ON_NODE), "node-1")
    node.home.environment["NODES"] = str(tmp_path)
    unpacked = node.home.call("--offline", "import", "--config", config, tar, "configured")
    assert unpacked.code == 0, unpacked
    assert node.run("configured").text == "from|cmd|"
    said = node.run("--entrypoint", "", "configured", "sh", "-c", "hostname; id -u; id -un").text
    assert said.split() == ["node-1", "1234", "tool"]
    assert (tmp_path / "node-1/store/trees").is_dir()
