"""What the tests of the dashboard's parts share."""

import sys

import pytest

from prdp_explorer.dashboard import _session


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The notifications that a person would have seen, whichever part of the page they come from."""
    messages: list[str] = []
    notify = _session.notify
    for name, module in list(sys.modules.items()):
        if name.startswith("prdp_explorer.dashboard.") and getattr(module, "notify", None) is notify:
            monkeypatch.setattr(module, "notify", messages.append)
    return messages
