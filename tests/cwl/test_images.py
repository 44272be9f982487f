"""Every way in which a DockerRequirement names an image, with one start of cwltool for many."""

from __future__ import annotations

import functools
import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.containers import Home, docker_archive, manifest, oci_layout
from tests.cwl.documents import DOORS, archive, cwltool, layer, tool, workflow

pytestmark = pytest.mark.once

DIGEST = "127.0.0.1:9/by/digest"
WORD = "cat /word"
ENTRY = "/etc/made by/the document.txt"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A directory, and the address at which it is served."""
    place = tmp_path_factory.mktemp("served")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(place))
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield place, f"http://127.0.0.1:{serving.server_port}"
    serving.shutdown()


@pytest.fixture(scope="module")
def mirror(home: Home, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which an image can be had by its digest alone, and that digest."""
    place = tmp_path_factory.mktemp("mirror")
    oci_layout(place / "layout", f"{DIGEST}:1", layer("by digest"), {})
    index = json.loads((place / "layout" / "index.json").read_text())
    config = {"registries": {"127.0.0.1:9": {"mirrors": [f"oci:{place / 'layout'}"]}}}
    (place / "config.yml").write_text(json.dumps(config))
    found = str(index["manifests"][0]["digest"])
    return {"CWL_USERSPACE_CONFIG": str(place / "config.yml"), "DIGEST": found}


@pytest.mark.parametrize("door", DOORS)
def test_what_the_document_names_is_what_runs(
    home: Home, door: str, mirror: dict[str, str], server: tuple[Path, str], tmp_path: Path
) -> None:
    """One workflow with all that the door can say: each step prints whose image it is in."""
    place = tmp_path / "a document"
    place.mkdir()
    home.add("local", layer("local"))
    local = {"dockerImageId": "local"}
    entry = {"entryname": ENTRY, "entry": "written by the document\n"}
    listing = {"InitialWorkDirRequirement": {"listing": [entry]}}
    tools = {
        "digest": tool(WORD, {"dockerPull": f"{DIGEST}@{mirror['DIGEST']}"}),
        "id": tool(WORD, local),
        "directory": tool("pwd; touch here", {**local, "dockerOutputDirectory": "/made/of two"}),
        "entry": tool(f"cat '{ENTRY}'; ls -d /etc/made*", local, requirements=listing),
    }
    expected = {
        "digest": "by digest\n",
        "id": "local\n",
        "directory": "/made/of two\n",
        "entry": "written by the document\n/etc/made by\n",
    }
    if door == "extension":
        tools |= from_files(place, *server)
        expected |= {name: f"{name}\n" for name in ("load", "chosen", "import", "named", "build")}
    before = manifest(home.tree("local"))
    done = cwltool(home, place, workflow(tools), door=door, environment=mirror)
    assert done.code == 0, done.log
    assert {name: done.text(name) for name in tools} == expected
    assert manifest(home.tree("local")) == before
    if door == "extension":
        names = home.call("images").text
        assert "second" in names and "named" in names
        assert "first" not in names and "not/used" not in names


def from_files(place: Path, served: Path, address: str) -> dict[str, dict[str, Any]]:
    """Tools with images that come of files beside the document, and of those that are served."""
    docker_archive(place / "one#1 %20.tar", "not/used:1", layer("load"), {})
    (served / "two.tar").write_bytes(archive({"first:1": layer("no"), "second:2": layer("chosen")}))
    (served / "root.tar").write_bytes(layer("import"))
    (place / "below").mkdir()
    (place / "below" / "root.tar").write_bytes(layer("named"))
    named = (place / "below" / "root.tar").as_uri()
    return {
        "load": tool(WORD, {"dockerLoad": "one#1 %20.tar"}),
        "chosen": tool(WORD, {"dockerLoad": f"{address}/two.tar", "dockerImageId": "second:2"}),
        "import": tool(WORD, {"dockerImport": f"{address}/root.tar"}),
        "named": tool(WORD, {"dockerImport": named, "dockerImageId": "named:7"}),
        "build": tool(WORD, {"dockerFile": "FROM local\nRUN echo build > /word\n"}),
    }


def test_another_file_in_the_same_place_is_another_image_even_with_a_cache(
    home: Home, tmp_path: Path
) -> None:
    """It has the same name, size and time of change, and so would be the same to rsync."""
    image = tmp_path / "image.tar"
    image.write_bytes(layer("one"))
    os.utime(image, (1_000_000_000, 1_000_000_000))
    document = tool("cat /word", {"dockerImport": "image.tar"})
    options = ("--cachedir", str(tmp_path / "cache"))
    assert cwltool(home, tmp_path, document, *options).text("out") == "one\n"
    again = cwltool(home, tmp_path, document, *options)
    assert again.text("out") == "one\n" and "Using cached output" in again.log
    image.write_bytes(layer("two"))
    os.utime(image, (1_000_000_000, 1_000_000_000))
    changed = cwltool(home, tmp_path, document, *options)
    assert changed.text("out") == "two\n" and "Using cached output" not in changed.log
