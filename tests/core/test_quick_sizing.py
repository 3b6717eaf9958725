"""Sizing in floats against sizing in decimals: equal to the last digit, or no answer."""

from __future__ import annotations

import random
from decimal import Decimal

import numpy as np
import pytest

from milo.exchange.instruments import own_table
from milo.model import CommissionRate, EntryIntent
from milo.money import from_float
from milo.orders.lots import market_step
from milo.orders.protection import Unprotectable, plan_protection
from milo.orders.quick_sizing import QuickSizer, QuickTerms
from milo.orders.sizing import EntryRefused, SizingInput, size_entry
from milo.script.actions import parse_action
from tests.backtest_markets import AMOUNTS, LEVERAGES, STOPS, TARGETS

SPECS = list(own_table().values())
LOWER_AMOUNTS = ("0.1%risk", "1%risk", "0.37%risk", "1%margin", "12.5%margin")


def random_intent(dice: random.Random, price: float) -> EntryIntent:
    stop, target = dice.choice(STOPS), dice.choice(TARGETS)
    side = dice.choice(("long", "short"))
    if dice.random() < 0.2:
        stop = f"sl={from_float(round(price * dice.uniform(0.9, 1.1), 9)):f}"
    if dice.random() < 0.2:
        target = f"tp={from_float(round(price * dice.uniform(0.9, 1.1), 9)):f}"
    amount = dice.choice(LOWER_AMOUNTS if dice.random() < 0.7 else AMOUNTS)
    options = "".join(f",{option}" for option in (stop, target) if option)
    intent = parse_action(f"{side}({amount}@{dice.choice(LEVERAGES[:-1])}x{options})")
    assert isinstance(intent, EntryIntent)
    return intent


@pytest.mark.parametrize("seed", range(4))
def test_a_quick_answer_equals_the_exact_one(seed: int) -> None:
    dice = random.Random(seed)
    answers = clean = hopeless = 0

    for _ in range(2_500):
        spec = dice.choice(SPECS)
        instrument = spec.instrument
        ticks = dice.choice((50_000, 1_000_000, dice.randint(100, 10**6)))
        price = float(ticks * instrument.tick) if dice.random() < 0.6 else ticks / 977
        if not float(instrument.min_price) <= price <= float(instrument.max_price or 10**9):
            continue
        intent = random_intent(dice, price)
        fees = CommissionRate(maker=Decimal(0), taker=dice.choice((Decimal("0.0005"), Decimal(0))))
        equity = Decimal(dice.choice((100, 10_000, dice.randint(10**9, 10**15)))) / 10**8
        if dice.random() < 0.6:
            equity = Decimal(dice.choice((1_000, 10_000, 250_000)))
        available = equity if dice.random() < 0.7 else equity / 3
        atr = None if dice.random() < 0.1 else price * dice.uniform(0.0005, 0.05)
        quick = QuickSizer(intent, QuickTerms(instrument, spec.brackets, fees))

        found = quick.size(price, float(equity), float(available), atr)

        given = SizingInput(
            price=from_float(price),
            atr=None if atr is None else from_float(atr),
            equity=equity,
            available=available,
            instrument=instrument,
            brackets=spec.brackets,
            fees=fees,
        )
        is_hopeless = quick.surely_refused(
            np.array([price]),
            float(equity),
            float(available),
            np.array([np.nan if atr is None else atr]),
        )[0]
        try:
            exact = size_entry(intent, given)
        except (EntryRefused, Unprotectable):
            assert found is None
            hopeless += bool(is_hopeless)
            continue
        assert not is_hopeless
        clean += not exact.notes
        if found is None:
            continue
        answers += 1
        assert found.steps * market_step(instrument) == exact.qty
        assert found.levels.stop_ticks * instrument.tick == exact.protection.stop_price
        target = found.levels.target_ticks
        assert (target and target * instrument.tick) == exact.protection.target_price
        assert quick.leverage == exact.leverage
        assert exact.notes == ()

    assert answers > clean / 3 > 100
    assert hopeless > 100


@pytest.mark.parametrize("seed", range(4))
def test_a_quick_plan_equals_the_exact_one(seed: int) -> None:
    dice = random.Random(seed)
    answers = taken = refused = 0

    for _ in range(2_500):
        spec = dice.choice(SPECS)
        instrument = spec.instrument
        entry = dice.choice((1_000_000, dice.randint(1_000, 10**6))) * instrument.tick
        qty = dice.randint(1, 10_000) * market_step(instrument)
        intent = random_intent(dice, float(entry))
        leverage = dice.randint(1, 125)
        atr = float(entry) * dice.uniform(0.0005, 0.05)
        fees = CommissionRate(maker=Decimal(0), taker=Decimal(0))
        quick = QuickSizer(intent, QuickTerms(instrument, spec.brackets, fees))

        found = quick.plan(int(entry * 10**8), float(qty), leverage, atr)

        try:
            exact = plan_protection(
                intent,
                entry_price=entry,
                qty=qty,
                leverage=leverage,
                atr=from_float(atr),
                instrument=instrument,
                brackets=spec.brackets,
            )
        except (EntryRefused, Unprotectable):
            refused += 1
            assert found is None
            continue
        taken += 1
        if found is None:
            continue
        answers += 1
        assert found.stop_ticks * instrument.tick == exact.stop_price
        target = found.target_ticks
        assert (target and target * instrument.tick) == exact.target_price

    assert answers > taken / 4 > 100
    assert refused > 100
