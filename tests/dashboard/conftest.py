"""What the tests of the dashboard's parts share."""

from collections.abc import Iterator

import pytest

from prdp_explorer.dashboard import _controls


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The notifications that a person would have seen."""
    messages: list[str] = []
    monkeypatch.setattr(_controls, "notify", messages.append)
    yield messages
