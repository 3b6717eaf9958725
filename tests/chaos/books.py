"""The comparison of the books: what the engine's journal and book say against the ledger.

The journal is read as any stranger would read it: rows of SQLite, bodies of JSON.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.chaos.judge import BOOKS, Finding, money, shown
from tests.chaos.ledger import OURS, ZERO, Line, World, decimal_of, is_true

SETTLED_MS = 1_000.0
"""What happened at the exchange within the engine's last second may or may not be in its book."""
MOMENT_MS = 1.0
"""What one execution changes is written to the ledger within this time."""
READINGS = 2
"""The last readings of the account that may be the journal's last: one can die with the engine."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the journal; `body` is its JSON."""

    run_id: str
    kind: str
    body: dict[str, Any]


def read_journal(path: Path) -> list[Entry]:
    """Return the events of all runs in the order in which they were written."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        rows = connection.execute(
            "SELECT run_id, kind, body FROM entries WHERE kind LIKE 'event.%' ORDER BY rowid"
        ).fetchall()
    finally:
        connection.close()
    return [Entry(run_id, kind, json.loads(body)) for run_id, kind, body in rows]


def compare_books(
    lines: Sequence[Line],
    journal: Iterable[Entry],
    result: dict[str, Any] | None,
    ended_t: float,
) -> list[Finding]:
    """Return every difference; `result` and `ended_t` are of the last engine, ended in order."""
    entries = list(journal)
    found = _compare_readings(lines, entries)
    told = _told(lines, entries, ended_t)
    found += _compare_fills(told, entries)
    if result is None:
        found.append(_finding("the engine could not be started again and ended in order"))
    else:
        found += _compare_book(lines, result, ended_t)
        found += _compare_sums(told, result, ended_t)
    return found


def _told(lines: Sequence[Line], entries: Sequence[Entry], ended_t: float) -> Sequence[Line]:
    """Return the ledger without what was executed when the last engine listened no more.

    The market does not wait for it to end: the newest executions of its last second, where none of
    them came to its journal.
    """
    fills = journal_fills(entries)
    first: Line | None = None
    for trade_id, line in reversed(our_trades(lines).items()):
        if trade_id in fills or not ended_t - SETTLED_MS < line["t"]:
            break
        first = line
    if first is None:
        return lines
    # What an execution does to wallet and position stands before it, in the same moment.
    return [line for line in lines if line["t"] < first["t"] - MOMENT_MS]


def _finding(text: str, *lines: Line) -> Finding:
    return Finding(invariant=BOOKS, text=text, evidence=shown(lines))


# --- executions -------------------------------------------------------------------------------


def our_trades(lines: Iterable[Line]) -> dict[int, Line]:
    """Return the trades of our orders and forced ones, by trade id."""
    return {
        int(line["trade_id"]): line
        for line in lines
        if line["kind"] == "trade"
        and (line["client_id"].startswith(OURS) or is_true(line.get("forced")))
    }


def journal_fills(entries: Iterable[Entry]) -> dict[int, dict[str, Any]]:
    """Return every execution that the journal knows, by trade id."""
    found: dict[int, dict[str, Any]] = {}
    for entry in entries:
        if entry.kind in ("event.OrderEvent", "event.FillFound"):
            fill = entry.body.get("fill")
            if fill is not None:
                found[int(fill["trade_id"])] = fill
    return found


def _compare_fills(lines: Sequence[Line], entries: Sequence[Entry]) -> list[Finding]:
    trades, fills = our_trades(lines), journal_fills(entries)
    found = [
        _finding(f"execution {trade_id} is not in the journal", line)
        for trade_id, line in trades.items()
        if trade_id not in fills
    ]
    found += [
        _finding(f"the journal's execution {trade_id} is not in the ledger", fill)
        for trade_id, fill in fills.items()
        if trade_id not in trades
    ]
    for trade_id in trades.keys() & fills.keys():
        line, fill = trades[trade_id], fills[trade_id]
        for name in ("qty", "price", "fee", "realized"):
            if decimal_of(line[name]) != decimal_of(fill[name]):
                text = f"execution {trade_id}: {name} {fill[name]} in the journal"
                found.append(_finding(f"{text}, {line[name]} in the ledger", line, fill))
    return found


# --- readings of the account ------------------------------------------------------------------


def _compare_readings(lines: Sequence[Line], entries: Sequence[Entry]) -> list[Finding]:
    readings = [entry.body for entry in entries if entry.kind == "event.AccountRead"]
    if not readings:
        return [_finding("the journal has no reading of the account")]
    last = readings[-1]
    wallets, positions = _as_read(lines)
    wallet = decimal_of(last["balance"]["wallet"])
    held = {row["symbol"]: decimal_of(row["qty"]) for row in last["positions"]}
    held = {symbol: qty for symbol, qty in held.items() if qty}
    found = []
    if wallet not in wallets:
        text = f"the last reading's wallet is {money(wallet)}, the ledger's was"
        found.append(_finding(f"{text} {', '.join(money(one) for one in wallets)}"))
    if held not in positions:
        found.append(
            _finding(f"the last reading's positions are {_text(held)}, the ledger's were"
                     f" {' or '.join(_text(one) for one in positions)}")
        )  # fmt: skip
    return found


def _as_read(lines: Sequence[Line]) -> tuple[list[Decimal], list[dict[str, Decimal]]]:
    """Return wallet and positions at the last answered readings of each."""
    world = World()
    asked: dict[Any, Line] = {}
    wallets: list[Decimal] = []
    positions: list[dict[str, Decimal]] = []
    for line in lines:
        world.take(line)
        if line["kind"] == "request":
            asked[line["n"]] = line
        if line["kind"] != "answer" or line.get("lost") or line.get("status") != 200:
            continue
        request = asked.get(line["n"])
        if request is None or request["method"] != "GET":
            continue
        if request["path"].endswith(("/balance", "/account")):
            wallets.append(world.wallet)
        if request["path"].endswith(("/positionRisk", "/account")):
            positions.append(_open(world))
    return wallets[-READINGS:], positions[-READINGS:]


def _open(world: World) -> dict[str, Decimal]:
    return {symbol: qty for symbol, qty in world.positions.items() if qty}


def _text(held: dict[str, Decimal]) -> str:
    return ", ".join(f"{symbol} {money(qty)}" for symbol, qty in held.items()) or "none"


# --- the book ---------------------------------------------------------------------------------


def _states_at_end(
    lines: Sequence[Line], ended_t: float
) -> tuple[list[Decimal], list[dict[str, Decimal]]]:
    """Return each wallet and each set of positions of the engine's last second."""
    world = World()
    wallets: list[Decimal] = [ZERO]
    positions: list[dict[str, Decimal]] = [{}]
    for line in lines:
        if line["t"] > ended_t:
            break
        world.take(line)
        if line["t"] < ended_t - SETTLED_MS:
            wallets, positions = [world.wallet], [_open(world)]
        elif line["kind"] in ("account", "position", "start"):
            wallets.append(world.wallet)
            positions.append(_open(world))
    return wallets, positions


def _compare_book(lines: Sequence[Line], result: dict[str, Any], ended_t: float) -> list[Finding]:
    wallets, positions = _states_at_end(lines, ended_t)
    wallet = decimal_of(result["final_balance"])
    found = []
    if wallet not in wallets:
        text = f"the book's wallet is {money(wallet)}, the ledger's"
        found.append(_finding(f"{text} {', '.join(money(one) for one in wallets)}"))
    held: dict[str, Decimal] = {}
    for row in result["trades"]:
        if row["exit_time"] is None:
            sign = 1 if row["side"] == "long" else -1
            held[row["symbol"]] = held.get(row["symbol"], ZERO) + sign * decimal_of(row["qty"])
    if held not in positions:
        found.append(
            _finding(f"the book's positions are {_text(held)}, the ledger's"
                     f" {' or '.join(_text(one) for one in positions)}")
        )  # fmt: skip
    return found


def _compare_sums(lines: Sequence[Line], result: dict[str, Any], ended_t: float) -> list[Finding]:
    """Compare the sums over all rows since the account's first entry, where they are told."""
    rows = result.get("all_trades")
    if rows is None:
        return []
    before = [line for line in lines if line["t"] <= ended_t]
    world = World()
    start_wallet: Decimal | None = None
    for line in before:
        world.take(line)
        if start_wallet is None and line["kind"] == "start":
            start_wallet = world.wallet
    of_ledger = {
        "fees": sum((decimal_of(one["fee"]) for one in our_trades(before).values()), ZERO),
        "funding": sum((decimal_of(one["change"]) for one in before if _is_funding(one)), ZERO),
        "profit": world.wallet - (start_wallet or ZERO),
    }
    found = []
    for name, expected in of_ledger.items():
        told = sum((decimal_of(row[name]) for row in rows), ZERO)
        if told != expected:
            found.append(
                _finding(
                    f"sum of {name} over all rows is {money(told)}, the ledger's {money(expected)}"
                )
            )
    return found


def _is_funding(line: Line) -> bool:
    return line["kind"] == "account" and line["reason"] == "FUNDING_FEE"
