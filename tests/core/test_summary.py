"""The run's summary: rows, totals, closing lines, and a file that is whole or not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from milo import __version__
from milo.cli.summary import closing_lines, json_text, summary, trade_row, versions, write_summary
from milo.commands import Trade
from milo.errors import StoreError
from milo.model import Direction, ExitReason
from milo.orders.book import Account, Book

HOUR_MS = 3_600_000
CLOSED = Trade(
    symbol="BTCUSDT",
    script="a.script",
    direction=Direction.LONG,
    qty=Decimal("0.0790"),
    entry_ms=1_767_225_600_000,
    entry_price=Decimal(1) / Decimal(3) + 60_000,
    exit_ms=1_767_225_600_000 + HOUR_MS,
    exit_price=Decimal("61800.00"),
    reason=ExitReason.TARGET,
    fees=Decimal("4.81"),
    funding=Decimal("-0.10"),
    profit=Decimal("137.29"),
)
OPEN = Trade(
    symbol="ETHUSDT",
    script="b.script",
    direction=Direction.SHORT,
    qty=Decimal("1E+1"),
    entry_ms=1_767_225_600_000,
    entry_price=Decimal("3000"),
    exit_ms=None,
    exit_price=None,
    reason=None,
    fees=Decimal("15"),
    funding=Decimal("0E-8"),
    profit=Decimal("-15"),
)


@dataclass
class Ran:
    """What a script's slot has counted when the run ends."""

    closed_seen: int = 0
    evaluations: int = 0
    signals: int = 0
    errors: int = 0


@dataclass
class Desk:
    """What the manager knows when the run ends."""

    rows: tuple[Trade, ...] = ()
    book: Book = field(default_factory=lambda: Book(run_id="mkxt1a2b"))
    orders_sent: int = 0
    fills_seen: int = 0

    def trades(self) -> tuple[Trade, ...]:
        return self.rows


def content_of(
    *rows: Trade, wallet: str | None = "10122.29", slots: tuple[Ran, ...] = (Ran(),)
) -> dict[str, Any]:
    account = None if wallet is None else Account(wallet=Decimal(wallet), locked={})
    desk = Desk(
        rows=rows, book=Book(run_id="mkxt1a2b", account=account), orders_sent=6, fills_seen=3
    )
    return summary(
        carried=Decimal(0),
        slots=slots,  # type: ignore[arg-type]  # the summary reads counts only
        manager=desk,  # type: ignore[arg-type]
        start_balance=Decimal("10000.00"),
        seconds=1.23456,
    )


def content_with(**changes: object) -> dict[str, Any]:
    return {**content_of(CLOSED, OPEN), **changes}


def test_a_closed_trade_is_a_row_with_money_as_decimal_strings() -> None:
    assert trade_row(CLOSED) == {
        "symbol": "BTCUSDT",
        "side": "long",
        "qty": "0.079",
        "entry_time": 1_767_225_600_000,
        "entry_price": "60000.33333333",
        "exit_time": 1_767_229_200_000,
        "exit_price": "61800",
        "reason": "target",
        "fees": "4.81",
        "funding": "-0.1",
        "profit": "137.29",
    }


def test_an_open_trade_is_a_row_without_exit() -> None:
    row = trade_row(OPEN)

    assert (row["exit_time"], row["exit_price"], row["reason"]) == (None, None, None)
    assert (row["side"], row["qty"], row["funding"], row["profit"]) == ("short", "10", "0", "-15")


@pytest.mark.parametrize("reason", list(ExitReason))
def test_every_reason_to_close_is_written_as_its_word(reason: ExitReason) -> None:
    row = trade_row(
        Trade(**{name: getattr(CLOSED, name) for name in CLOSED.__slots__} | {"reason": reason})
    )

    assert json.loads(json.dumps(row))["reason"] == reason.value


def test_the_summary_counts_the_first_scripts_candles_and_everybodys_work() -> None:
    slots = (
        Ran(closed_seen=100, evaluations=100, signals=7, errors=1),
        Ran(closed_seen=25, evaluations=25, signals=2),
    )

    content = content_of(CLOSED, OPEN, slots=slots)

    assert (content["candles"], content["evaluations"], content["signals"]) == (100, 125, 9)
    assert (content["script_errors"], content["orders"], content["fills"]) == (1, 6, 3)
    assert content["start_balance"] == "10000"
    assert content["final_balance"] == "10122.29"
    assert content["seconds"] == 1.235
    assert content["trades"] == [trade_row(CLOSED), trade_row(OPEN)]


def test_a_run_that_never_saw_its_account_ends_with_the_balance_it_began_with() -> None:
    assert content_of(wallet=None)["final_balance"] == "10000"


def test_no_number_of_money_is_a_float_and_all_is_json() -> None:
    content = content_of(CLOSED, OPEN)

    floats = _floats(json.loads(json.dumps(content)))

    assert floats == {"seconds"}


def test_the_versions_that_decide_the_numbers_are_named() -> None:
    named = versions()

    assert named["milo"] == __version__
    assert set(named) == {
        "milo", "python", "numpy", "TA-Lib", "RestrictedPython", "aiohttp", "msgspec",
    }  # fmt: skip
    assert all(named.values())


def test_the_closing_lines_tell_counts_trades_and_the_change_of_the_balance() -> None:
    content = content_with(
        candles=12_345, evaluations=12_346, signals=1_500, script_errors=2, seconds=61.26
    )

    assert closing_lines(content) == [
        "12,345 candles, 12,346 evaluations, 1,500 signals, 2 script errors in 61.3 s",
        "1 closed trades (1 won), 1 open; balance 10,000.00 -> 10,122.29 USDT (+1.22 %)",
    ]


def test_a_loss_is_told_with_its_sign() -> None:
    lost = {**trade_row(CLOSED), "profit": "-250"}

    lines = closing_lines(content_with(trades=[lost], final_balance="9750"))

    assert lines[1] == (
        "1 closed trades (0 won), 0 open; balance 10,000.00 -> 9,750.00 USDT (-2.50 %)"
    )


@pytest.mark.parametrize(("final", "difference"), [("10622.29", "500"), ("10122.28", "-0.01")])
def test_a_balance_that_trades_do_not_explain_is_noted(final: str, difference: str) -> None:
    lines = closing_lines(content_with(final_balance=final))

    assert len(lines) == 3
    assert f"differs from start + trades by {difference} USDT" in lines[2]


def test_a_run_without_trades_and_without_balance_still_ends_in_two_lines() -> None:
    lines = closing_lines(content_with(trades=[], start_balance="0", final_balance="0"))

    assert lines[1] == "0 closed trades (0 won), 0 open; balance 0.00 -> 0.00 USDT (+0.00 %)"
    assert len(lines) == 2


def test_the_file_is_the_summary_as_json(tmp_path: Path) -> None:
    content = content_of(CLOSED, OPEN)
    path = tmp_path / "run.json"

    write_summary(path, content)

    assert json.loads(path.read_text(encoding="utf-8")) == content
    assert path.read_bytes().endswith(b"}\n")


def test_an_older_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("old", encoding="utf-8")

    write_summary(path, content_of(CLOSED))

    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]
    assert "old" not in path.read_text(encoding="utf-8")


def test_a_folder_that_is_not_there_is_a_store_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "run.json"

    with pytest.raises(StoreError, match=rf"cannot write {path}: No such file or directory"):
        write_summary(path, content_of())


def test_a_path_that_is_a_folder_is_a_store_error_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.mkdir()

    with pytest.raises(StoreError, match=f"cannot write {path}"):
        write_summary(path, content_of())

    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]
    assert path.is_dir()


def _floats(value: object, name: str = "") -> set[str]:
    """Return the names of all members that are floats."""
    if isinstance(value, Mapping):
        return set().union(*(_floats(item, key) for key, item in value.items()))
    if isinstance(value, list):
        return set().union(*(_floats(item, name) for item in value))
    return {name} if isinstance(value, float) else set()


def test_json_is_ascii_whatever_is_in_it_so_that_it_can_steer_no_terminal() -> None:
    content = {"file": "a\nb\x1b[31m\u202e비밀\udcff", "n": [1, None, True]}

    text = json_text(content)

    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    assert json.loads(text) == content
