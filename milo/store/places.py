"""Where stored candles lie: the names of files and folders, and what their sizes tell (layer 2).

Loads nothing that takes long: asked before the store itself is needed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

HISTORY: Final = "history.db"
"""The database of imported candles, in the data directory."""
_CANDLE_BYTES: Final = 48


def column_folder(db_path: Path) -> Path:
    """Return the folder of the column files that belong to a database."""
    return db_path.with_name(f"{db_path.name}.columns")


def most_candles(db_path: Path) -> int:
    """Return how many candles the longest series that has a column file may have; 0 without any.

    By the files' sizes, which are rounded up, and not looked into.
    """
    try:
        with os.scandir(column_folder(db_path)) as entries:
            sizes = [entry.stat(follow_symlinks=False).st_size for entry in entries]
    except OSError:
        return 0
    return max(sizes, default=0) // _CANDLE_BYTES
