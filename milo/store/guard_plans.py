"""The guard's own database, guard.db: its plans, and the numbers of its orders (layer 2).

The guard alone writes it, from its event loop: a commit without fsync takes some 10 microseconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from milo.store.connections import close_writer, open_writer
from milo.store.faults import store_error
from milo.store.migrations import GUARD

FILE = "guard.db"


class GuardPlans:
    """The plans of one venue's guard. All methods raise StoreError where the file is at fault."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        try:
            self._conn = open_writer(self._path, GUARD, is_durable=False)
        except sqlite3.Error as error:
            raise store_error(error, self._path) from error

    def close(self) -> None:
        """Close the file; nothing may be asked afterwards."""
        try:
            close_writer(self._conn)
        except sqlite3.Error as error:
            raise store_error(error, self._path) from error

    def load(self) -> list[tuple[str, int, int]]:
        """Return (plan as JSON, stops sent, closes sent) of every plan."""
        try:
            rows = self._conn.execute("SELECT body, stops, closes FROM plans ORDER BY name")
            return [(str(row[0]), int(row[1]), int(row[2])) for row in rows]
        except sqlite3.Error as error:
            raise store_error(error, self._path) from error

    def change(
        self,
        *,
        kept: Iterable[tuple[str, str, str, int, int]] = (),
        dropped: Iterable[str] = (),
    ) -> None:
        """Keep rows (name, run, plan as JSON, stops, closes) and drop names, all or nothing."""
        try:
            self._conn.execute("BEGIN IMMEDIATE")
            try:
                self._conn.executemany(
                    "DELETE FROM plans WHERE name = ?", [(name,) for name in dropped]
                )
                self._conn.executemany(
                    "INSERT OR REPLACE INTO plans (name, run_id, body, stops, closes) "
                    "VALUES (?, ?, ?, ?, ?)",
                    list(kept),
                )
                self._conn.execute("COMMIT")
            finally:
                if self._conn.in_transaction:
                    self._conn.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise store_error(error, self._path) from error
