"""The embedded exchange's own database: `exchange.db` in its state folder.

What changed is committed before anyone is told of it, in the same turn of the loop: a commit to
the write-ahead log takes some 50 us, and a thread between deciding and telling would let others
see half of it. After kill -9 the file is as of the last change of the account.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from milo.errors import StoreError
from milo.exchange.account import Position
from milo.exchange.state import (
    KEEP_MS,
    Algo,
    Changes,
    Counters,
    ExchangeState,
    Income,
    Order,
    Trade,
)

FILE_NAME = "exchange.db"
_VERSION = 1
_BUSY_S = 2.0

_TABLES = """
CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), body BLOB NOT NULL);
CREATE TABLE secrets (id INTEGER PRIMARY KEY CHECK (id = 1), body BLOB NOT NULL);
CREATE TABLE orders (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE algos (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE positions (symbol TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE leverages (symbol TEXT PRIMARY KEY, leverage INTEGER NOT NULL);
CREATE TABLE trades (id INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE incomes (id INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, body BLOB NOT NULL);
"""

_ACCOUNT_TABLES = ("meta", "orders", "algos", "positions", "leverages", "trades", "incomes")

_Record = TypeVar("_Record", Order, Algo, Trade, Income)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Made at random for a state folder, once."""

    api_key: str
    api_secret: str
    control_token: str

    def __repr__(self) -> str:
        return f"Secrets(api_key={self.api_key[:4]}...)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """Everything that is one of its kind."""

    identity: str
    clock_ms: int
    wallet: int
    start_balance: int
    start_ms: int
    counters: Counters
    listen_key: str | None
    account_id: str = ""
    """Empty in a file that is older than these ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What an earlier run left behind."""

    meta: Meta
    state: ExchangeState


class StateDb:
    """The open database; one process at a time has it (the folder's lock sees to that)."""

    def __init__(self, folder: Path) -> None:
        """Open or make the file, readable by its owner only. Raises StoreError."""
        self._path = folder / FILE_NAME
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            self._conn = sqlite3.connect(self._path, isolation_level=None, timeout=_BUSY_S)
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise self._damaged(error) from error
        self._meta: Meta | None = None

    def _prepare(self) -> None:
        conn = self._conn
        conn.execute("PRAGMA journal_mode=WAL")
        conn.execute("PRAGMA synchronous=NORMAL")
        (version,) = conn.execute("PRAGMA user_version").fetchone()
        if version == 0:
            conn.executescript(f"BEGIN IMMEDIATE;{_TABLES}PRAGMA user_version={_VERSION};COMMIT;")
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"its version is {version}, this Milo knows {_VERSION}")
        conn.execute("SELECT count(*) FROM meta").fetchone()

    def close(self) -> None:
        self._conn.close()

    def secrets(self) -> Secrets | None:
        """Return the folder's keys, None where they were not made yet. Raises StoreError."""
        try:
            row = self._conn.execute("SELECT body FROM secrets").fetchone()
            return msgspec.json.decode(row[0], type=Secrets) if row else None
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise self._damaged(error) from error

    def put_secrets(self, secrets: Secrets) -> None:
        self._write([("INSERT OR REPLACE INTO secrets VALUES (1, ?)", [(_packed(secrets),)])])

    def load(self) -> Saved | None:
        """Return what an earlier run left, None for a fresh folder. Raises StoreError."""
        try:
            row = self._conn.execute("SELECT body FROM meta").fetchone()
            if row is None:
                return None
            self._meta = msgspec.json.decode(row[0], type=Meta)
            return Saved(meta=self._meta, state=self._load_state(self._meta))
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise self._damaged(error) from error

    def clear_account(self) -> None:
        """Forget the account and the clock; the keys stay."""
        self._write([(f"DELETE FROM {table}", [()]) for table in _ACCOUNT_TABLES])  # noqa: S608

    def save(self, changes: Changes, state: ExchangeState, meta: Meta) -> None:
        """Commit what changed, all or nothing. Raises StoreError where the disk refuses."""
        self._meta = meta
        self._write(
            [
                ("INSERT OR REPLACE INTO meta VALUES (1, ?)", [(_packed(meta),)]),
                (
                    "INSERT OR REPLACE INTO orders VALUES (?, ?)",
                    [(key, _packed(state.orders[key])) for key in sorted(changes.orders)],
                ),
                (
                    "INSERT OR REPLACE INTO algos VALUES (?, ?)",
                    [(key, _packed(state.algos[key])) for key in sorted(changes.algos)],
                ),
                (
                    "INSERT OR REPLACE INTO positions VALUES (?, ?)",
                    [(key, _packed(state.positions[key])) for key in sorted(changes.positions)],
                ),
                (
                    "INSERT OR REPLACE INTO leverages VALUES (?, ?)",
                    [(key, state.leverages[key]) for key in sorted(changes.leverages)],
                ),
                (
                    "INSERT OR REPLACE INTO trades VALUES (?, ?, ?)",
                    [(t.trade_id, t.time_ms, _packed(t)) for t in changes.trades],
                ),
                (
                    "INSERT OR REPLACE INTO incomes VALUES (?, ?, ?)",
                    [(i.income_id, i.time_ms, _packed(i)) for i in changes.incomes],
                ),
            ]
        )

    def _write(self, statements: Iterable[tuple[str, list[tuple[object, ...]]]]) -> None:
        try:
            self._conn.execute("BEGIN IMMEDIATE")
            try:
                for sql, rows in statements:
                    if rows:
                        self._conn.executemany(sql, rows)
            except sqlite3.Error:
                self._conn.execute("ROLLBACK")
                raise
            self._conn.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"cannot write {self._path}: {error}") from error

    def _load_state(self, meta: Meta) -> ExchangeState:
        state = ExchangeState()
        state.wallet = meta.wallet
        state.start_balance, state.start_ms = meta.start_balance, meta.start_ms
        state.counters = meta.counters
        state.account_id = meta.account_id
        for order in self._records("SELECT body FROM orders ORDER BY id", Order):
            state.add_order(order)
        for algo in self._records("SELECT body FROM algos ORDER BY id", Algo):
            state.add_algo(algo)
        for (body,) in self._conn.execute("SELECT body FROM positions ORDER BY symbol"):
            position = msgspec.json.decode(body, type=Position)
            state.positions[position.symbol] = position
        state.leverages = dict(self._conn.execute("SELECT symbol, leverage FROM leverages"))
        since_ms = meta.clock_ms - KEEP_MS
        recent = "SELECT body FROM {} WHERE time_ms > ? ORDER BY id"
        state.trades = self._records(recent.format("trades"), Trade, since_ms)
        state.incomes = self._records(recent.format("incomes"), Income, since_ms)
        state.forget(meta.clock_ms)
        state.take_changes()
        return state

    def _records(self, sql: str, kind: type[_Record], *args: int) -> list[_Record]:
        decoder = msgspec.json.Decoder(kind)
        return [decoder.decode(body) for (body,) in self._conn.execute(sql, args)]

    def _damaged(self, error: Exception) -> StoreError:
        return StoreError(
            f"{self._path} cannot be used: {error}; move it away to begin with a new account"
        )


def _packed(record: object) -> bytes:
    return msgspec.json.encode(record)
