"""What the guard is told of the book, and the lines that carry it."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from milo.commands import Enter, Place
from milo.guard.lines import (
    Ack,
    BadLine,
    Beat,
    Bye,
    Hello,
    Message,
    Standing,
    Watch,
    line_of,
    plan_text,
    read_ack,
    read_message,
    read_plan,
)
from milo.guard.words import Holder, Plan
from milo.model import Direction
from milo.orders.watch import plan_of_entry, plans_of
from tests.order_desk import RUN_ID, SYMBOL, Desk

RISK = "long(1%risk@10x,sl=2%,rr=3)"


def only_plan(desk: Desk) -> Plan:
    [plan] = plans_of(desk.book)
    return plan


def test_an_empty_book_has_no_plans() -> None:
    assert plans_of(Desk().book) == ()


def test_an_entry_is_planned_before_it_is_sent() -> None:
    desk = Desk(price="50000")

    [enter] = [c for c in desk.signal(RISK) if isinstance(c, Enter)]
    plan = only_plan(desk)

    assert plan.symbol == SYMBOL
    assert plan.direction is Direction.LONG
    assert plan.run_id == RUN_ID
    assert plan.entry_id == enter.order.client_id
    assert plan.qty == enter.order.qty
    assert plan.stop_price == Decimal(49_000)
    assert plan.is_entry_open
    assert not plan.is_stop_confirmed
    assert plan.stop_ids == ()
    assert plan_of_entry(desk.book, SYMBOL, enter.order.client_id) == plan


def test_an_entry_without_a_stop_of_its_own_is_planned_with_the_engines() -> None:
    desk = Desk(price="50000")

    desk.signal("short(1%margin@10x)")

    assert Decimal(53_000) < only_plan(desk).stop_price < Decimal(55_000)


def test_a_protected_position_is_planned_with_its_confirmed_stop() -> None:
    desk = Desk(price="50000")

    trade = desk.enter(RISK)
    plan = only_plan(desk)

    assert plan.stop_ids == (trade.stop_id,)
    assert plan.stop_price == trade.stop_price
    assert plan.is_stop_confirmed
    assert not plan.is_entry_open
    assert plan.qty == trade.qty


def test_a_position_that_is_gone_has_no_plan() -> None:
    desk = Desk(price="50000")
    desk.enter(RISK)

    desk.move_to("48000")

    assert plans_of(desk.book) == ()


def test_between_fill_and_confirmed_stop_the_plan_says_so() -> None:
    desk = Desk(price="50000")
    commands = desk.signal(RISK)
    while not any(isinstance(command, Place) for command in commands):
        commands = desk.deliver(*desk.carry_out(desk.due.pop(0)))
    plan = only_plan(desk)

    assert not plan.is_stop_confirmed
    assert len(plan.stop_ids) == 1
    assert plan.stop_price == desk.trade.stop_price


def test_a_reversal_plans_both_sides_in_turn() -> None:
    desk = Desk(price="50000")
    desk.enter(RISK)

    desk.signal("short(1%risk@10x,sl=2%,rr=3)", candle=1)
    closing = only_plan(desk)
    desk.settle()

    assert closing.direction is Direction.LONG
    assert only_plan(desk).direction is Direction.SHORT


PLAN = Plan(
    symbol="BTCUSDT",
    direction=Direction.SHORT,
    run_id=RUN_ID,
    key="0123456789",
    entry_id="milo-0run0run-0123456789-e",
    qty=Decimal("0.010"),
    stop_price=Decimal("51000.10"),
    stop_ids=("milo-0run0run-0123456789-s",),
    is_entry_open=True,
    tick=Decimal("0.10"),
    step=Decimal("0.001"),
    max_qty=None,
    sent_ms=1_700_000_000_000,
)


@pytest.mark.parametrize(
    "message",
    [
        Hello(n=1, token="secret", run=RUN_ID, pid=7, symbols=("BTCUSDT", "ETHUSDT")),
        Beat(n=2),
        Watch(n=3, plan=PLAN),
        Standing(n=4, plans=(PLAN, dataclasses.replace(PLAN, max_qty=Decimal(120)))),
        Standing(n=5, plans=()),
        Bye(n=6, ends_guard=True),
    ],
)
def test_a_message_reads_back_from_its_line(message: Message) -> None:
    line = line_of(message)

    assert read_message(line) == message
    assert line.count(b"\n") == 1


def test_an_answer_reads_back_from_its_line() -> None:
    ack = Ack(n=9, holder=Holder.GUARD, took=2)

    assert read_ack(line_of(ack)) == ack


def test_a_plan_reads_back_from_its_text() -> None:
    assert read_plan(plan_text(PLAN)) == PLAN


@pytest.mark.parametrize("line", [b"", b"{}\n", b"\xff\n", b'{"type":"hello","n":1}\n', b"[1]\n"])
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(BadLine):
        read_message(line)
    with pytest.raises(BadLine):
        read_ack(line)
