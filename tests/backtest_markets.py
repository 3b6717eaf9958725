"""Small markets, slots and decisions for tests of a backtest's execution."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from milo.backtest.contract import Contract, rules_for
from milo.backtest.decisions import Decisions, Proof
from milo.backtest.ledger import Assumptions, FillAt, Intrabar
from milo.backtest.slot import FundingHistory, Slot
from milo.candles import Candles
from milo.intervals import next_open_ms

START_MS = 1_767_225_600_000  # 2026-01-01T00:00Z, a Thursday

Row = tuple[float, float, float, float]
"""Open, high, low, close."""


def candles_of(
    rows: Iterable[Row], interval: str = "1h", start_ms: int = START_MS, skipped: Sequence[int] = ()
) -> Candles:
    """Return candles one after the other; before those of `skipped` one is missing."""
    listed, time_ms = [], start_ms
    for index, (open_, high, low, close) in enumerate(rows):
        if index in skipped:
            time_ms = next_open_ms(time_ms, interval)
        listed.append((time_ms, open_, high, low, close, 1.0))
        time_ms = next_open_ms(time_ms, interval)
    return Candles.from_rows(listed)


def decisions_of(actions: Sequence[str], first: int = 0) -> Decisions:
    """Return decisions on candles from `first` on, one action a candle."""
    texts = ["donothing", *dict.fromkeys(a for a in actions if a != "donothing")]
    starts = [i for i, a in enumerate(actions) if not i or a != actions[i - 1]]
    return Decisions(
        first=first,
        count=len(actions),
        at=np.array([first + i for i in starts], np.int64),
        code=np.array([texts.index(actions[i]) for i in starts], np.int32),
        actions=tuple(texts),
        proof=Proof(is_lifted=True, checked=0, differing=0),
    )


def assumptions_of(**changes: Any) -> Assumptions:
    """Return 10,000 USDT, taker fee 0.0005, no slippage, no funding, and what is changed."""
    usual: dict[str, Any] = {
        "start_balance": Decimal(10_000),
        "taker_fee": Decimal("0.0005"),
        "maker_fee": Decimal("0.0002"),
        "slippage": Decimal(0),
        "funding_rate": Decimal(0),
    }
    return Assumptions(**(usual | changes))


def slot_of(
    candles: Candles,
    *,
    symbol: str = "BTCUSDT",
    interval: str = "1h",
    contract: Contract | None = None,
    finer: Candles | None = None,
    funding: FundingHistory | None = None,
) -> Slot:
    return Slot(
        script=f"{symbol.lower()}.script",
        symbol=symbol,
        interval=interval,
        candles=candles,
        contract=rules_for(symbol, candles) if contract is None else contract,
        finer=finer,
        funding=funding,
    )


# --- random ones ----------------------------------------------------------------------------------

SYMBOLS = (("BTCUSDT", 500_000, 1), ("DOGEUSDT", 12_000, 5), ("WAGMIUSDT", 8_000, 4))
"""Symbol, a price in units of the last decimal that is used, and how many decimals there are."""
AMOUNTS = ("1%risk", "5%risk", "30%risk", "100%risk", "2%margin", "60%margin", "100%margin")
LEVERAGES = ("1", "2", "3.5", "10", "20", "50", "100", "125", "200")
STOPS = ("", "", "sl=0.4%", "sl=1%", "sl=2%", "sl=7%", "sl=1atr", "sl=2.5atr")
TARGETS = ("", "tp=0.5%", "tp=1%", "tp=3%", "tp=1.5atr", "rr=0.5", "rr=1", "rr=3")
EXITS = ("close", "close(50%)", "close(10%)", "close(99.9%)", "close(0.01%)")


def random_action(dice: random.Random, price: float, places: int) -> str:
    """Return an action that may be taken or refused, with near and far levels of all kinds."""
    if dice.random() < 0.2:
        return dice.choice(EXITS)
    stop, target = dice.choice(STOPS), dice.choice(TARGETS)
    if dice.random() < 0.15:
        stop = f"sl={price * dice.choice((0.95, 0.98, 0.99, 1.01, 1.03)):.{places}f}"
    if dice.random() < 0.15:
        target = f"tp={price * dice.choice((0.95, 0.98, 1.01, 1.02)):.{places}f}"
    side = dice.choice(("long", "short"))
    options = "".join(f",{option}" for option in (stop, target) if option)
    return f"{side}({dice.choice(AMOUNTS)}@{dice.choice(LEVERAGES)}x{options})"


def random_rows(dice: random.Random, count: int, start: int, places: int) -> list[Row]:
    """Return a walk on a coarse grid, so that levels are touched exactly, with gaps and crashes."""
    scale = 10**places
    step = max(1, start // dice.choice((100, 200, 400)))
    price, rows = start, []
    for _ in range(count):
        kind = dice.random()
        if kind < 0.15:
            price += dice.randint(-4, 4) * step
        elif kind < 0.18:
            price = max(step, price + dice.randint(-40, 40) * step)
        price = max(price, 3 * step)
        if dice.random() < 0.1:
            rows.append((price / scale,) * 4)
            continue
        path = [price]
        for _ in range(3):
            path.append(max(step, path[-1] + dice.randint(-3, 3) * step))
        rows.append((path[0] / scale, max(path) / scale, min(path) / scale, path[-1] / scale))
        price = path[-1]
    return rows


def random_actions(dice: random.Random, candles: Candles, count: int, places: int) -> list[str]:
    """Return runs of actions over the last `count` candles."""
    actions: list[str] = []
    base = len(candles) - count
    price = float(candles.close[base]) if count else 0.0
    chosen = [random_action(dice, price, places) for _ in range(dice.randint(1, 4))]
    while len(actions) < count:
        action = "donothing" if dice.random() < 0.4 else dice.choice(chosen)
        if dice.random() < 0.1:
            price = float(candles.close[base + len(actions)])
            action = random_action(dice, price, places)
        actions += [action] * dice.choice((1, 1, 2, 3, 8))
    return actions[:count]


def finer_of(dice: random.Random, candles: Candles, parts: int, step_ms: int) -> Candles:
    """Return candles of a quarter (say) of the interval within each, some of them missing."""
    listed = []
    for candle in candles:
        prices = [candle.open]
        inner = [candle.high, candle.low]
        dice.shuffle(inner)
        prices += [dice.choice((candle.open, *inner)) for _ in range(parts - 3)]
        prices[dice.randrange(1, len(prices) + 1) :] = inner
        prices = [candle.open, *prices[1:]][:parts]
        while len(prices) < parts:
            prices.append(candle.close)
        for number, price in enumerate(prices):
            after = prices[number + 1] if number + 1 < parts else candle.close
            if dice.random() < 0.03:
                continue
            high, low = max(price, after), min(price, after)
            listed.append((candle.open_ms + number * step_ms, price, high, low, after, 1.0))
    return Candles.from_rows(listed)


def random_funding(dice: random.Random, candles: Candles) -> FundingHistory:
    """Return settlements every four or eight hours, some ms late, with holes."""
    hours = dice.choice((4, 8))
    first, last = int(candles.open_ms[0]), int(candles.open_ms[-1])
    times = [
        t + dice.choice((0, 0, 3, 15))
        for t in range(first - first % (hours * 3_600_000), last, hours * 3_600_000)
        if dice.random() < 0.8
    ]
    rates = [dice.choice((0.0001, -0.0003, 0.003, -0.03, 0.0)) for _ in times]
    return FundingHistory(times_ms=np.array(times, np.int64), rates=np.array(rates))


def random_case(seed: int, longest: int = 70) -> tuple[list[Slot], list[Decisions], Assumptions]:
    """Return slots of one or more symbols, their decisions, and assumptions."""
    dice = random.Random(seed)
    intrabar = dice.choice(list(Intrabar))
    slots, decisions = [], []
    shared = dice.choice(("5m", "1h", "1h", "4h", "12h", "1d"))
    for symbol, start, places in dice.sample(SYMBOLS, dice.choice((1, 1, 1, 2, 3))):
        interval = shared if dice.random() < 0.7 else dice.choice(("1h", "4h"))
        count = dice.randint(2, longest)
        history = dice.choice((0, 0, 20))
        rows = random_rows(dice, count + history, start, places)
        candles = candles_of(
            rows,
            interval,
            START_MS - dice.choice((0, 1)) * 86_400_000,
            [dice.randrange(count + history)] if dice.random() < 0.3 else (),
        )
        step_ms = (next_open_ms(START_MS, interval) - START_MS) // 5
        finer = finer_of(dice, candles, 5, step_ms) if interval == "5m" else None
        funding = random_funding(dice, candles) if dice.random() < 0.5 else None
        slots.append(
            slot_of(candles, symbol=symbol, interval=interval, finer=finer, funding=funding)
        )
        decisions.append(decisions_of(random_actions(dice, candles, count, places), history))
    limits: dict[str, Any] = {}
    if dice.random() < 0.4:
        limits = {
            "max_daily_loss": dice.choice((None, Decimal(5), Decimal(20))),
            "max_positions": dice.choice((None, 1, 2)),
            "max_entry_risk": dice.choice((None, Decimal(10), Decimal(50))),
            "max_leverage": dice.choice((None, Decimal(20), Decimal(125))),
            "allowed_symbols": dice.choice((None, None, ("BTCUSDT", "DOGEUSDT"))),
        }
    return (
        slots,
        decisions,
        assumptions_of(
            start_balance=dice.choice(
                (Decimal(15), Decimal(1_000), Decimal(10_000), Decimal(10**7))
            ),
            slippage=dice.choice((Decimal(0), Decimal("0.0002"), Decimal("0.004"))),
            taker_fee=dice.choice((Decimal("0.0005"), Decimal("0.0005"), Decimal(0))),
            funding_rate=dice.choice((Decimal(0), Decimal("0.0001"), Decimal("-0.002"))),
            fill_at=dice.choice(list(FillAt)),
            intrabar=intrabar,
            finer_interval="1m" if intrabar is Intrabar.FINER else None,
            **limits,
        ),
    )
