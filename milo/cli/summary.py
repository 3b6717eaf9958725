"""The run's summary: what `--json` writes, and the last lines on the console."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

from milo import __version__
from milo.cli.context import Manager, Slot
from milo.commands import Trade
from milo.errors import StoreError
from milo.model import ExitReason
from milo.money import ZERO, plain, shown, to_wallet
from milo.store.files import write_atomically

FUNDING = str(ExitReason.FUNDING)
"""The reason of a row that closes nothing."""


def summary(
    *,
    slots: Sequence[Slot],
    manager: Manager,
    start_balance: Decimal,
    carried: Decimal,
    seconds: float,
) -> dict[str, Any]:
    """Return the summary; money as decimal strings, times in ms UTC.

    `carried` is what positions that were taken up had realised before; their rows tell it again.
    """
    rows = manager.trades()
    account = manager.book.account
    return {
        "candles": slots[0].closed_seen,
        "evaluations": sum(slot.evaluations for slot in slots),
        "signals": sum(slot.signals for slot in slots),
        "orders": manager.orders_sent,
        "fills": manager.fills_seen,
        "script_errors": sum(slot.errors for slot in slots),
        "start_balance": plain(start_balance),
        "carried": plain(carried),
        "final_balance": plain(start_balance if account is None else account.wallet),
        "seconds": round(seconds, 3),
        "versions": versions(),
        "trades": [trade_row(row) for row in rows],
    }


def trade_row(row: Trade) -> dict[str, Any]:
    """Return one row of the trade list as JSON values."""
    return {
        "symbol": row.symbol,
        "side": str(row.direction),
        "qty": plain(row.qty),
        "entry_time": row.entry_ms,
        "entry_price": plain(to_wallet(row.entry_price)),
        "exit_time": row.exit_ms,
        "exit_price": None if row.exit_price is None else plain(to_wallet(row.exit_price)),
        "reason": None if row.reason is None else str(row.reason),
        "fees": plain(row.fees),
        "funding": plain(row.funding),
        "profit": plain(row.profit),
    }


def versions() -> dict[str, str]:
    """Return the versions that decide a run's numbers."""
    packages = ("numpy", "TA-Lib", "RestrictedPython", "aiohttp", "msgspec")
    return {
        "milo": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def json_text(content: dict[str, Any]) -> str:
    """Return the JSON as text of ASCII only: no character in it can steer a terminal."""
    return json.dumps(content, indent=2)


def write_summary(path: Path, content: dict[str, Any]) -> None:
    """Write the summary whole or not at all; StoreError where it cannot be written."""
    text = json_text(content) + "\n"
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from None


def closing_lines(content: dict[str, Any]) -> list[str]:
    """Return the lines that end a run on the console."""
    rows = content["trades"]
    opened = [row for row in rows if row["exit_time"] is None]
    closed = [row for row in rows if row["exit_time"] is not None and row["reason"] != FUNDING]
    won = sum(Decimal(row["profit"]) > 0 for row in closed)
    start, final = Decimal(content["start_balance"]), Decimal(content["final_balance"])
    change = (final / start - 1) * 100 if start else ZERO
    lines = [
        f"{content['candles']:,} candles, {content['evaluations']:,} evaluations, "
        f"{content['signals']:,} signals, {content['script_errors']:,} script errors "
        f"in {content['seconds']:.1f} s",
        f"{len(closed):,} closed trades ({won:,} won), {len(opened)} open; balance "
        f"{shown(start)} -> {shown(final)} USDT ({change:+.2f} %)",
    ]
    earned = sum((Decimal(row["profit"]) for row in rows), ZERO) - Decimal(content["carried"])
    difference = final - start - earned
    if difference:
        lines.append(
            f"note: the balance differs from start + trades by {plain(difference)} USDT "
            "(something else moved the account during the run)"
        )
    return lines
