"""Writes the files in which Docker keeps logins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cwl_userspace.image.credentials import Credentials


def auths(directory: Path, entries: dict[str, Any], **more: Any) -> Credentials:
    """Credentials from a config.json with these entries."""
    path = directory / "config.json"
    path.write_text(json.dumps({"auths": entries, **more}))
    return Credentials([str(path)])
