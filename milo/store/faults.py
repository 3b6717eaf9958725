"""SQLite's errors in words that say what to do (layer 2)."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from milo.errors import StoreError

_ADVICE = {
    sqlite3.SQLITE_CORRUPT: "the database is damaged: {path}; move it away or restore a copy, it is"
    " left as it is",
    sqlite3.SQLITE_NOTADB: "{path} is not a database or is damaged: move it away or restore a copy,"
    " it is left as it is",
    sqlite3.SQLITE_FULL: "the disk is full: nothing was written to {path}; make room and try again",
    sqlite3.SQLITE_READONLY: "{path} is read-only: allow writing, or use another --data-dir",
    sqlite3.SQLITE_PERM: "no permission for {path}: allow it, or use another --data-dir",
    sqlite3.SQLITE_CANTOPEN: "cannot open {path}: check that its folder exists and may be written",
    sqlite3.SQLITE_BUSY: "{path} is locked by another program: close it and try again",
    sqlite3.SQLITE_LOCKED: "{path} is locked by another program: close it and try again",
    sqlite3.SQLITE_IOERR: "the disk that holds {path} fails ({error}): check it; nothing was"
    " written",
    sqlite3.SQLITE_INTERRUPT: "the work on {path} was interrupted, nothing was written",
}


def store_error(error: sqlite3.Error, path: Path) -> StoreError:
    """Translate an error of SQLite on a file of ours into one clear line."""
    # Errors that the Python module itself raises carry no code.
    code = getattr(error, "sqlite_errorcode", None)
    # The low byte is the kind; the rest says more about it.
    advice = _ADVICE.get(code & 0xFF) if code is not None else None
    if advice is None:
        return StoreError(f"{path} cannot be read or written: {error}")
    return StoreError(advice.format(path=path, error=error))
