"""Open a database of ours: the settings of a connection and the checks before its use (layer 2)."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from time import sleep

from milo.clock import monotonic_s
from milo.errors import StoreError
from milo.store.faults import store_error
from milo.store.migrations import Schema, check_schema, migrate

BUSY_MS = 5_000
"""How long to wait for another program's transaction before giving up."""

_RETRY_S = 0.01
_CLOSING_BUSY_MS = 200
_CACHE_KIB = 32 * 1024
_WAL_KEPT_BYTES = 64 * 1024 * 1024


def open_writer(path: Path, schema: Schema, *, is_durable: bool) -> sqlite3.Connection:
    """Open or create a database for its one writer, in autocommit mode, migrated.

    `is_durable` makes a commit survive the death of the machine, not only of the process.
    The folder is made where missing. A file that is not ours or is damaged is refused before
    anything is written to it. Raises StoreError, sqlite3.Error.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder {path.parent}: {error.strerror}") from error
    conn = _connect(path, "rwc")
    try:
        check_schema(conn, schema, str(path))
        if _switch_to_wal(conn) != "wal":
            raise StoreError(f"{path}: this disk does not support SQLite's WAL; use another one")
        conn.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
        conn.execute("PRAGMA foreign_keys = ON")
        conn.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}")
        conn.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        migrate(conn, schema, str(path))
    except BaseException:
        conn.close()
        raise
    return conn


def open_reader(path: Path, schema: Schema) -> sqlite3.Connection:
    """Open an existing database for reading only, in autocommit mode.

    Raises StoreError where there is none or an older Milo made it, sqlite3.Error.
    """
    if not path.exists():
        raise StoreError(f"no database at {path} yet: fill it with --initdb or --import-klines")
    conn = _connect(path, "ro")
    try:
        version = check_schema(conn, schema, str(path))
        if version < schema.version:
            raise StoreError(
                f"{path} was made by an older Milo (schema {version}, this one needs "
                f"{schema.version}): start Milo on it once, which brings it up to date"
            )
        conn.execute("PRAGMA query_only = ON")
    except BaseException:
        conn.close()
        raise
    return conn


@contextlib.contextmanager
def reading(path: Path, schema: Schema) -> Iterator[sqlite3.Connection]:
    """Read a database that may have had no writer since Milo was updated: it is brought up to date
    first, and closed afterwards.

    Raises StoreError, also for what SQLite raises meanwhile.
    """
    try:
        bring_up_to_date(path, schema)
        conn = open_reader(path, schema)
        try:
            yield conn
        finally:
            close_reader(conn)
    except sqlite3.Error as error:
        raise store_error(error, path) from error


def bring_up_to_date(path: Path, schema: Schema) -> None:
    """Take the steps that an existing database lacks; one that lacks none is not written to.

    For readers of a database that may have had no writer since Milo was updated.
    Raises as `open_writer`; a missing file is left missing.
    """
    if not path.exists():
        return
    conn = _connect(path, "ro")
    try:
        is_old = check_schema(conn, schema, str(path)) < schema.version
    finally:
        conn.close()
    if is_old:
        close_writer(open_writer(path, schema, is_durable=False))


def close_reader(conn: sqlite3.Connection) -> None:
    """Close a connection that only read."""
    conn.close()


def close_writer(conn: sqlite3.Connection) -> None:
    """Move the log into the database where nobody else is using it, and close the connection."""
    try:
        conn.execute(f"PRAGMA busy_timeout = {_CLOSING_BUSY_MS}")
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        conn.close()


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # as_uri quotes what a path may hold: %, ?, # and other scripts.
    conn = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_MS / 1000,
        isolation_level=None,
    )
    conn.execute("PRAGMA trusted_schema = OFF")
    return conn


def _switch_to_wal(conn: sqlite3.Connection) -> str:
    """Set the journal mode and return the one that is on now."""
    deadline_s = monotonic_s() + BUSY_MS / 1000
    while True:
        try:
            return str(conn.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            # Where two programs make the file at once, SQLite does not wait here by itself.
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or monotonic_s() >= deadline_s:
                raise
        sleep(_RETRY_S)
