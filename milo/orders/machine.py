"""The life of an order of ours, as one table of legal moves.

A cancelled or expired order can still be reported as filled: the exchange matched it before it
handled the cancel. Those late moves are the only ones that leave a final state.
"""

from __future__ import annotations

from enum import StrEnum

from milo.model import OrderStatus


class OrderState(StrEnum):
    """Our view of an order; the first two exist before the venue has said anything."""

    PLACING = "placing"
    UNKNOWN = "unknown"
    OPEN = "open"
    PARTIAL = "partial"
    TRIGGERED = "triggered"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    FINISHED = "finished"
    ABSENT = "absent"

    @property
    def is_final(self) -> bool:
        return self in FINAL

    @property
    def is_standing(self) -> bool:
        """Whether the venue has said that it has the order and will carry it out."""
        return self in (OrderState.OPEN, OrderState.TRIGGERED, OrderState.PARTIAL)


_S = OrderState
FINAL = frozenset({_S.FILLED, _S.CANCELED, _S.EXPIRED, _S.REJECTED, _S.FINISHED, _S.ABSENT})
LATE_MOVES = frozenset(
    {
        (_S.CANCELED, _S.PARTIAL),
        (_S.CANCELED, _S.FILLED),
        (_S.EXPIRED, _S.PARTIAL),
        (_S.EXPIRED, _S.FILLED),
        # "Not found" is not "gone": an order can become visible after we gave it up.
        (_S.ABSENT, _S.OPEN),
        (_S.ABSENT, _S.PARTIAL),
        (_S.ABSENT, _S.FILLED),
        (_S.ABSENT, _S.TRIGGERED),
        # A trigger is reported before, or after, the fill of the order that it became.
        (_S.FINISHED, _S.FILLED),
    }
)
_FROM_OPEN = {_S.PARTIAL, _S.TRIGGERED, _S.FILLED, _S.CANCELED, _S.EXPIRED, _S.REJECTED,
              _S.FINISHED}  # fmt: skip
MOVES: dict[OrderState, frozenset[OrderState]] = {
    _S.PLACING: frozenset(_FROM_OPEN | {_S.OPEN, _S.UNKNOWN, _S.ABSENT}),
    _S.UNKNOWN: frozenset(_FROM_OPEN | {_S.OPEN, _S.ABSENT}),
    # An order that stood and is neither listed nor found by name any more is absent.
    _S.OPEN: frozenset(_FROM_OPEN | {_S.ABSENT}),
    _S.PARTIAL: frozenset({_S.FILLED, _S.CANCELED, _S.EXPIRED, _S.FINISHED}),
    _S.TRIGGERED: frozenset(
        {_S.PARTIAL, _S.FILLED, _S.FINISHED, _S.REJECTED, _S.CANCELED, _S.EXPIRED, _S.ABSENT}
    ),
} | {final: frozenset(after for before, after in LATE_MOVES if before is final) for final in FINAL}

_BY_STATUS = {
    OrderStatus.NEW: _S.OPEN,
    OrderStatus.PARTIALLY_FILLED: _S.PARTIAL,
    OrderStatus.FILLED: _S.FILLED,
    OrderStatus.CANCELED: _S.CANCELED,
    OrderStatus.REJECTED: _S.REJECTED,
    OrderStatus.EXPIRED: _S.EXPIRED,
    OrderStatus.EXPIRED_IN_MATCH: _S.EXPIRED,
    OrderStatus.TRIGGERING: _S.TRIGGERED,
    OrderStatus.TRIGGERED: _S.TRIGGERED,
    OrderStatus.FINISHED: _S.FINISHED,
}


def state_of(status: OrderStatus) -> OrderState:
    """Return our state for the venue's status."""
    return _BY_STATUS[status]


def advance(state: OrderState, to: OrderState) -> OrderState:
    """Return the state after a report; a move that is not legal (stale, repeated) changes nothing.

    Streams and answers come in any order, so an older report is expected and not an error.
    """
    return to if to in MOVES[state] else state
