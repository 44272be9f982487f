"""Write docs/words.rst: each word of other engines' command lines, and what answers it.

usage: python -m conformance.words

What is written comes from the tables by which the modules of ``cwl_userspace.shims`` answer.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from conformance.docs.rst import list_table
from cwl_userspace.cli import VERBS
from cwl_userspace.cli.shim import NAMES

PAGE = Path(__file__).parents[1] / "docs/words.rst"
_HEAD = """\
Everybody's words
=================

.. Made by python -m conformance.words; do not edit.

What each word of other engines' command lines is answered by, where ``cwl-userspace shim`` has made
executables of their names. What has a dash is no word there, or is not known here. Words that the
table does not have are refused with the list of those that are known.

"""
_TAIL = """
Our own verbs are those of ``cwl-userspace help``, and each has a manual page: {verbs}.
"""
_NONE = "\\-"


def page() -> str:
    """The page as a whole."""
    engines = engines_words()
    rows = [["word", *engines]]
    for word in sorted({word for words in engines.values() for word in words}):
        rows.append([f"``{word}``", *(words.get(word, _NONE) for words in engines.values())])
    verbs = ", ".join(f"``{verb}``" for verb in VERBS)
    return _HEAD + list_table(rows) + _TAIL.format(verbs=verbs)


def engines_words() -> dict[str, Mapping[str, str]]:
    """The words of each engine; names that one module answers are one column."""
    modules: dict[str, list[str]] = {}
    for name, module in NAMES.items():
        modules.setdefault(module, []).append(name)
    return {", ".join(names): words_of(module) for module, names in modules.items()}


def words_of(name: str) -> Mapping[str, str]:
    """What each word of a shim is answered by, or one sentence where it is refused."""
    module = importlib.import_module(f"cwl_userspace.shims.{name}")
    return _READERS[name](module)


def _docker(module: ModuleType) -> dict[str, str]:
    words = {word: f"refused: {why}" for word, why in module._INSTEAD.items()}
    words |= dict.fromkeys(module.OWN, "as Docker has it")
    words |= {word: _ours(word) for word in module.SAME}
    for group, known in module._GROUPED.items():
        words |= {f"{group} {word}": _same_as(meant, words) for word, meant in known.items()}
    return words


def _same_as(meant: Sequence[str], words: Mapping[str, str]) -> str:
    known = meant[0] in words and not words[meant[0]].startswith("refused")
    return f"the same as ``{' '.join(meant)}``" if known else "as Docker has it"


def _udocker(module: ModuleType) -> dict[str, str]:
    return {word: entry[2] for word, entry in module.COMMANDS.items()}


def _dx_docker(module: ModuleType) -> dict[str, str]:
    words = dict.fromkeys(module.ELSEWHERE, "refused: it is for DNAnexus's platform")
    return words | {word: _ours(word) for word in ("pull", "run")}


def _plurality(module: ModuleType) -> dict[str, str]:
    words = {word: f"our ``{' '.join(meant)}``" for word, meant in module._OURS.items()}
    return words | {"create": "our ``create``, with the name as an argument"}


def _singularity(module: ModuleType) -> dict[str, str]:
    words = {word: f"refused: {why}" for word, why in module._REFUSED.items()}
    return words | dict.fromkeys(module.VERBS, "as Singularity has it")


def _ours(verb: str) -> str:
    return f"our ``{verb}``" if verb in VERBS else "as Docker has it"


_READERS: dict[str, Callable[[ModuleType], dict[str, str]]] = {
    "docker": _docker,
    "udocker": _udocker,
    "dx_docker": _dx_docker,
    "plurality": _plurality,
    "singularity": _singularity,
}


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
