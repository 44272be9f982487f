"""Values that have no meaning: each is refused in one line, by whichever verb it is given to."""

from __future__ import annotations

import pytest

from tests.containers import Home

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home without images and without containers."""
    return Home(tmp_path_factory.mktemp("empty"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("ps --filter status=nonsense", "status=nonsense is not known"),
        ("ps --filter exited=x", "exited=x is not known"),
        ("ps --filter name=(", "name=( is no pattern"),
        ("ps --filter before=nobody", "no container 'nobody'"),
        ("ps --filter size=1", "'size=1' is not known"),
        ("images --filter dangling=x", "dangling=x is not known"),
        ("images --filter since=nothing", "nothing"),
    ],
)
def test_a_wrong_filter_is_refused_where_there_is_nothing_to_list(
    empty: Home, words: str, said: str
) -> None:
    ran = empty.call(*words.split())
    assert ran.code in (1, 125) and said in ran.complaint
