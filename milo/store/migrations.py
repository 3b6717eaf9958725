"""The databases' schemas as numbered steps, forward only (layer 2).

`PRAGMA user_version` holds the number of the last step that a file has taken, `PRAGMA
application_id` which of our databases it is. A step that has been released is never changed; a new
one is added behind it.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from milo.errors import StoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """One kind of database: its mark in the file and its steps, each a tuple of statements."""

    title: str
    application_id: int
    steps: tuple[tuple[str, ...], ...]

    @property
    def version(self) -> int:
        return len(self.steps)


# A mark of what each series holds, new after every change whoever makes it: what is derived from
# candles shows by it that it is still right (milo.store.columns). Marks are drawn at random, so
# that a file restored from a copy never counts its way back to a mark that stood for other
# candles. `rewritten` stays while candles are only added behind the last one.
_SERIES_VERSIONS = (
    """CREATE TABLE series_versions (
        symbol TEXT NOT NULL,
        interval TEXT NOT NULL,
        version INTEGER NOT NULL,
        rewritten INTEGER NOT NULL,
        last_ms INTEGER NOT NULL,
        PRIMARY KEY (symbol, interval)
    ) WITHOUT ROWID""",
    """INSERT INTO series_versions (symbol, interval, version, rewritten, last_ms)
       SELECT symbol, interval, random(), random(), max(open_ms)
       FROM klines GROUP BY symbol, interval""",
    """CREATE TRIGGER klines_added AFTER INSERT ON klines
       BEGIN
           INSERT INTO series_versions (symbol, interval, version, rewritten, last_ms)
           VALUES (NEW.symbol, NEW.interval, random(), random(), NEW.open_ms)
           ON CONFLICT (symbol, interval) DO UPDATE SET
               version = excluded.version,
               rewritten = CASE WHEN excluded.last_ms > last_ms THEN rewritten
                           ELSE excluded.rewritten END,
               last_ms = max(last_ms, excluded.last_ms);
       END""",
    """CREATE TRIGGER klines_changed AFTER UPDATE ON klines
       BEGIN
           UPDATE series_versions SET version = random(), rewritten = random()
           WHERE symbol = OLD.symbol AND interval = OLD.interval;
           INSERT INTO series_versions (symbol, interval, version, rewritten, last_ms)
           VALUES (NEW.symbol, NEW.interval, random(), random(), NEW.open_ms)
           ON CONFLICT (symbol, interval) DO UPDATE SET
               version = excluded.version, rewritten = excluded.rewritten,
               last_ms = max(last_ms, excluded.last_ms);
       END""",
    """CREATE TRIGGER klines_removed AFTER DELETE ON klines
       BEGIN
           UPDATE series_versions SET version = random(), rewritten = random()
           WHERE symbol = OLD.symbol AND interval = OLD.interval;
       END""",
)

MARKET = Schema(
    title="market data",
    application_id=0x4D694C6D,  # "MiLm"
    steps=(
        (
            """CREATE TABLE klines (
                symbol TEXT NOT NULL,
                interval TEXT NOT NULL,
                open_ms INTEGER NOT NULL,
                open REAL NOT NULL,
                high REAL NOT NULL,
                low REAL NOT NULL,
                close REAL NOT NULL,
                volume REAL NOT NULL,
                PRIMARY KEY (symbol, interval, open_ms)
            ) WITHOUT ROWID""",
            """CREATE TABLE instruments (
                symbol TEXT NOT NULL PRIMARY KEY,
                payload TEXT NOT NULL,
                refreshed_ms INTEGER NOT NULL
            )""",
            """CREATE TABLE leverage_brackets (
                symbol TEXT NOT NULL PRIMARY KEY,
                payload TEXT NOT NULL,
                refreshed_ms INTEGER NOT NULL
            )""",
            """CREATE TABLE funding_rates (
                symbol TEXT NOT NULL,
                time_ms INTEGER NOT NULL,
                rate TEXT NOT NULL,
                PRIMARY KEY (symbol, time_ms)
            ) WITHOUT ROWID""",
            """CREATE TABLE upkeep (
                task TEXT NOT NULL PRIMARY KEY,
                done_ms INTEGER NOT NULL
            ) WITHOUT ROWID""",
        ),
        _SERIES_VERSIONS,
    ),
)

# What scripts saw and answered, so that a run can be decided again. Prices are candles as they were
# told, the forming ones included; an evaluation names the forming candle that it was made on.
_SESSIONS = (
    """CREATE TABLE histories (
        run_id TEXT NOT NULL REFERENCES runs (run_id),
        script INTEGER NOT NULL,
        name TEXT NOT NULL,
        path TEXT NOT NULL,
        text_sha256 TEXT NOT NULL,
        inputs TEXT NOT NULL,
        symbol TEXT NOT NULL,
        timeframe TEXT NOT NULL,
        first_ms INTEGER NOT NULL,
        last_ms INTEGER NOT NULL,
        candles_sha256 TEXT NOT NULL,
        reads_account INTEGER NOT NULL,
        is_live_loop INTEGER NOT NULL,
        PRIMARY KEY (run_id, script)
    ) WITHOUT ROWID""",
    """CREATE TABLE prices (
        run_id TEXT NOT NULL REFERENCES runs (run_id),
        number INTEGER NOT NULL,
        script INTEGER NOT NULL,
        time_ms INTEGER NOT NULL,
        is_closed INTEGER NOT NULL,
        open_ms INTEGER NOT NULL,
        open REAL NOT NULL,
        high REAL NOT NULL,
        low REAL NOT NULL,
        close REAL NOT NULL,
        volume REAL NOT NULL,
        PRIMARY KEY (run_id, number)
    ) WITHOUT ROWID""",
    """CREATE TABLE evaluations (
        run_id TEXT NOT NULL REFERENCES runs (run_id),
        number INTEGER NOT NULL,
        script INTEGER NOT NULL,
        time_ms INTEGER NOT NULL,
        open_ms INTEGER NOT NULL,
        price INTEGER,
        action TEXT,
        account TEXT,
        PRIMARY KEY (run_id, number)
    ) WITHOUT ROWID""",
    *(
        f"""CREATE TRIGGER {table}_{name} BEFORE {event} ON {table}
            BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"""
        for table in ("histories", "prices", "evaluations")
        for name, event in (("stay", "UPDATE"), ("remain", "DELETE"))
    ),
)

JOURNAL = Schema(
    title="journal",
    application_id=0x4D694C6A,  # "MiLj"
    steps=(
        (
            """CREATE TABLE runs (
                run_id TEXT NOT NULL PRIMARY KEY,
                venue TEXT NOT NULL,
                header TEXT NOT NULL,
                started_ms INTEGER NOT NULL,
                ended_ms INTEGER
            )""",
            """CREATE TABLE entries (
                run_id TEXT NOT NULL REFERENCES runs (run_id),
                seq INTEGER NOT NULL,
                time_ms INTEGER NOT NULL,
                kind TEXT NOT NULL,
                body TEXT NOT NULL,
                PRIMARY KEY (run_id, seq)
            )""",
            # What happened stays as it was written, whoever opens the file. The first two keep
            # INSERT OR REPLACE out, which deletes without asking the triggers for DELETE.
            """CREATE TRIGGER entries_once BEFORE INSERT ON entries
               WHEN EXISTS (SELECT 1 FROM entries WHERE run_id = NEW.run_id AND seq = NEW.seq)
               BEGIN SELECT RAISE(ABORT, 'the journal has that entry already'); END""",
            """CREATE TRIGGER runs_once BEFORE INSERT ON runs
               WHEN EXISTS (SELECT 1 FROM runs WHERE run_id = NEW.run_id)
               BEGIN SELECT RAISE(ABORT, 'the journal has that run already'); END""",
            """CREATE TRIGGER entries_stay BEFORE UPDATE ON entries
               BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
            """CREATE TRIGGER entries_remain BEFORE DELETE ON entries
               BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
            """CREATE TRIGGER runs_remain BEFORE DELETE ON runs
               BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
            """CREATE TRIGGER runs_stay BEFORE UPDATE ON runs
               WHEN OLD.ended_ms IS NOT NULL
                 OR (NEW.run_id, NEW.venue, NEW.header, NEW.started_ms)
                    IS NOT (OLD.run_id, OLD.venue, OLD.header, OLD.started_ms)
               BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
        ),
        _SESSIONS,
    ),
)

GUARD = Schema(
    title="guard",
    application_id=0x4D694C67,  # "MiLg"
    steps=(
        (
            # What must be protected, so that the guard's own death forgets nothing; and how many
            # orders of each kind were sent for it: their names are not used again.
            """CREATE TABLE plans (
                name TEXT NOT NULL PRIMARY KEY,
                run_id TEXT NOT NULL,
                body TEXT NOT NULL,
                stops INTEGER NOT NULL DEFAULT 0,
                closes INTEGER NOT NULL DEFAULT 0
            ) WITHOUT ROWID""",
        ),
    ),
)


def check_schema(conn: sqlite3.Connection, schema: Schema, name: str) -> int:
    """Return the version of the file behind `conn`; 0 for a new, empty one. Nothing is written.

    Raises StoreError, with `name` in its text, where the file is another program's, another kind
    of ours, or made by a newer Milo.
    """
    version, application_id, tables = _marks(conn)
    is_new = not (version or application_id or tables)
    if not is_new and application_id != schema.application_id:
        raise StoreError(f"{name} is not a {schema.title} database of Milo: move it away")
    if version > schema.version:
        raise StoreError(
            f"{name} was made by a newer Milo (schema {version}, this one knows {schema.version}): "
            "update Milo, or use another --data-dir"
        )
    return version


def _marks(conn: sqlite3.Connection) -> tuple[int, int, int]:
    """Read (user_version, application_id, number of tables) as of one moment."""
    if conn.in_transaction:
        version = conn.execute("PRAGMA user_version").fetchone()[0]
        application_id = conn.execute("PRAGMA application_id").fetchone()[0]
        tables = conn.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        return int(version), int(application_id), int(tables)
    # Another program may be making the file between one look and the next.
    conn.execute("BEGIN")
    try:
        return _marks(conn)
    finally:
        if conn.in_transaction:
            conn.execute("ROLLBACK")


def migrate(conn: sqlite3.Connection, schema: Schema, name: str) -> int:
    """Take every step that the file has not taken yet, each in its own transaction.

    Returns how many were taken. `conn` must be in autocommit mode. Raises as `check_schema`.
    """
    taken = 0
    while check_schema(conn, schema, name) < schema.version:
        conn.execute("BEGIN IMMEDIATE")
        try:
            # Another program may have been here between the look and the lock.
            version = check_schema(conn, schema, name)
            if version < schema.version:
                _take_step(conn, schema, version)
                taken += 1
            conn.execute("COMMIT")
        finally:
            if conn.in_transaction:
                conn.execute("ROLLBACK")
    return taken


def _take_step(conn: sqlite3.Connection, schema: Schema, version: int) -> None:
    for statement in schema.steps[version]:
        conn.execute(statement)
    # PRAGMA takes no bound parameters; both are our own integers.
    conn.execute(f"PRAGMA application_id = {schema.application_id}")
    conn.execute(f"PRAGMA user_version = {version + 1}")
