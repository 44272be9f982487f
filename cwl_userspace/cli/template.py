"""The part of Go's templates that callers of ``docker`` write after ``--format``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cwl_userspace.errors import UserspaceError


def render(template: str, entry: Mapping[str, Any]) -> str:
    """``{{.A.B}}`` and ``{{json .A.B}}`` within any text; ``json`` alone is all of it.

    Raise UserspaceError for a template that has no meaning and for a field that is not there.
    """
    if template == "json":
        return json.dumps(entry)
    text, rest = "", template
    while "{{" in rest:
        before, _, rest = rest.partition("{{")
        action, closed, rest = rest.partition("}}")
        if not closed:
            raise _error(template)
        text += before + _action(action.strip(), entry, template)
    return text + rest


def _action(action: str, entry: Mapping[str, Any], template: str) -> str:
    as_json = action.startswith("json ")
    path = action.removeprefix("json ").strip()
    if not path.startswith("."):
        raise _error(template)
    value: Any = entry
    for key in filter(None, path.split(".")):
        if not isinstance(value, dict) or key not in value:
            raise UserspaceError(f"no field {path!r} here", f"fields: {', '.join(entry)}")
        value = value[key]
    return json.dumps(value) if as_json or not isinstance(value, str) else value


def _error(template: str) -> UserspaceError:
    return UserspaceError(
        f"the template {template!r} cannot be used", "expected {{.Field}} or {{json .Field}}"
    )
