"""What ``verify --repair`` and ``--record`` do about what was found."""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Iterator
from functools import partial

from cwl_userspace import asroot
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.examine import Examined, Seen
from cwl_userspace.cli.fetch import fetch, sources
from cwl_userspace.cli.inuse import users
from cwl_userspace.digest import Digest
from cwl_userspace.errors import ImageError, StoreError, UserspaceError
from cwl_userspace.image.confine import remove_tree
from cwl_userspace.image.source import Source
from cwl_userspace.image.treetar import journal_of
from cwl_userspace.reference import ImageReference
from cwl_userspace.store import check, records, repair
from cwl_userspace.store.compare import compare
from cwl_userspace.store.kept import Kept, original
from cwl_userspace.store.modes import is_of_a_group
from cwl_userspace.store.protect import is_protected, protect
from cwl_userspace.store.store import private_name


def record(context: Context, found: Examined) -> list[str]:
    """Record the trees of which nothing is recorded, as they are; a line for each."""
    lines = []
    for image in {image.chain: image for image in found.unrecorded}.values():
        rootfs = context.store.tree(image.record.chain)
        (text,) = asroot.reading(partial(_journal, rootfs))
        name = repair.contents_name(image.record.chain)
        context.store.write_file(name, base64.b64decode(text))
        lines.append(f"{image.label}: recorded as it is now")
    return lines


def mend(context: Context, found: Examined) -> tuple[list[str], list[str]]:
    """Make whole what can be; lines on what was done, and on what could not be."""
    done: list[str] = []
    failed: list[str] = []
    images = {image.record.id.hex: image for image in found.images}
    for identifier in _damaged(found):
        label = images[identifier].label if identifier in images else f"images/{identifier}.json"
        try:
            if identifier in images:
                done.append(f"{label}: {_image(context, found, images[identifier])}")
            else:
                done.append(f"{label}: {_record(context, found, identifier)}")
        except (UserspaceError, OSError) as error:
            if identifier in images and not _is_wrong(found, images[identifier]):
                done.append(f"{label}: still nothing is recorded of its tree: {error}")
            else:
                failed.append(f"{label}: not repaired: {error}")
    for problem in found.problems:
        if problem.image:
            continue
        try:
            done.append(f"{problem.where}: {_name(context, problem.name)}")
        except (UserspaceError, OSError) as error:
            failed.append(f"{problem.where}: not repaired: {error}")
    return done, failed


def _damaged(found: Examined) -> list[str]:
    """The ids of images that something is wrong with, or of whose trees nothing is recorded."""
    wrong = [problem.image for problem in found.problems if problem.image]
    trees = [i.record.id.hex for i in found.images if _tree_wrong(found, i)]
    return list(dict.fromkeys((*wrong, *trees, *(i.record.id.hex for i in found.unrecorded))))


def _tree_wrong(found: Examined, image: Seen) -> bool:
    """True if the tree has to be made anew, be it that a damaged pack is all that there is."""
    tree = found.trees.get(image.chain)
    below = f"trees/{image.chain}"
    if (tree and tree.differences) or any(p.where.startswith(below) for p in found.problems):
        return True
    return tree is None and _pack_wrong(found, image)


def _pack_wrong(found: Examined, image: Seen) -> bool:
    return any(problem.where == f"packs/{image.chain}" for problem in found.problems)


def _is_wrong(found: Examined, image: Seen) -> bool:
    mine = image.record.id.hex
    return _tree_wrong(found, image) or any(p.image == mine for p in found.problems)


def _image(context: Context, found: Examined, image: Seen) -> str:
    """Fetch an image by its digest and put it in the place of what is here."""
    with_tree = _tree_wrong(found, image)
    if not with_tree and _pack_wrong(found, image):
        _drop_pack(context, image)
        return "the damaged pack is removed: whoever wants one makes it of the tree"
    used = users(context, image.record) if with_tree else []
    if used:
        raise StoreError(
            f"it is in use by {', '.join(used)}", "its tree is replaced when nothing runs in it"
        )
    if not image.record.manifest:
        raise ImageError("it did not come from a registry", "build, load or import it again")
    errors = []
    platform = repair.platform_of(image.record)
    own = context.store.own
    own.keep_blobs = context.store.keep_blobs
    for reference, source in _places(context, image):
        try:
            with repair.fetched(own, reference, source, platform, context.log.note) as anew:
                return _take(context, found, image, anew, with_tree)
        except ImageError as error:
            errors.append(str(error))
    reasons = "; ".join(errors) or "it has no name to fetch it by"
    raise ImageError(f"{image.record.manifest} cannot be had: {reasons}", "load or pull it again")


def _places(context: Context, image: Seen) -> Iterator[tuple[ImageReference, Source]]:
    """Where an image may be had by its digest: from layers that were kept, then from registries."""
    here = original(context.store, image.record)
    if here is not None:
        digest = Digest.parse(image.record.manifest)
        yield ImageReference("localhost", "kept", None, digest), Kept(here, digest)
    for reference in repair.origins(image.record, image.names):
        for source in sources(context, reference):
            yield reference, source


def _take(
    context: Context, found: Examined, image: Seen, anew: repair.Fetched, with_tree: bool
) -> str:
    """What of it was needed: all, the documents, or nothing but the record of the tree."""
    if anew.record.chain != image.record.chain or anew.record.id != image.record.id:
        raise ImageError("what was fetched is another image", "remove it and pull it again")
    if not with_tree and not found.trees[image.chain].recorded:
        tree = context.store.tree(image.record.chain)
        opened = is_of_a_group(context.store.path)
        if compare(tree, anew.contents(), opened=opened).differences:
            if used := users(context, image.record):
                raise StoreError(f"it is in use by {', '.join(used)}", "and its tree is damaged")
            with_tree = True
        else:
            anew.keep_contents()
    if with_tree or any(p.image == image.record.id.hex for p in found.problems):
        anew.take(with_tree)
        if _pack_wrong(found, image):
            _drop_pack(context, image)
        _drop_layers(context, found, image)
    return "repaired" if _is_wrong(found, image) else "its tree is what a new fetch gives"


def _drop_pack(context: Context, image: Seen) -> None:
    aside = os.path.join(context.store.path, "tmp", private_name())
    os.rename(os.path.join(context.store.path, "packs", image.chain), aside)
    remove_tree(aside)


def _drop_layers(context: Context, found: Examined, image: Seen) -> None:
    """A layer that was kept and is damaged still goes: nothing needs it."""
    layers = {f"blobs/sha256/{d.hex}": d for d in check.layers_of(context.store, image.record)}
    for problem in found.problems:
        path = os.path.join(context.store.path, problem.where)
        if problem.where in layers and check.hash_file(path)[0] != layers[problem.where].hex:
            os.unlink(path)


def _record(context: Context, found: Examined, identifier: str) -> str:
    """Write a record that is damaged from the blobs; else fetch what its names mean now."""
    if repair.rebuild_record(context.store, identifier):
        return "written anew from the image's configuration"
    names = [named.name for named in found.names if named.image == identifier]
    if not names:
        raise StoreError("it has no name by which to fetch it", "remove that file")
    with _set_aside(context, f"images/{identifier}.json"):
        for name in names:
            _name(context, name)
    return "fetched by its name anew"


def _name(context: Context, name: str) -> str:
    if not name:
        raise StoreError("nothing can be fetched for it", "remove that file")
    stays = is_protected(context.store, name)
    with _set_aside(context, f"names/{records.file_name(name)}"):
        fetch(context, ImageReference.parse(name), refresh=True)
    if stays:
        protect(context.store, name, True)
    return "fetched by its name anew"


@contextlib.contextmanager
def _set_aside(context: Context, where: str) -> Iterator[None]:
    """Take a damaged file out of the way of what writes it anew; it is back if that fails."""
    path = os.path.join(context.store.path, where)
    with open(path, "rb") as file:
        content = file.read()
    os.unlink(path)
    try:
        yield
    except BaseException:
        context.store.write_file(where, content)
        raise


def _journal(rootfs: str) -> list[str]:
    return [base64.b64encode(journal_of(rootfs)).decode()]
