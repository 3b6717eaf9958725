"""What a venue says about its symbols, in market.db: functions of a connection (layer 2).

Each refresh replaces the whole set, because a venue's answer is the whole truth of its moment.
Values are stored as JSON with decimals as strings.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from milo.errors import StoreError
from milo.model import Instrument, LeverageBracket

T = TypeVar("T")

_ENCODER = msgspec.json.Encoder(decimal_format="string")
_INSTRUMENT = msgspec.json.Decoder(Instrument)
_BRACKETS = msgspec.json.Decoder(tuple[LeverageBracket, ...])


def save_instruments(
    conn: sqlite3.Connection, instruments: Iterable[Instrument], *, refreshed_ms: int
) -> int:
    """Replace all stored instruments; return how many there are now.

    Raises StoreError for an empty set: no venue has no symbols, so that is a failed read.
    """
    rows = [(item.symbol, _json(item), refreshed_ms) for item in instruments]
    return _replace(conn, "instruments", rows)


def load_instruments(conn: sqlite3.Connection) -> dict[str, Instrument]:
    """Return the stored instruments by symbol; empty where none were saved yet.

    Raises StoreError where a stored value cannot be read: refresh them from the venue.
    """
    return {
        symbol: _decoded(_INSTRUMENT, payload, f"the stored instrument {symbol}")
        for symbol, payload in conn.execute("SELECT symbol, payload FROM instruments")
    }


def instruments_refreshed_ms(conn: sqlite3.Connection) -> int | None:
    """Return when the instruments were saved; None where they never were."""
    return _oldest(conn, "instruments")


def save_brackets(
    conn: sqlite3.Connection,
    brackets: Mapping[str, Sequence[LeverageBracket]],
    *,
    refreshed_ms: int,
) -> int:
    """Replace all stored leverage brackets; return of how many symbols there are some now.

    Raises StoreError for an empty set, as `save_instruments`.
    """
    rows = [(symbol, _json(tuple(steps)), refreshed_ms) for symbol, steps in brackets.items()]
    return _replace(conn, "leverage_brackets", rows)


def load_brackets(conn: sqlite3.Connection) -> dict[str, tuple[LeverageBracket, ...]]:
    """Return the stored leverage brackets by symbol; errors as `load_instruments`."""
    return {
        symbol: _decoded(_BRACKETS, payload, f"the stored leverage brackets of {symbol}")
        for symbol, payload in conn.execute("SELECT symbol, payload FROM leverage_brackets")
    }


def brackets_refreshed_ms(conn: sqlite3.Connection) -> int | None:
    """Return when the leverage brackets were saved; None where they never were."""
    return _oldest(conn, "leverage_brackets")


# `table` is one of the two names above, never outside text.


def _replace(conn: sqlite3.Connection, table: str, rows: Sequence[tuple[str, str, int]]) -> int:
    if not rows:
        raise StoreError(f"an empty list of {table} is no list: nothing was changed")
    conn.execute(f"DELETE FROM {table}")  # noqa: S608
    conn.executemany(
        f"INSERT INTO {table} (symbol, payload, refreshed_ms) VALUES (?, ?, ?)",  # noqa: S608
        rows,
    )
    return len(rows)


def _oldest(conn: sqlite3.Connection, table: str) -> int | None:
    row = conn.execute(f"SELECT min(refreshed_ms) FROM {table}").fetchone()  # noqa: S608
    return None if row[0] is None else int(row[0])


def _json(value: object) -> str:
    return _ENCODER.encode(value).decode()


def _decoded(decoder: msgspec.json.Decoder[T], payload: str, what: str) -> T:
    try:
        return decoder.decode(payload)
    except msgspec.MsgspecError as error:
        raise StoreError(f"{what} cannot be read ({error}): refresh it from the venue") from error
