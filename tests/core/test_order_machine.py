"""The life of an order: legal moves only, and final states that stay final."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.model import OrderStatus
from milo.orders.machine import FINAL, LATE_MOVES, MOVES, OrderState, advance, state_of

STATES = list(OrderState)


def test_every_state_has_its_row_in_the_table() -> None:
    assert set(MOVES) == set(OrderState)


@pytest.mark.parametrize("status", OrderStatus)
def test_every_status_of_the_venue_has_a_state(status: OrderStatus) -> None:
    assert state_of(status).is_final == status.is_final


def test_a_final_state_is_left_by_the_listed_late_moves_only() -> None:
    for before, after in itertools.product(FINAL, STATES):
        is_left = advance(before, after) is not before
        assert is_left == ((before, after) in LATE_MOVES)


def test_filled_and_rejected_are_never_left() -> None:
    for state in (OrderState.FILLED, OrderState.REJECTED):
        assert not MOVES[state]


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.lists(st.sampled_from(STATES), max_size=12))
def test_whatever_is_reported_a_final_state_ends_filled_or_stays(
    reports: list[OrderState],
) -> None:
    state = OrderState.PLACING
    for report in reports:
        before, state = state, advance(state, report)

        if before.is_final and state is not before:
            assert (before, state) in LATE_MOVES
        assert state is before or state in MOVES[before]


@pytest.mark.parametrize(
    ("state", "stale"),
    [
        (OrderState.FILLED, OrderState.PARTIAL),
        (OrderState.PARTIAL, OrderState.OPEN),
        (OrderState.TRIGGERED, OrderState.OPEN),
        (OrderState.CANCELED, OrderState.OPEN),
        (OrderState.OPEN, OrderState.PLACING),
        (OrderState.EXPIRED, OrderState.CANCELED),
    ],
)
def test_a_stale_report_changes_nothing(state: OrderState, stale: OrderState) -> None:
    assert advance(state, stale) is state


@pytest.mark.parametrize("state", [OrderState.CANCELED, OrderState.EXPIRED, OrderState.ABSENT])
def test_an_order_that_seemed_gone_can_still_fill(state: OrderState) -> None:
    assert advance(state, OrderState.FILLED) is OrderState.FILLED


def test_the_fill_may_come_after_the_word_that_the_order_is_finished() -> None:
    assert advance(OrderState.FINISHED, OrderState.FILLED) is OrderState.FILLED
