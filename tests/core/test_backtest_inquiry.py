"""Asking a backtest about candles: the run stays the same, and the answers are those of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from milo.backtest.execution import run
from milo.backtest.inquiry import Inquiry, Moment, Outcome
from milo.backtest.ledger import FillAt, Ledger
from milo.cli.why import gate_rows, situation_of, sizing_rows
from milo.model import Direction
from tests.backtest_markets import Row, assumptions_of, candles_of, random_case, slot_of

CASES = 60
LONG = "long(10%margin@10x,sl=2%,tp=6%)"
SHORT = "short(1%risk@10x,sl=2%)"


@pytest.mark.parametrize("first", range(0, CASES, 20))
def test_questions_change_nothing_and_find_every_trade_and_refusal(first: int) -> None:
    fills = refusals = 0
    for seed in range(first, first + 20):
        slots, decisions, assumptions = random_case(seed)
        made = zip(slots, decisions, strict=True)
        slots = [replace(s, first=d.first, end=d.first + d.count) for s, d in made]
        inquiry = Inquiry(slots, assumptions)
        turns = sorted(
            (inquiry.close_ms(number, index), number, index)
            for number, made in enumerate(decisions)
            for index in range(made.first, made.first + made.count)
        )
        reasons: dict[tuple[str, int], str] = {}
        for _, number, index in turns:
            inquiry.note(number, index)
            inquiry.account_view(number, index)
            moment = inquiry.moment(number, index)
            action = decisions[number].action_at(index)
            reasons[slots[number].symbol, index] = inquiry.refusal(number, index, action)
            asked = inquiry.gate_input(number, index, action)
            situation = situation_of(moment, slots[number].contract, assumptions)
            sizing_rows(action, situation)
            if asked is not None:
                gate_rows(asked, action, situation)
            inquiry.take(number, index, action)

        ledger = inquiry.finish()

        plain = run(slots, decisions, assumptions)
        for name in Ledger.__slots__:
            one, other = getattr(ledger, name), getattr(plain, name)
            is_array = name in ("times_ms", "equity", "exposed")
            assert one.tolist() == other.tolist() if is_array else one == other, (seed, name)
        for refusal in ledger.refusals:
            key = (refusal.symbol, refusal.index)
            number = next(n for n, s in enumerate(slots) if s.symbol == refusal.symbol)
            outcome = inquiry.outcome(number, refusal.index)
            told = reasons[key] or (outcome.refusal if outcome is not None else "")
            assert told == refusal.reason, (seed, refusal)
            refusals += 1
        for trade in ledger.trades:
            number = next(n for n, s in enumerate(slots) if s.symbol == trade.symbol)
            signal = trade.entry_index - (assumptions.fill_at is FillAt.NEXT_OPEN)
            outcome = inquiry.outcome(number, signal)
            assert outcome is not None, (seed, trade)
            opened = outcome.opened
            assert opened is None or opened.entry_price == trade.entry_price, (seed, trade)
            assert opened is not None or trade in outcome.closed, (seed, trade)
            fills += 1
    assert fills > 20
    assert refusals > 5


def asked(
    rows: Sequence[Row], actions: Sequence[str], index: int, **changes: Any
) -> tuple[Moment, str, Outcome | None]:
    """Return the account at a candle, why its action was not sent, and what became of it."""
    candles = candles_of(rows)
    inquiry = Inquiry([slot_of(candles)], assumptions_of(**changes))
    inquiry.note(0, index)
    for place, action in enumerate(actions[:index]):
        inquiry.take(0, place, action)
    inquiry.account_view(0, index)
    moment = inquiry.moment(0, index)
    refusal = inquiry.refusal(0, index, actions[index])
    inquiry.take(0, index, actions[index])
    if index + 1 < len(rows):
        inquiry.pass_to(int(candles.open_ms[index + 1]))
    return moment, refusal, inquiry.outcome(0, index)


def flat(count: int, price: float = 50_000.0) -> list[Row]:
    return [(price, price, price, price)] * count


def test_entry_is_told_with_its_fill_and_its_levels() -> None:
    rows = [*flat(2), (50_100.0, 50_100.0, 50_100.0, 50_100.0)]

    moment, refusal, outcome = asked(rows, ["donothing", LONG], 1)

    assert (moment.held, refusal, moment.equity) == (None, "", Decimal(10_000))
    assert outcome is not None
    assert outcome.opened is not None
    assert outcome.opened.entry_price == Decimal(50_100)
    assert outcome.opened.stop_price == Decimal(49_098)
    assert outcome.opened.liquidation_price is not None


def test_stop_within_the_candle_is_told_before_its_decision() -> None:
    rows = [*flat(2), (50_000.0, 50_000.0, 48_000.0, 48_500.0), *flat(1)]

    moment, _, _ = asked(rows, [LONG, "donothing", "donothing"], 2)

    assert moment.held is None
    assert [str(trade.exit_reason) for trade in moment.closed] == ["stop"]


def test_reversal_tells_what_it_closed_and_what_it_opened() -> None:
    moment, refusal, outcome = asked(flat(4), [LONG, "donothing", SHORT], 2)

    assert moment.held is not None
    assert moment.held.direction is Direction.LONG
    assert refusal == ""
    assert outcome is not None
    assert [trade.direction for trade in outcome.closed] == [Direction.LONG]
    assert outcome.opened is not None
    assert outcome.opened.direction is Direction.SHORT


def test_refusal_is_that_of_the_gates_and_of_the_exchange() -> None:
    _, by_gate, nothing = asked(flat(2), [LONG], 0, max_leverage=Decimal(5))
    rows = [*flat(1), (50_000_000.0,) * 4]
    _, not_yet, by_exchange = asked(rows, [LONG], 0)

    assert "leverage 10x is above the limit of 5x" in by_gate
    assert nothing is None
    assert not_yet == ""
    assert by_exchange is not None
    assert by_exchange.opened is None
    assert "refused by the exchange" in by_exchange.refusal


def test_same_side_and_last_candle_send_and_fill_nothing() -> None:
    same = asked(flat(4), [LONG, "donothing", LONG], 2)
    last = asked(flat(2), ["donothing", LONG], 1)

    assert same[1:] == ("", None)
    assert last[1:] == ("", None)


def test_fill_at_the_close_is_told_at_once() -> None:
    _, _, outcome = asked(flat(2), ["donothing", LONG], 1, fill_at=FillAt.CLOSE)

    assert outcome is not None
    assert outcome.opened is not None
