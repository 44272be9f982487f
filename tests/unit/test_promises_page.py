"""The page of promises: made by a script, and complete for the engines that there are."""

from __future__ import annotations

from pathlib import Path

from conformance.promises import Table
from cwl_userspace.engines.base import PROMISES
from cwl_userspace.engines.choose import ENGINES

PAGE = Path(__file__).parents[2] / "docs" / "promises.rst"


def test_the_page_has_every_engine_and_every_promise() -> None:
    text = PAGE.read_text()
    columns = next(line for line in text.splitlines() if line.startswith("promise ")).split()
    unavailable = {name for name in ENGINES if f"**{name}**, " in text}
    assert {*columns[1:]} | unavailable == {*ENGINES}
    rows = [line.partition("  ")[0] for line in text.splitlines() if not line.startswith("=")]
    assert [row for row in rows if row in PROMISES] == list(PROMISES)


def test_the_page_shows_no_broken_promise() -> None:
    text = PAGE.read_text()
    assert "BROKEN" not in text and "not tried" not in text


def test_a_table_tells_kept_from_named_from_broken_from_untried() -> None:
    def engine(name: str, reason: str, kept: bool | None, found: str) -> dict[str, object]:
        said = dict.fromkeys(PROMISES, reason)
        tried = {promise: {"kept": kept, "reason": found} for promise in PROMISES}
        return {"name": name, "works": True, "promises": said, "tried": tried, "reason": ""}

    engines = [
        engine("good", "", True, ""),
        engine("modest", "it cannot", False, "seen"),
        engine("careless", "", False, "it leaks"),
        engine("shy", "", None, "cannot try: no"),
        {"name": "away", "works": False, "reason": "not here", "promises": {}, "tried": {}},
    ]
    text = Table({"engines": engines}).text()
    row = next(line for line in text.splitlines() if line.startswith(PROMISES[0]))
    cells = row.removeprefix(PROMISES[0]).split("  ")
    shown = [cell.strip() for cell in cells if cell.strip()]
    assert shown == ["yes", "no [1]_", "BROKEN [2]_", "not tried [3]_"]
    assert ".. [1] modest: it cannot\n" in text and ".. [2] careless: it leaks\n" in text
    assert "**away**, not here." in text
