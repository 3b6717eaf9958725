"""The operator's limits: the day's loss, open positions, the kill switch."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from milo.commands import NoteKind, Place, Verdict
from milo.events import AccountEvent
from milo.inbox import KillSwitch
from milo.intervals import DAY_MS
from milo.model import ExitReason
from milo.orders.book import CoreConfig
from milo.orders.limits import lost_today, positions_in_use
from tests.order_desk import BTC, SYMBOL, Desk, of_type, orders_in, ready, signal

ENTRY = "long(1%risk@10x,sl=2%,rr=3)"
BIG_LOSS = "long(20%risk@10x,sl=2%)"


def limited(**limits: object) -> Desk:
    return Desk(config=CoreConfig(**limits))  # type: ignore[arg-type]


def lose_a_fifth(desk: Desk) -> None:
    desk.enter(BIG_LOSS, candle=1)
    desk.move_to(str(desk.venue.price * 97 / 100))
    assert desk.earned() < -1_500


def test_a_day_that_lost_too_much_opens_nothing_more() -> None:
    desk = limited(max_daily_loss=Decimal("0.1"))
    lose_a_fifth(desk)

    commands = desk.signal(ENTRY, candle=2)

    assert orders_in(commands) == []
    assert "limit of 10.00%" in desk.notes(NoteKind.REFUSED)[-1]
    verdict = of_type(Verdict, commands)[0]
    assert not verdict.is_taken
    assert "limit of 10.00%" in verdict.reason


def test_the_next_utc_day_starts_afresh() -> None:
    desk = limited(max_daily_loss=Decimal("0.1"))
    lose_a_fifth(desk)
    desk.venue.now_ms = (desk.venue.now_ms // DAY_MS + 1) * DAY_MS

    assert len(orders_in(desk.signal(ENTRY, candle=30))) == 1


def test_without_a_limit_a_loss_changes_nothing() -> None:
    desk = limited(max_daily_loss=Decimal(0))
    lose_a_fifth(desk)

    assert len(orders_in(desk.signal(ENTRY, candle=2))) == 1


def test_an_open_loss_counts() -> None:
    desk = limited()
    desk.enter(BIG_LOSS)

    assert lost_today(desk.book, {SYMBOL: desk.venue.price * 99 / 100}) > Decimal("0.08")


def test_a_withdrawal_is_no_loss() -> None:
    desk = limited(max_daily_loss=Decimal("0.1"))
    taken = AccountEvent(
        reason="WITHDRAW",
        wallet=desk.venue.wallet - 5_000,
        change=Decimal(-5_000),
        positions=(),
        funding_symbol=None,
        event_ms=desk.venue.now_ms + 1,
    )

    desk.deliver(taken)

    assert lost_today(desk.book, {}) == 0
    assert len(orders_in(desk.signal(ENTRY))) == 1


def test_a_position_too_many_is_not_opened() -> None:
    desk = limited(max_open_positions=1)
    desk.enter(ENTRY, candle=1)
    other = dataclasses.replace(BTC, symbol="ETHUSDT", base_asset="ETH")
    desk.deliver(ready(other))
    wish = signal(ENTRY, price=Decimal(50_000), candle=2)

    commands = desk.deliver(dataclasses.replace(wish, symbol="ETHUSDT"))

    assert positions_in_use(desk.book, "ETHUSDT") == 1
    assert orders_in(commands) == []
    assert "1 positions are open already" in desk.notes(NoteKind.REFUSED)[-1]


def test_the_position_of_the_symbol_itself_is_no_other_one() -> None:
    desk = limited(max_open_positions=1)
    desk.enter(ENTRY, candle=1)

    reversal = desk.signal("short(1%risk@10x,sl=2%)", candle=2)

    assert len(orders_in(reversal)) == 1


# --- the kill switch ----------------------------------------------------------------------------


def test_the_kill_switch_closes_and_opens_nothing_more() -> None:
    desk = Desk()
    desk.enter(ENTRY)

    desk.deliver(KillSwitch(reason="SIGUSR1"))
    desk.settle()

    assert desk.venue.qty == 0
    assert [row.reason for row in desk.rows()] == [ExitReason.CLOSE]
    assert orders_in(desk.signal(ENTRY, candle=9)) == []
    assert "halted: SIGUSR1" in desk.notes(NoteKind.REFUSED)[-1]


def test_an_entry_under_way_is_closed_once_it_has_filled() -> None:
    desk = Desk()
    enter = desk.signal(ENTRY)[0]
    desk.due.clear()
    desk.deliver(KillSwitch(reason="now"))

    desk.deliver(*desk.carry_out(enter))
    desk.settle()

    assert desk.venue.qty == 0
    assert desk.profit() == desk.earned()


def test_a_reversal_under_way_is_not_finished() -> None:
    desk = Desk()
    desk.enter(ENTRY, candle=1)
    desk.signal("short(1%risk@10x,sl=2%)", candle=2)
    desk.deliver(KillSwitch(reason="now"))

    desk.settle()

    assert desk.venue.qty == 0
    assert desk.state.trade is None
    assert any("not sent: now" in text for text in desk.notes(NoteKind.REFUSED))


def test_throwing_it_twice_closes_once() -> None:
    desk = Desk()
    desk.enter(ENTRY)

    first = desk.deliver(KillSwitch(reason="one"))
    second = desk.deliver(KillSwitch(reason="two"))

    assert len(of_type(Place, first)) == 1
    assert of_type(Place, second) == []
    assert desk.book.halted == "one"


def test_on_a_read_only_venue_it_only_stops() -> None:
    desk = Desk(config=CoreConfig(may_trade=False))

    commands = desk.deliver(KillSwitch(reason="now"))

    assert orders_in(commands) == []
    assert desk.book.halted == "now"


@pytest.mark.parametrize("marks", [{}, {SYMBOL: Decimal(50_000)}])
def test_nothing_is_lost_before_anything_was_traded(marks: dict[str, Decimal]) -> None:
    assert lost_today(Desk().book, marks) == 0
