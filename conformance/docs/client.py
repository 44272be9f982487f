"""What Arvados' own client asks of ``docker``, by the client's own code.

usage: PYTHON_WITH_ARVADOS-CWL-RUNNER client.py

``docker`` has to be the first on PATH. The functions are those that ``arv-keepdocker`` and
``arvados-cwl-runner`` call before they speak to a cluster; none of them needs one.
"""

from __future__ import annotations

import tempfile

from arvados.commands import keepdocker
from arvados_cwl import arvdocker

NAME, TAG = "debian", "stable-slim"


class _Server:
    """What a cluster says of the images that it takes."""

    _rootDesc = {"dockerImageFormats": ["v2"]}


def main() -> None:
    """Fetch an image, find it in each way, and save it; fail where an answer is not Docker's."""
    keepdocker.pull_image(NAME, TAG)
    found = keepdocker.find_one_image_hash(NAME, TAG)
    assert found.startswith("sha256:"), found
    assert keepdocker.find_one_image_hash(found[7:19]) == found
    assert keepdocker.docker_image_compatible(_Server, found)
    listed = [(one.repo, one.tag) for one in keepdocker.docker_images() if one.hash == found]
    assert listed == [(NAME, TAG)], listed
    assert arvdocker.determine_image_id(f"{NAME}:{TAG}") == found
    assert arvdocker.determine_image_id("nobody/has:this") is None
    with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
        keepdocker.save_image(found, archive)
        manifest, configuration = keepdocker.load_image_metadata(archive)
    assert manifest["Layers"] and configuration["os"] == "linux"
    print(f"all of it was answered as Docker does; the image is {found}")


if __name__ == "__main__":
    main()
