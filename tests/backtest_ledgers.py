"""Ledgers made of random walks, for tests of what is said about them: figures, report, page.

Run as a program, it prints the golden report or JSON:
`python -m tests.backtest_ledgers text > tests/golden/backtest_report.txt` and
`python -m tests.backtest_ledgers json > tests/golden/backtest_report.json`.
"""

from __future__ import annotations

import dataclasses
import json
import random
import sys
from decimal import Decimal
from typing import Any

import numpy as np

from milo.backtest.content import report_content
from milo.backtest.decisions import Proof
from milo.backtest.described import (
    DescribedError,
    DescribedInput,
    DescribedMarket,
    DescribedScript,
    RunDescription,
    candles_sha256,
)
from milo.backtest.html import report_page
from milo.backtest.ledger import Assumptions, Ledger, Refusal, Trade
from milo.backtest.report import make_report, report_text
from milo.backtest.wording import Report
from milo.candles import Candles
from milo.model import Direction, ExitReason

START_MS = 1_704_067_200_000
"""2024-01-01 00:00 UTC."""
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
HOSTILE_TEXT = "</script></title><script>alert(1)</script><img src=//x onerror=alert(2)>&\"'\u202e"
REASONS = (ExitReason.STOP, ExitReason.TARGET, ExitReason.CLOSE, ExitReason.REVERSE)


def walk(count: int, *, seed: int = 1, step_ms: int = HOUR_MS, price: float = 42_000.0) -> Candles:
    """Return candles of a random walk; prices have one decimal, so every platform gets the same."""
    rng = random.Random(seed)
    rows = []
    for index in range(count):
        opened = price
        price = round(price * (1 + rng.uniform(-0.004, 0.00403)), 1)
        high = round(max(opened, price) * (1 + rng.uniform(0, 0.002)), 1)
        low = round(min(opened, price) * (1 - rng.uniform(0, 0.002)), 1)
        rows.append((START_MS + index * step_ms, opened, high, low, price, 10.0))
    return Candles.from_rows(rows)


def assumptions(**changes: Any) -> Assumptions:
    values: dict[str, Any] = {
        "start_balance": Decimal(10_000),
        "taker_fee": Decimal("0.0005"),
        "maker_fee": Decimal("0.0002"),
        "slippage": Decimal("0.0002"),
        "funding_rate": Decimal("0.0001"),
    }
    return Assumptions(**values | changes)


def trade(net: str = "10", **changes: Any) -> Trade:
    """Return a closed long trade that brought `net`; `changes` replace its members."""
    values: dict[str, Any] = {
        "script": "macd",
        "symbol": "BTCUSDT",
        "direction": Direction.LONG,
        "qty": Decimal("0.5"),
        "leverage": 5,
        "entry_index": 1,
        "entry_ms": START_MS,
        "entry_price": Decimal(100),
        "exit_index": 2,
        "exit_ms": START_MS + HOUR_MS - 1,
        "exit_price": Decimal(101),
        "exit_reason": ExitReason.TARGET,
        "stop_price": Decimal(98),
        "target_price": Decimal(106),
        "liquidation_price": Decimal(81),
        "profit": Decimal(net),
        "fees": Decimal(0),
        "funding": Decimal(0),
        "risk": Decimal(10),
    }
    return Trade(**values | changes)


def ledger(
    trades: tuple[Trade, ...] = (), equity: tuple[float, ...] = (), **changes: Any
) -> Ledger:
    """Return a ledger of hand-made trades and a curve of one equity an hour."""
    values: dict[str, Any] = {
        "assumptions": assumptions(),
        "trades": trades,
        "refusals": (),
        "refusal_count": 0,
        "notes": (),
        "wallet": Decimal(10_000),
        "fees": Decimal(0),
        "funding": Decimal(0),
        "times_ms": START_MS + np.arange(1, len(equity) + 1, dtype=np.int64) * HOUR_MS - 1,
        "equity": np.array(equity, dtype=np.float64),
        "exposed": np.zeros(len(equity), dtype=np.bool_),
        "buy_and_hold": {},
        "liquidations": 0,
        "ambiguous": 0,
        "settlements": 0,
        "unknown_settlements": 0,
    }
    return Ledger(**values | changes)


def played(
    candles: Candles,
    *,
    seed: int = 1,
    symbol: str = "BTCUSDT",
    script: str = "macd_crossover",
    every: int = 9,
    **changes: Any,
) -> Ledger:
    """Return the ledger of positions that chance opens and closes on these candles.

    Prices, fees, equity and exposure fit together as a real run's do; signals are drawn. The last
    position stays open.
    """
    rng = random.Random(seed)
    closes, opens = candles.close, candles.open
    step_ms = int(candles.open_ms[1] - candles.open_ms[0])
    taken: list[Trade] = []
    wallet, fees = Decimal(10_000), Decimal(0)
    equity = np.full(len(candles), 10_000.0)
    exposed = np.zeros(len(candles), dtype=np.bool_)
    at = 1
    while at < len(candles):
        length = rng.randint(1, 2 * every)
        end = min(at + length, len(candles) - 1)
        is_open = at + length >= len(candles)
        way = rng.choice((Direction.LONG, Direction.SHORT))
        entry, leave = Decimal(str(opens[at])), Decimal(str(closes[end] if is_open else opens[end]))
        qty = (wallet / entry).quantize(Decimal("0.001"))
        paid = (qty * (entry + leave) * Decimal("0.0005")).quantize(Decimal("1e-8"))
        reason = rng.choice(REASONS)
        taken.append(
            Trade(
                script=script,
                symbol=symbol,
                direction=way,
                qty=qty,
                leverage=5,
                entry_index=at,
                entry_ms=int(candles.open_ms[at]),
                entry_price=entry,
                exit_index=end,
                exit_ms=int(candles.open_ms[end]) + (step_ms - 1 if is_open else 0),
                exit_price=leave,
                exit_reason=ExitReason.CLOSE if is_open else reason,
                stop_price=(entry * (100 - 2 * way.sign) / 100).quantize(Decimal("0.1")),
                target_price=(entry * (100 + 6 * way.sign) / 100).quantize(Decimal("0.1")),
                liquidation_price=(entry * (100 - 19 * way.sign) / 100).quantize(Decimal("0.1")),
                profit=qty * (leave - entry) * way.sign,
                fees=paid,
                funding=Decimal(0),
                risk=(qty * entry * Decimal("0.021")).quantize(Decimal("1e-8")),
                is_open=is_open,
                is_ambiguous=not is_open and rng.random() < 0.03,
                is_gap=not is_open and rng.random() < 0.02,
                is_extreme=not is_open and rng.random() < 0.04,
            )
        )
        stop = end + 1 if is_open else end
        unrealised = float(qty) * (closes[at:stop] - float(entry)) * way.sign
        equity[at:stop] = float(wallet) + unrealised
        exposed[at:stop] = True
        if not is_open:
            wallet += taken[-1].net
        fees += paid
        after = min(end + rng.randint(1, every), len(candles))
        equity[end:after] = np.where(exposed[end:after], equity[end:after], float(wallet))
        equity[after:] = float(wallet)
        at = after
    values: dict[str, Any] = {
        "assumptions": assumptions(),
        "trades": tuple(taken),
        "refusals": (),
        "refusal_count": 0,
        "notes": (),
        "wallet": wallet,
        "fees": fees,
        "funding": Decimal(0),
        "times_ms": candles.open_ms + step_ms - 1,
        "equity": equity,
        "exposed": exposed,
        "buy_and_hold": {symbol: float(closes[-1] / opens[0] - 1)},
        "liquidations": 0,
        "ambiguous": sum(item.is_ambiguous for item in taken),
        "settlements": len(candles) * step_ms // (8 * HOUR_MS),
        "unknown_settlements": len(candles) * step_ms // (16 * HOUR_MS),
    }
    return Ledger(**values | changes)


def description(candles: Candles, **changes: Any) -> RunDescription:
    """Return the description of a run of one script with two inputs over these candles."""
    script = DescribedScript(
        name="macd_crossover",
        text_sha256="5b" * 32,
        symbol="BTCUSDT",
        interval="1h",
        inputs=(
            DescribedInput(name="fast", value=12.0, default=12.0),
            DescribedInput(name="stop", value=2.5, default=2.0),
        ),
        first_ms=int(candles.open_ms[0]),
        decided=len(candles),
        proof=Proof(is_lifted=True, checked=min(421, len(candles)), differing=0),
    )
    market = DescribedMarket(
        symbol="BTCUSDT",
        interval="1h",
        count=len(candles),
        first_ms=int(candles.open_ms[0]),
        last_ms=int(candles.open_ms[-1]),
        sha256=candles_sha256(candles),
        source="history.db",
    )
    values: dict[str, Any] = {
        "scripts": (script,),
        "markets": (market,),
        "version": "0.1.0",
        "arguments": ("--backtest", "--script", "macd_crossover.script", "--set", "stop=2.5"),
        "seconds": 0.42,
    }
    return RunDescription(**values | changes)


def golden_report() -> Report:
    """Return a report with everything in it that a report can have."""
    candles = walk(1_210)
    refusals = tuple(
        Refusal(
            script="macd_crossover",
            symbol="BTCUSDT",
            index=index,
            open_ms=START_MS + index * HOUR_MS,
            action="long(1%risk@10x,sl=2%,rr=3)",
            reason=reason,
        )
        for index, reason in enumerate(
            ("risk of the entry 5 % is above --max-risk 2 %",) * 3
            + ("quantity 0.0004 is below the least quantity 0.001",)
        )
    )
    book = played(
        candles,
        every=12,
        assumptions=assumptions(
            max_entry_risk=Decimal(2), max_leverage=Decimal(20), max_positions=3,
            allowed_symbols=("BTCUSDT", "ETHUSDT"),
        ),
        refusals=refusals,
        refusal_count=6,
        notes=("leverage lowered from 50x to 20x (12 times)",),
        funding=Decimal("-3.25"),
        liquidations=1,
        halted_days=2,
    )  # fmt: skip
    told = description(candles, notes=("leverage brackets are those of the embedded exchange",))
    failing = dataclasses.replace(
        told.scripts[0],
        errors=(
            DescribedError(open_ms=START_MS, line=7, message="IndexError: index out of range"),
            DescribedError(open_ms=START_MS + HOUR_MS, line=None, message="took too long"),
        ),
        error_count=12,
        halted_ms=START_MS + 40 * HOUR_MS,
        warnings=("condition_true is not set on some candles",),
    )
    by_hand = dataclasses.replace(
        told.scripts[0],
        name="rsi",
        text_sha256="a0" * 32,
        inputs=(),
        proof=Proof(is_lifted=False, checked=0, differing=0, note="line 9: a while loop"),
    )
    return make_report(book, dataclasses.replace(told, scripts=(failing, by_hand)))


def page_of(report: Report, candles: Candles) -> str:
    """Return the page of a report whose markets all have these candles."""
    markets = report.description.markets
    return report_page(report, {(item.symbol, item.interval): candles for item in markets})


def hostile_report() -> tuple[Report, Candles]:
    """Return a report in which every name and message is an attack on the page."""
    candles = walk(200)
    told = description(candles)
    script = dataclasses.replace(
        told.scripts[0],
        name=HOSTILE_TEXT,
        symbol=HOSTILE_TEXT,
        errors=(DescribedError(open_ms=START_MS, line=1, message=HOSTILE_TEXT),),
        error_count=1,
        warnings=(HOSTILE_TEXT,),
        proof=dataclasses.replace(told.scripts[0].proof, is_lifted=False, note=HOSTILE_TEXT),
        inputs=(dataclasses.replace(told.scripts[0].inputs[0], name=HOSTILE_TEXT),),
    )
    market = dataclasses.replace(told.markets[0], symbol=HOSTILE_TEXT, source=HOSTILE_TEXT)
    told = dataclasses.replace(
        told,
        scripts=(script,),
        markets=(market,),
        arguments=(HOSTILE_TEXT,),
        notes=(HOSTILE_TEXT,),
        version=HOSTILE_TEXT,
    )
    book = played(candles, symbol=HOSTILE_TEXT, script=HOSTILE_TEXT, notes=(HOSTILE_TEXT,))
    other = trade("3", symbol="ETHUSDT", script="other")
    return make_report(dataclasses.replace(book, trades=(*book.trades, other)), told), candles


def golden_content() -> dict[str, Any]:
    """Return the golden report's JSON, floats at 9 digits."""
    content: dict[str, Any] = _rounded(report_content(golden_report()))
    return content


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


if __name__ == "__main__":
    if sys.argv[1:] == ["json"]:
        print(json.dumps(golden_content(), indent=1))
    else:
        print(report_text(golden_report()))
