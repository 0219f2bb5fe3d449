"""A browser for the tests of one process."""

from collections.abc import Callable, Iterator

import pytest
from browser import Page, browsing


@pytest.fixture(scope="session")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Page]]:
    """Opens a tab."""
    with browsing(tmp_path_factory.mktemp("profile")) as opened:
        yield opened
