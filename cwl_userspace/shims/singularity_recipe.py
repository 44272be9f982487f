"""Build an image from a definition: it becomes a Dockerfile, which the builder of those executes.

What its sections say for later is in files below ``/.singularity.d``, as singularity has them.
"""

from __future__ import annotations

import copy
import glob
import json
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import ExitStack

from cwl_userspace.build.builder import Builder, Means, Options
from cwl_userspace.build.dockerfile import parse as parse_dockerfile
from cwl_userspace.build.running import Runner
from cwl_userspace.build.sources import Place
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.words import Words
from cwl_userspace.engines.base import EMULATED_ROOT
from cwl_userspace.engines.choose import choose
from cwl_userspace.errors import DockerfileError, UsageError
from cwl_userspace.shims.singularity_definition import Section, Stage, parse
from cwl_userspace.shims.singularity_image import METADATA, Sandbox, find
from cwl_userspace.store import packs
from cwl_userspace.store.inuse import RUN
from cwl_userspace.store.records import Record
from cwl_userspace.store.users import BUILD, Busy
from cwl_userspace.store.workspace import workspace

_LARGEST = 16 << 20
# The bases that are looked up as a word of exec's would be.
_ALSO = ("oci", "oci-archive", "docker-archive")
_FILES = {"runscript": 0o755, "startscript": 0o755, "test": 0o755, "help": 0o644}
_NAMES = {"help": "runscript.help"}
_APP_FILES = {"apprun": "runscript", "apptest": "test", "appstart": "startscript"}
_ENVIRONMENT = "env/90-environment.sh"


def built(context: Context, words: Words, path: str) -> Record:
    """The image of a definition; raise DockerfileError with the line of what failed."""
    label = os.path.basename(path)
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        text = file.read(_LARGEST)
    given = dict(argument.partition("=")[::2] for argument in words.list("build-arg"))
    stages = parse(text, label, given)
    context.store.prepare()
    with ExitStack() as uses, workspace(context.store) as private:
        uses.enter_context(Busy(context.store, BUILD))
        place = os.path.join(private, "context")
        os.mkdir(place)
        recipe = _Recipe(place, label, stages, text)
        dockerfile = "\n".join(recipe.lines()) + "\n"
        labels = _labels(stages[-1])
        options = Options({}, labels, (), "", "", network_off=False, use_cache=True)
        means = Means(
            store=context.store,
            private=private,
            context=Place(place, "the files of the definition"),
            fetch=lambda name, _platform: _base(context, recipe.bases[name], uses),
            runner=lambda: _runner(context),
            say=context.log.note,
            offline=context.settings.offline,
        )
        raw = dockerfile.encode("utf-8", "surrogateescape")
        return Builder(parse_dockerfile(raw, f"{label}, as a Dockerfile"), options, means).build()


def _runner(context: Context) -> Runner:
    settings = copy.copy(context.settings)
    settings.root_ids = "emulated"  # in an image's tree all files are the caller's
    engine = choose(context.engine, settings, context.environ, EMULATED_ROOT)
    return Runner(engine, context.environ, settings.cache, 2, warn=True)


def _base(context: Context, text: str, uses: ExitStack) -> Record:
    """The image that a stage begins with, in use until the build has ended."""
    record = find(context, text)
    if isinstance(record, Sandbox):
        from cwl_userspace.shims.singularity_sandbox import packed

        record = packed(context, record)
    context.stored_tree(record)
    uses.enter_context(Busy(context.store, RUN, record.chain.hex))
    # The tree of a file that was written here is known by the layers that it was made of.
    said = packs.facts(context.store, record.chain).get("diff_ids")
    document = json.loads(record.to_json())
    if said:
        document["config"]["rootfs"] = {"type": "layers", "diff_ids": said}
    return Record(document, record.store)


class _Recipe:
    """The lines of a Dockerfile; the files that it copies are put into a directory."""

    def __init__(self, place: str, label: str, stages: list[Stage], text: str) -> None:
        self._place = place
        self._label = label
        self._stages = stages
        self._text = text
        self.bases: dict[str, str] = {}

    def lines(self) -> Iterator[str]:
        """One instruction after the other."""
        for number, stage in enumerate(self._stages):
            last = number == len(self._stages) - 1
            yield f"FROM {self._from(stage, number)}"
            os.makedirs(os.path.join(self._place, f"{number}-first", METADATA, "env"))
            yield f"COPY {number}-first/ /"
            for section in stage.sections:
                if section.name == "setup" and section.text.strip():
                    raise self._error(section, "has commands for the host, which are not run")
                if section.name in ("files", "appfiles"):
                    yield from self._files(section, number)
            for section in stage.sections:
                if section.name in ("post", "appinstall") and section.text.strip():
                    yield from self._script(section)
            self._metadata(stage, number, last)
            yield f"COPY {number}-last/ /"

    def _from(self, stage: Stage, number: int) -> str:
        kind, name = stage.headers.get("bootstrap", ""), stage.headers.get("from", "")
        if kind == "scratch":
            return "scratch"
        if not name:
            raise DockerfileError(f"{self._label}:{stage.line}: no line From:", "name an image")
        if kind == "docker":
            for header in ("namespace", "registry"):
                if stage.headers.get(header):
                    name = f"{stage.headers[header].rstrip('/')}/{name}"
            text = f"docker://{name}"
        elif kind == "localimage":
            text = name
        elif kind in _ALSO:
            text = f"{kind}:{name}"
        else:
            raise DockerfileError(
                f"{self._label}:{stage.line}: no images from {kind!r}",
                "expected docker, localimage, docker-archive, oci-archive, oci or scratch",
            )
        self.bases[f"base-{number}"] = text
        return f"base-{number}"

    def _files(self, section: Section, number: int) -> Iterator[str]:
        """``SRC [DST]``, from the host or from a stage; a directory becomes DST."""
        word, _, name = section.words.partition(" ")
        app = f"/scif/apps/{section.words}" if section.name == "appfiles" else ""
        origin = f"--from={self._stage_number(section, name)} " if word == "from" else ""
        for line in section.text.splitlines():
            words = shlex.split(line, comments=True)
            if not words:
                continue
            if len(words) > 2:
                raise self._error(section, f"has {line.strip()!r}, expected SRC [DST]")
            source, target = words[0], words[-1]
            if app:
                target = os.path.join(app, target.lstrip("/"))
            if origin:
                yield f"COPY {origin}{json.dumps([source, target])}"
            else:
                yield from self._host_files(section, number, source, target)

    def _host_files(self, section: Section, number: int, source: str, target: str) -> Iterator[str]:
        found = sorted(glob.glob(os.path.expanduser(source)))
        if not found:
            raise self._error(section, f"has {source!r}, which is not there")
        several = len(found) > 1
        for path in found:
            name = f"{number}-files-{len(os.listdir(self._place))}"
            held = os.path.join(self._place, name)
            os.mkdir(held)
            last = os.path.basename(os.path.abspath(path))
            if os.path.isdir(path):
                shutil.copytree(path, os.path.join(held, last))
                into = os.path.join(target, last) if several or target.endswith("/") else target
                yield f"COPY {json.dumps([f'{name}/{last}/', into.rstrip('/') + '/'])}"
            else:
                shutil.copy2(path, held)
                into = target.rstrip("/") + "/" if several else target
                yield f"COPY {json.dumps([f'{name}/{last}', into])}"

    def _stage_number(self, section: Section, name: str) -> int:
        for number, stage in enumerate(self._stages):
            if stage.headers.get("stage") == name.strip():
                return number
        raise self._error(section, f"takes from {name!r}, which is no stage")

    def _script(self, section: Section) -> Iterator[str]:
        """A script of the shell, or of the program that ``%post -c PROGRAM`` names."""
        words = shlex.split(section.words)
        program = words[1] if words[:1] == ["-c"] and len(words) == 2 else "/bin/sh -e"
        delimiter = "END"
        while delimiter in section.text:
            delimiter += "_"
        yield f'RUN <<"{delimiter}"'
        yield f"#!{program}"
        for prefix in ("SINGULARITY", "APPTAINER"):
            yield f"export {prefix}_ENVIRONMENT=/{METADATA}/env/91-environment.sh"
        if section.name == "appinstall":
            yield f"mkdir -p /scif/apps/{shlex.quote(section.words)}"
            yield f"cd /scif/apps/{shlex.quote(section.words)}"
        yield section.text.rstrip("\n")
        yield delimiter

    def _metadata(self, stage: Stage, number: int, last: bool) -> None:
        top = os.path.join(self._place, f"{number}-last")
        for name, mode in _FILES.items():
            if stage.text(name).strip():
                text = _as_script(stage.text(name)) if mode == 0o755 else stage.text(name)
                _put(top, f"{METADATA}/{_NAMES.get(name, name)}", text, mode)
        if stage.text("environment").strip():
            script = _as_script(stage.text("environment"))
            _put(top, f"{METADATA}/{_ENVIRONMENT}", script, 0o755)
        if last:
            _put(top, f"{METADATA}/labels.json", json.dumps(_labels(stage)) + "\n", 0o644)
            _put(top, f"{METADATA}/Singularity", self._text, 0o644)
        for section in stage.sections:
            app = f"scif/apps/{section.words}/scif"
            if section.name in _APP_FILES:
                name = _APP_FILES[section.name]
                _put(top, f"{app}/{name}", _as_script(section.text), 0o755)
            elif section.name == "appenv":
                _put(top, f"{app}/{_ENVIRONMENT}", _as_script(section.text), 0o755)
            elif section.name == "apphelp":
                _put(top, f"{app}/runscript.help", section.text, 0o644)
        os.makedirs(top, exist_ok=True)

    def _error(self, section: Section, problem: str) -> DockerfileError:
        return DockerfileError(
            f"{self._label}:{section.line}: %{section.name} {problem}", "change the definition"
        )


def _labels(stage: Stage) -> dict[str, str]:
    """``NAME VALUE`` lines."""
    found = {}
    for line in stage.text("labels").splitlines():
        name, _, value = line.strip().partition(" ")
        if name and not name.startswith("#"):
            found[name] = value.strip().strip("\"'")
    return found


def _as_script(text: str) -> str:
    return text if text.startswith("#!") else f"#!/bin/sh\n{text}"


def _put(top: str, name: str, text: str, mode: int) -> None:
    path = os.path.join(top, name)
    if ".." in name.split("/"):
        raise UsageError(f"the definition names {name!r}", "expected a name without ..")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "x", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    os.chmod(path, mode)
