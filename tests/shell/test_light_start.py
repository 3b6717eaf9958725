"""Commands that need little start quickly: they load none of the heavy libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
HEAVY = ("numpy", "aiohttp", "sqlite3", "cryptography", "talib", "RestrictedPython", "msgspec")
SHOWING = f"""
import sys
import main
assert main.main(["--show-config"]) == 0
print("loaded", [name for name in {HEAVY} if name in sys.modules])
"""
LOADING = """
import sys
import milo.columnfile
import milo.store.columns
heavy = ("asyncio", "aiohttp", "cryptography", "talib", "RestrictedPython", "tempfile")
print("loaded", [name for name in heavy if name in sys.modules])
"""


@pytest.mark.parametrize("program", [SHOWING, LOADING], ids=["show-config", "stored candles"])
def test_nothing_heavy_is_loaded_that_is_not_needed(program: str, tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert told.stdout.splitlines()[-1] == "loaded []"
