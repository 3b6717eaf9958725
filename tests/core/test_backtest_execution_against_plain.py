"""The fast executor against a plain and slow one, over random markets and decisions."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from milo.backtest import journal
from milo.backtest.execution import Execution, run
from milo.backtest.ledger import Ledger
from milo.backtest.stats import measure
from tests.backtest_markets import random_case
from tests.plain_execution import PlainExecution, fields_of

CASES = 360
CHUNK = 90


@pytest.mark.parametrize("first", range(0, CASES, CHUNK))
def test_both_executors_write_the_same_ledger(first: int) -> None:
    for seed in range(first, first + CHUNK):
        slots, decisions, assumptions = random_case(seed)

        ledger = run(slots, decisions, assumptions)

        plain = PlainExecution(slots, decisions, assumptions).run()
        assert [fields_of(t) for t in ledger.trades] == [fields_of(t) for t in plain.trades], seed
        assert list(ledger.refusals) == plain.refusals, seed
        counts = (
            ledger.wallet, ledger.fees, ledger.funding, ledger.liquidations, ledger.ambiguous,
            ledger.settlements, ledger.unknown_settlements, ledger.halted_days,
        )  # fmt: skip
        assert counts == (
            plain.wallet, plain.fees, plain.funding, plain.liquidations, plain.ambiguous,
            plain.settlements, plain.unknown_settlements, len(plain.halted_days),
        ), seed  # fmt: skip
        assert ledger.times_ms.tolist() == sorted(plain.equity), seed
        assert ledger.exposed.tolist() == [plain.exposed[t] for t in sorted(plain.exposed)], seed
        equity = [float(plain.equity[t]) for t in sorted(plain.equity)]
        assert ledger.equity.tolist() == pytest.approx(equity, rel=1e-9, abs=1e-6), seed


@pytest.mark.parametrize("first", range(0, CASES, CHUNK))
def test_candle_by_candle_gives_the_same_ledger_as_all_at_once(first: int) -> None:
    for seed in range(first, first + CHUNK):
        slots, decisions, assumptions = random_case(seed)
        ranges = [(made.first, made.first + made.count) for made in decisions]
        execution = Execution(slots, assumptions, ranges)
        steps = sorted(
            (execution.close_ms(number, index), number, index)
            for number, (start, end) in enumerate(ranges)
            for index in range(start, end)
        )

        for _, number, index in steps:
            execution.account_view(number, index)
            execution.take(number, index, decisions[number].action_at(index))
        stepped = execution.finish()

        assert_equal(stepped, run(slots, decisions, assumptions), seed)


@pytest.mark.parametrize("first", range(0, CASES, CHUNK))
def test_refusals_that_are_only_counted_change_nothing_else(
    first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = 0
    for seed in range(first, first + CHUNK):
        slots, decisions, assumptions = random_case(seed, longest=400)
        told = run(slots, decisions, assumptions)

        with monkeypatch.context() as patched:
            patched.setattr(journal, "MOST_REFUSALS", 1)
            counted = run(slots, decisions, assumptions)

        kept = told.refusals[:1]
        assert_equal(counted, dataclasses.replace(told, refusals=kept), seed)
        passed += len(slots) == 1 and counted.refusal_count > 20
    assert passed > 3


def assert_equal(stepped: Ledger, at_once: Ledger, seed: int) -> None:
    for name in Ledger.__slots__:
        one, other = getattr(stepped, name), getattr(at_once, name)
        if name in ("times_ms", "equity", "exposed"):
            one, other = one.tolist(), other.tolist()
        assert one == other, (seed, name)


@pytest.mark.parametrize("first", range(0, CASES, CHUNK))
def test_the_wallet_is_start_and_profit_less_fees_with_funding(first: int) -> None:
    for seed in range(first, first + CHUNK):
        slots, decisions, assumptions = random_case(seed)

        ledger = run(slots, decisions, assumptions)

        realized = sum((t.profit for t in ledger.trades if not t.is_open), Decimal(0))
        assert ledger.wallet == (
            assumptions.start_balance + realized - ledger.fees + ledger.funding
        ), seed
        assert ledger.fees == sum(trade.fees for trade in ledger.trades), seed
        assert ledger.funding == sum(trade.funding for trade in ledger.trades), seed


@pytest.mark.parametrize("first", range(0, CASES, CHUNK))
def test_the_shares_of_all_slots_are_the_account(first: int) -> None:
    compared = 0
    for seed in range(first, first + CHUNK):
        slots, decisions, assumptions = random_case(seed)
        ledger = run(slots, decisions, assumptions)
        if len(slots) == 1:
            assert ledger.shares == (), seed
            continue
        start_ms = min(
            int(slot.candles.open_ms[made.first])
            for slot, made in zip(slots, decisions, strict=True)
            if made.count
        )

        fall = measure(ledger, start_ms=start_ms).drawdown

        lost = sum(share.in_drawdown for share in ledger.shares)
        assert lost == pytest.approx(0.0 if fall is None else -fall.money, abs=1e-5), seed
        net = sum(trade.net for trade in ledger.trades)
        assert float(net) == pytest.approx(
            ledger.equity[-1] - float(assumptions.start_balance), abs=1e-5
        ), seed
        compared += fall is not None
    assert compared > CHUNK // 10
