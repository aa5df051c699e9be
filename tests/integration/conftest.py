"""What the tests of single steps share."""

import pytest

from tasks.core import embedding


@pytest.fixture
def quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the waits between an image's attempts short; their number and growth stay."""
    monkeypatch.setattr(embedding, "FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(embedding, "LONGEST_BACKOFF_SECONDS", 0.1)
