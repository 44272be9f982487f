"""Find an image in the store, or fetch it from the places that the settings name."""

from __future__ import annotations

import gc

from cwl_userspace.errors import ImageNotFound, InvalidReference, Offline
from cwl_userspace.reference import DOCKER_HUB, ImageReference
from cwl_userspace.store import records
from cwl_userspace.store.inuse import note_use

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cwl_userspace.cli.context import Context
    from cwl_userspace.image.source import Source
    from cwl_userspace.settings import RegistrySettings
    from cwl_userspace.store.records import Record


def find_or_fetch(context: Context, name: str, platform: str = "") -> Record:
    """The image of a name or id, fetched if the store lacks it. Note that it was used.

    What the store has for another ``platform`` than the one that is asked for is replaced.
    """
    context.store.check()
    others = False
    try:
        record = records.find(context.store, name)
        others = bool(platform) and not _is_for(record, platform)
        if context.store.has(record.chain) and not others:
            note_use(context.store, record.id.hex)
            return record
    except ImageNotFound as error:
        try:
            reference = ImageReference.parse(name)
        except InvalidReference:
            raise error from None
    else:
        reference = ImageReference.parse(name)
    record = fetch(context, reference, platform, refresh=others)
    if others and context.settings.offline and not _is_for(record, platform):
        raise ImageNotFound(
            f"{name} is in the store for another platform than {platform}",
            "leave out --platform, or pull it where there is a network",
        )
    return record


def _is_for(record: Record, platform: str) -> bool:
    """True if an image is for a platform, as far as its configuration says."""
    from cwl_userspace.oci import Platform
    from cwl_userspace.store.repair import platform_of

    return Platform.parse(platform).accepts(platform_of(record))


def fetch(
    context: Context, reference: ImageReference, platform: str = "", refresh: bool = False
) -> Record:
    """Fetch an image into the store; raise ImageError where nobody has it.

    Without the network, what nobody has anew is taken as the store has it. Nothing that a fetch
    imports or makes needs the collector of circles, which would cost a tenth of the time.
    """
    collected = gc.isenabled()
    gc.disable()
    try:
        return _fetch(context, reference, platform, refresh)
    finally:
        if collected:
            gc.freeze()  # what there is stays, and is not to be looked through at once
            gc.enable()


def _fetch(context: Context, reference: ImageReference, platform: str, refresh: bool) -> Record:
    from cwl_userspace.cli.dropped import tell
    from cwl_userspace.cli.progress import Progress
    from cwl_userspace.oci import Platform
    from cwl_userspace.store.images import ensure

    wanted = Platform.parse(platform) if platform else Platform.host()
    with Progress(reference.familiar, context.log, context.bars) as progress:
        found = progress.watch(sources(context, reference))
        try:
            record = ensure(reference, found, context.store, wanted, progress, refresh)
        except Offline as error:
            if not refresh:
                raise
            try:
                return ensure(reference, (), context.store, wanted, progress)
            except ImageNotFound:
                raise error from None
    tell(context, reference.familiar, record)
    return record


def sources(context: Context, reference: ImageReference) -> list[Source]:
    """Where an image may be: the registry's mirrors in order, then the registry itself.

    Offline: the mirrors on disk, and none of what would ask the network.
    """
    mirrors = _mirrors(context, reference)
    if context.settings.offline:
        from cwl_userspace.image.offline import Closed

        return [*(_on_disk(mirror) for mirror in mirrors if mirror.startswith("oci:")), Closed()]
    from cwl_userspace.image.credentials import Credentials
    from cwl_userspace.image.registry import Registry

    credentials = Credentials.from_environment(context.environ)
    found: list[Source] = []
    for mirror in mirrors:
        if mirror.startswith("oci:"):
            found.append(_on_disk(mirror))
        else:
            insecure = _insecure(context, mirror)
            found.append(
                Registry(
                    reference.registry,
                    endpoint=mirror,
                    insecure=insecure,
                    credentials=credentials,
                    known=context.store.blob,
                )
            )
    entry = _settings(context, reference)
    insecure = entry.insecure if entry else False
    known = context.store.blob
    found.append(
        Registry(reference.registry, insecure=insecure, credentials=credentials, known=known)
    )
    return found


def _on_disk(mirror: str) -> Source:
    from cwl_userspace.image.layout import Layout

    return Layout.directory(mirror.removeprefix("oci:"))


def _settings(context: Context, reference: ImageReference) -> RegistrySettings | None:
    registries = context.settings.registries
    entry = registries.get(reference.registry)
    if entry is None and reference.registry == DOCKER_HUB:
        entry = registries.get("index.docker.io") or registries.get("registry-1.docker.io")
    return entry


def _mirrors(context: Context, reference: ImageReference) -> Sequence[str]:
    entry = _settings(context, reference)
    return entry.mirrors if entry else ()


def _insecure(context: Context, mirror: str) -> bool:
    """A mirror is a registry itself, and may be listed as one."""
    entry = context.settings.registries.get(mirror.partition("://")[2].partition("/")[0])
    return entry is not None and entry.insecure
