"""Steps that were done before: what each changed, kept in the store under what it depended on.

Below ``build/`` in the store: ``steps/KEY.json`` names the layer of a step and when it was done,
``layers/HEX`` is a layer, compressed, by the digest of its plain tar, and ``caches/`` are the
directories of ``RUN --mount=type=cache``. All of it may be removed at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, NamedTuple

from cwl_userspace.digest import Digest
from cwl_userspace.store.modes import is_of_a_group, make_directories
from cwl_userspace.store.store import Store

# Part of every key: to be changed when the same instruction comes to mean something else.
_FORMAT = "1"


class Step(NamedTuple):
    """What a step did: its layer, or None if it changed nothing, and when, as RFC 3339 has it."""

    layer: Digest | None
    created: str


class Cache:
    """The steps in a store. Without ``look`` none is found, but all are kept."""

    def __init__(self, store: Store, look: bool) -> None:
        self._store = store
        self._look = look

    def prepare(self) -> None:
        """Make the directories; raise StoreError where the store cannot be written."""
        try:
            make_directories(self._store.path, ("build/steps", "build/layers", "build/caches"))
        except OSError as error:
            raise self._store.failure(error, "make the cache of builds") from None

    def layer(self, diff_id: Digest) -> str:
        """Where a layer is kept."""
        return os.path.join(self._store.path, "build", "layers", diff_id.hex)

    def directory(self, name: str) -> str:
        """The directory of a cache mount, made if there is none."""
        # What is kept there belongs to who built, and each member of a group has his own.
        whose = str(os.geteuid()) if is_of_a_group(self._store.path) else ""
        place = hashlib.sha256(f"{whose}{name}".encode()).hexdigest()
        path = os.path.join(self._store.path, "build", "caches", place)
        os.makedirs(path, exist_ok=True)
        return path

    def find(self, key: str) -> Step | None:
        """The step of a key, if it was done before and its layer is still here."""
        if not self._look:
            return None
        try:
            with open(os.path.join(self._store.path, self._name(key)), "rb") as file:
                entry = json.loads(file.read())
            layer = Digest.parse(entry["layer"]) if entry["layer"] else None
            step = Step(layer, str(entry["created"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None  # whatever is wrong with it, the step can be done again
        return step if layer is None or os.path.exists(self.layer(layer)) else None

    def keep(self, key: str, step: Step, built: str) -> None:
        """Remember a step; ``built`` is the file of its layer, which is taken away."""
        if step.layer is not None:
            try:
                if is_of_a_group(self._store.path):
                    os.chmod(built, 0o664)
                os.replace(built, self.layer(step.layer))
            except OSError as error:
                raise self._store.failure(error, "keep a layer") from None
        entry = {"layer": str(step.layer or ""), "created": step.created}
        self._store.write_file(self._name(key), json.dumps(entry))

    @staticmethod
    def _name(key: str) -> str:
        return f"build/steps/{key}.json"


def key_of(*facts: Any) -> str:
    """The key of a step: the digest of all that its result depends on."""
    return hashlib.sha256(json.dumps([_FORMAT, *facts], sort_keys=True).encode()).hexdigest()
