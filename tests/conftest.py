"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run, however slow the machine: a red test is a change, not luck.
settings.register_profile("milo", derandomize=True, deadline=None)
settings.load_profile("milo")

PROJECT = Path(__file__).resolve().parent.parent
SHARED = PROJECT.parent / "shared"


@pytest.fixture(scope="session")
def project_dir() -> Path:
    return PROJECT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The recorded market data beside the project; skip where absent, fail if REQUIRE_DATA=1."""
    return _required(SHARED / "data")


@pytest.fixture(scope="session")
def milobot_samples() -> Path:
    """MILOBOT's documented scripts beside the project; as `shared_data`."""
    return _required(SHARED / "milobot-samples")


def _required(folder: Path) -> Path:
    if folder.is_dir():
        return folder
    message = f"{folder.name} not found beside the project: nothing to test with"
    if os.environ.get("REQUIRE_DATA") == "1":
        pytest.fail(message)
    pytest.skip(message)
