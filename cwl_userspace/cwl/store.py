"""The stores of whoever runs cwltool: his own, and those beneath it."""

from __future__ import annotations

from cwltool.loghandler import _logger

from cwl_userspace.settings import Settings
from cwl_userspace.store.beneath import opened
from cwl_userspace.store.store import Store


def store_of(settings: Settings) -> Store:
    """Where images are looked for; cwltool's log says which stores beneath cannot be read."""
    store = opened(settings.store, settings.beneath, _logger.info)
    store.unpacked_limit = settings.unpacked_limit
    return store
