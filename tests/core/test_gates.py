"""Entry filters: who may open, on what, and beside what."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from milo.gates import GATES, ask
from milo.gates.verdict import GateInput
from tests.order_desk import BTC

OPEN = GateInput(
    instrument=BTC,
    is_account_known=True,
    may_trade=True,
    foreign_qty=Decimal(0),
    unexplained_qty=Decimal(0),
    action="long(1%risk@10x)",
)


def test_an_entry_passes_where_no_gate_objects() -> None:
    assert ask(OPEN) is None


def test_a_run_without_live_names_the_order_that_was_not_sent() -> None:
    skip = ask(dataclasses.replace(OPEN, may_trade=False))

    assert skip is not None
    assert "long(1%risk@10x)" in skip.reason
    assert "--live" in skip.reason


def test_no_entry_before_the_account_is_known() -> None:
    skip = ask(dataclasses.replace(OPEN, is_account_known=False))

    assert skip is not None
    assert "not known" in skip.reason


@pytest.mark.parametrize("status", ["SETTLING", "TRADING_HALT", "PENDING_TRADING", "anything new"])
def test_no_entry_on_a_symbol_in_any_state_but_trading(status: str) -> None:
    halted = dataclasses.replace(BTC, status=status)

    skip = ask(dataclasses.replace(OPEN, instrument=halted))

    assert skip is not None
    assert "BTCUSDT" in skip.reason
    assert status in skip.reason


@pytest.mark.parametrize("qty", ["0.010", "-0.010"])
def test_no_entry_beside_a_position_that_milo_did_not_open(qty: str) -> None:
    skip = ask(dataclasses.replace(OPEN, foreign_qty=Decimal(qty)))

    assert skip is not None
    assert qty.rstrip("0") in skip.reason
    assert "close it first" in skip.reason


def test_no_entry_while_the_account_shows_a_position_of_unknown_origin() -> None:
    skip = ask(dataclasses.replace(OPEN, unexplained_qty=Decimal("-0.25")))

    assert skip is not None
    assert "-0.25" in skip.reason
    assert "not known yet" in skip.reason


def test_the_first_gate_that_objects_gives_the_reason() -> None:
    everything_wrong = dataclasses.replace(
        OPEN,
        may_trade=False,
        is_account_known=False,
        foreign_qty=Decimal(1),
        unexplained_qty=Decimal(1),
        instrument=dataclasses.replace(BTC, status="CLOSE"),
    )
    first = next(verdict for gate in GATES if (verdict := gate(everything_wrong)) is not None)

    skip = ask(everything_wrong)

    assert skip == first
    assert "read only" in first.reason
