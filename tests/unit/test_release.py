"""What is published: versions that agree, and a single file that needs nothing beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import zstandard

import cwl_userspace
from conformance.release import contents, described
from conformance.release.elf import loaded_part
from conformance.release.single_file import common, packed, write

TOP = Path(cwl_userspace.__file__).parent.parent
PATIENCE = 60
TAG = f"{sys.implementation.cache_tag}-{os.uname().machine}"
ANOTHER = 65534
(BACKEND,) = Path(zstandard.__file__).parent.glob("backend_c*.so")


@pytest.mark.once
def test_all_that_names_a_version_names_that_of_the_package() -> None:
    assert contents.versions() == []


@pytest.mark.once
def test_another_version_or_day_is_named_with_its_file(tmp_path: Path) -> None:
    version = cwl_userspace.__version__
    citation = f"version: {version}\ndate-released: 2026-01-02\n"
    (tmp_path / "README.rst").write_text(f"./cwl-userspace-{version}.pyz run")

    def wrong(day: str, said: str, newest: str = version) -> list[str]:
        (tmp_path / "CHANGELOG.rst").write_text(f"{newest} ({day})\n---\n* x\n\n0.0.1 (x)\n---\n")
        (tmp_path / "CITATION.cff").write_text(said)
        return contents.versions(tmp_path)

    assert wrong("2026-01-02", citation) == []
    assert wrong("unreleased", f"version: {version}\n") == []
    assert wrong("2026-01-03", citation) == [
        "CITATION.cff is of 2026-01-02, and CHANGELOG.rst of 2026-01-03"
    ]
    assert len(wrong("unreleased", citation)) == len(wrong("soon", citation)) - 1 == 1
    assert wrong("2026-01-02", citation, "9.9") == [
        f"CHANGELOG.rst is of 9.9, and the package of {version}"
    ]


@pytest.mark.once
@pytest.mark.parametrize("url", ["", "https://forge.example/lab/cwl-userspace"])
def test_the_description_on_an_index_refers_to_nothing_by_a_path(tmp_path: Path, url: str) -> None:
    readme = TOP / "README.rst"
    assert "docs/offline.rst" in described.relative(readme)
    description = tmp_path / "description.rst"
    description.write_text(described.described(readme.read_text("utf-8"), url), "utf-8")
    assert described.relative(description) == []
    there = f"<{url}/blob/v{cwl_userspace.__version__}/docs/offline.rst>`_" if url else "``)"
    assert there in description.read_text("utf-8")


@pytest.mark.once
def test_a_library_works_without_what_nobody_loads(tmp_path: Path) -> None:
    library = tmp_path / BACKEND.name
    library.write_bytes(loaded_part(BACKEND.read_bytes()))
    assert library.stat().st_size < BACKEND.stat().st_size
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; import backend_c; print(backend_c.ZSTD_VERSION)"
    )
    said = subprocess.check_output([sys.executable, "-I", "-c", code, tmp_path])
    assert said.startswith(b"(1, ")


@pytest.mark.once
def test_what_is_no_library_is_refused() -> None:
    with pytest.raises(ValueError, match="no little-endian ELF"):
        loaded_part(b"\x7fELF\x01\x01 of 32 bits")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A single file of this checkout, without what a container in the store does not need."""
    place = tmp_path_factory.mktemp("single")
    files = [(f"cwl_userspace/{name}", data) for name, data in common(TOP / "cwl_userspace")]
    library = loaded_part(BACKEND.read_bytes())
    compiled = [
        ("zstandard/__init__.py", (BACKEND.parent / "__init__.py").read_bytes()),
        (f"zstandard/{BACKEND.name}", library),
    ]
    target = place / "the file"
    write(target, "7.7", {"common": packed(files, 0), TAG: packed(compiled, 0)})
    return target


class User:
    """Somebody with a home, and nothing else."""

    def __init__(self, file: Path, home: Path) -> None:
        self.file = file
        self.home = home
        self.environment = {"HOME": str(home), "PATH": "/usr/bin:/bin"}

    def start(self, *words: str | Path, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-S", self.file, *words],
            env={**self.environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def said(self, *words: str | Path, **variables: str) -> str:
        return self.start(*words, **variables).communicate(timeout=PATIENCE)[0]

    @property
    def unpacked(self) -> list[Path]:
        return sorted((self.home / ".cache/cwl-userspace-app").iterdir())


@pytest.fixture
def user(file: Path, tmp_path: Path) -> User:
    return User(file, tmp_path)


@pytest.mark.once
def test_many_first_starts_at_once_unpack_one_tree(user: User) -> None:
    started = [user.start("version") for _ in range(6)]
    said = {process.communicate(timeout=PATIENCE)[0] for process in started}
    assert said == {f"cwl-userspace version {cwl_userspace.__version__}\n"}
    (one,) = user.unpacked
    assert one.name.startswith("7.7-")
    before = one.stat().st_mtime_ns
    assert user.said("version").startswith("cwl-userspace") and one.stat().st_mtime_ns == before


@pytest.mark.once
def test_what_it_writes_for_later_survives_that_the_cache_is_emptied(user: User) -> None:
    shims = user.home / "shims"
    assert "export PATH" in user.said("shim", "docker", "--dir", shims)
    subprocess.check_call(["rm", "-r", user.home / ".cache"])
    # It takes no module from where it is called, and so finds the site's packages by itself.
    said = subprocess.check_output([shims / "docker", "--version"], env=user.environment, text=True)
    assert said.startswith("Docker version") and len(user.unpacked) == 1


def test_what_another_user_has_unpacked_is_executed_only_if_it_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write(file, "1", {})
    user = User(file, tmp_path)
    place = tmp_path / f".cache/cwl-userspace-app/1-{sha256().hexdigest()[:12]}-{TAG}"
    (place / "cwl_userspace/cli").mkdir(parents=True)
    (place / "cwl_userspace/cli/__init__.py").write_text("def entry(): print('executed')")
    assert user.said() == "executed\n"
    if os.getuid() == 0:
        os.chown(place, ANOTHER, ANOTHER)
        assert "belongs to another user" in user.said()
        assert user.said(CWL_USERSPACE_UNPACKED=str(place.parent)) == "executed\n"


@pytest.mark.once
def test_where_nothing_can_be_written_it_says_what_to_name(user: User) -> None:
    (user.home / ".cache").write_text("a file")
    assert "CWL_USERSPACE_UNPACKED" in user.said("version")
    chosen = {"CWL_USERSPACE_UNPACKED": str(user.home / "chosen")}
    assert user.said("version", **chosen).startswith("cwl-userspace version")
