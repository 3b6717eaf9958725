"""What the guard does about one plan: from what it was told, what it read, and the time. Pure.

1. It opens nothing: it places stops that close a position, and reduce-only market orders.
2. A position without a standing stop gets one at the plan's price, at once; where the exchange lets
   no second one stand (its Algo service), without waiting for readings: its answer tells as much.
3. Where the price is beyond the stop, or no stop stands 1.5 s after the exposure began, the
   position is closed at market, again and again, until it is flat or a stop stands.
4. An unknown outcome is never believed either way: the next attempt has a name of its own.
5. An entry that may still fill is watched for 60 s, or until the exchange says that it is final.

Times are monotonic wall seconds. Source of the codes: exchange-api.md, section 7.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from milo.guard.words import Plan
from milo.model import Direction, NewOrder, OrderReport, OrderStatus, OrderType, PositionReport
from milo.money import ZERO, floor_to, plain
from milo.orders.ids import Leg, client_id, is_ours

STOP_EVERY_S = 0.3
SLOW_STOP_EVERY_S = 1.0
"""Beyond the stop's price; or where a refusal says flat and no reading has said so yet."""
CLOSE_EVERY_S = 0.4
FLATTEN_AFTER_S = 1.5
ENTRY_WATCH_S = 60.0
LASTING_S = 2.0
INVISIBLE_S = 5.0
"""A stop that the exchange took can be missing from its lists for so long."""

WOULD_TRIGGER = frozenset({-2021, -4142})
NO_POSITION = -4509
HAS_STOP = -4130
NOTHING_TO_REDUCE = frozenset({-2022, -4118})
_LONG_AGO_S = float("-inf")
_TRIGGERED = frozenset({OrderStatus.TRIGGERING, OrderStatus.TRIGGERED})


class Stop(StrEnum):
    """What is known of the position's stop."""

    UNKNOWN = "unknown"
    NONE = "none"
    TRIGGERING = "triggering"
    """It no longer stands and has not closed the position yet."""
    STANDS = "stands"


class Result(StrEnum):
    """What became of a request that places an order."""

    TAKEN = "taken"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the exchange said to an order of the guard's."""

    result: Result
    code: int = 0
    status: OrderStatus | None = None
    filled_qty: Decimal = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many orders of each kind were ever sent for a plan: their numbers are not used again."""

    stops: int = 0
    closes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A plan while the guard answers for it, and everything that it knows about it."""

    plan: Plan
    counts: Counts
    since_s: float
    """When the guard took over."""
    is_exclusive: bool
    """The exchange refuses a second stop beside one, and ends stops with their position."""
    qty: Decimal | None = None
    """Open in the plan's direction, unsigned; None: not known."""
    stop: Stop = Stop.UNKNOWN
    is_entry_final: bool = True
    is_crossed: bool = False
    """The price is beyond the stop."""
    exposed_s: float | None = None
    """Since when it may have been open without a stop."""
    is_hearsay: bool = False
    """That a stop stands was only said in refusing another one."""
    confirmed_s: float = _LONG_AGO_S
    """When the exchange last said that a stop stands."""
    moved_s: float = _LONG_AGO_S
    """When a close was last answered: earlier readings of the position are out of date."""
    stop_tried_s: float = _LONG_AGO_S
    close_tried_s: float = _LONG_AGO_S
    is_placing: bool = False
    is_closing: bool = False
    flat_s: float | None = None
    """Since when the exchange says that nothing is open."""
    is_read_flat: bool = False
    """A reading says so too, not only the refusal of an order."""
    leftovers: tuple[str, ...] = ()
    """Stops of the guard's that stand though the position is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceStop:
    order: NewOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatten:
    order: NewOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelStop:
    symbol: str
    client_id: str


Action = PlaceStop | Flatten | CancelStop


def take_over(plan: Plan, counts: Counts, now_s: float, *, is_exclusive: bool) -> Watched:
    """Return what is known of a plan at the moment at which the guard answers for it."""
    return Watched(
        plan=plan,
        counts=counts,
        since_s=now_s,
        is_exclusive=is_exclusive,
        stop=Stop.STANDS if plan.is_stop_confirmed else Stop.UNKNOWN,
        is_entry_final=not plan.is_entry_open,
        exposed_s=None if plan.is_stop_confirmed else now_s,
    )


def may_fill(watched: Watched, now_s: float) -> bool:
    """Return whether the entry may still open something."""
    return not watched.is_entry_final and now_s - watched.since_s < ENTRY_WATCH_S


def is_flat(watched: Watched, now_s: float) -> bool:
    """Return whether nothing is open, and nothing can open any more."""
    return watched.qty == ZERO and watched.is_read_flat and not may_fill(watched, now_s)


def is_settled(watched: Watched, now_s: float) -> bool:
    """Return whether nothing is left to do: flat for good, or a stop stands on what is open."""
    if watched.is_placing or watched.is_closing or watched.leftovers or may_fill(watched, now_s):
        return False
    is_protected = watched.qty is not None and watched.stop is Stop.STANDS
    return is_protected or is_flat(watched, now_s)


# --- what to do ---------------------------------------------------------------------------------


def due(watched: Watched, now_s: float) -> tuple[Action, ...]:
    """Return what to send now."""
    actions: list[Action] = []
    if _must_close(watched, now_s):
        actions.append(Flatten(order=_close_order(watched)))
    if _must_place(watched, now_s):
        actions.append(PlaceStop(order=_stop_order(watched)))
    # One reading may lag behind a fill: a stop goes only when flat has lasted.
    has_lasted = watched.flat_s is not None and now_s - watched.flat_s >= LASTING_S
    if is_flat(watched, now_s) and has_lasted:
        symbol = watched.plan.symbol
        actions += (CancelStop(symbol=symbol, client_id=name) for name in watched.leftovers)
    return tuple(actions)


def sent(watched: Watched, action: Action, now_s: float) -> Watched:
    """Note that the action is under way."""
    counts = watched.counts
    match action:
        case PlaceStop():
            counts = dataclasses.replace(counts, stops=counts.stops + 1)
            return _with(watched, counts=counts, is_placing=True, stop_tried_s=now_s)
        case Flatten():
            counts = dataclasses.replace(counts, closes=counts.closes + 1)
            return _with(watched, counts=counts, is_closing=True, close_tried_s=now_s)
        case CancelStop():
            left = tuple(i for i in watched.leftovers if i != action.client_id)
            return _with(watched, leftovers=left)


def _must_place(watched: Watched, now_s: float) -> bool:
    if watched.stop is Stop.STANDS or watched.is_placing:
        return False
    if is_flat(watched, now_s):
        return False
    if not watched.is_exclusive and (not watched.qty or watched.stop is not Stop.NONE):
        # A second stop would stand beside the first: only where readings show that there is none.
        return False
    is_done = watched.qty == ZERO and not may_fill(watched, now_s)
    pause_s = SLOW_STOP_EVERY_S if watched.is_crossed or is_done else STOP_EVERY_S
    return now_s - watched.stop_tried_s >= pause_s


def _must_close(watched: Watched, now_s: float) -> bool:
    if watched.stop is Stop.STANDS or watched.is_closing or watched.qty == ZERO:
        return False
    if now_s - watched.close_tried_s < CLOSE_EVERY_S:
        return False
    exposed_s = watched.exposed_s
    is_overdue = exposed_s is not None and now_s - exposed_s >= FLATTEN_AFTER_S
    return watched.is_crossed or is_overdue


def _stop_order(watched: Watched) -> NewOrder:
    plan = watched.plan
    return NewOrder(
        symbol=plan.symbol,
        side=plan.direction.exit_side,
        type=OrderType.STOP_MARKET,
        client_id=guard_id(plan, Leg.STOP, watched.counts.stops),
        trigger_price=Decimal(plain(plan.stop_price)),
        is_close_position=True,
    )


def _close_order(watched: Watched) -> NewOrder:
    plan = watched.plan
    qty = watched.qty or plan.qty
    if plan.max_qty is not None:
        qty = min(qty, plan.max_qty)
    # Never rounded to nothing: where even one step is too much, the exchange says so.
    qty = floor_to(qty, plan.step) or qty
    return NewOrder(
        symbol=plan.symbol,
        side=plan.direction.exit_side,
        type=OrderType.MARKET,
        client_id=guard_id(plan, Leg.CLOSE, watched.counts.closes),
        qty=qty,
        is_reduce_only=True,
    )


def guard_id(plan: Plan, leg: Leg, number: int) -> str:
    """Return a client id as the engine's, with an attempt number that begins with 9."""
    return client_id(plan.run_id, plan.key, leg, int(f"9{number}"))


def is_guards(client_order_id: str) -> bool:
    """Return whether the guard placed the order."""
    tail = client_order_id.rsplit("-", 1)[-1]
    return is_ours(client_order_id) and tail[1:2] == "9" and len(tail) > 2


# --- what the exchange answered -----------------------------------------------------------------


def on_stop_answer(watched: Watched, answer: Answer, now_s: float) -> Watched:
    """Take in the answer to a stop."""
    watched = _with(watched, is_placing=False)
    if answer.result is Result.TAKEN:
        return _on_taken(watched, answer, now_s)
    if answer.result is Result.REFUSED:
        if answer.code == NO_POSITION:
            return _as_flat(watched, now_s)
        if answer.code == HAS_STOP:
            # One that is being triggered is in the way and protects nothing.
            if watched.stop is Stop.TRIGGERING:
                return watched
            return _with(_as_confirmed(watched, now_s), is_hearsay=True)
        if answer.code in WOULD_TRIGGER:
            return _exposed(_with(watched, is_crossed=True), now_s)
    return _exposed(watched, now_s)


def _on_taken(watched: Watched, answer: Answer, now_s: float) -> Watched:
    if answer.status is not None and answer.status.is_final:
        return _exposed(_with(watched, stop=Stop.NONE), now_s)
    if answer.status in _TRIGGERED:
        return _exposed(_with(watched, stop=Stop.TRIGGERING), now_s)
    return _as_confirmed(watched, now_s)


def on_close_answer(watched: Watched, answer: Answer, now_s: float) -> Watched:
    """Take in the answer to a closing order; what is left is read again in any case."""
    watched = _with(watched, is_closing=False, moved_s=now_s)
    if answer.result is Result.REFUSED and answer.code in NOTHING_TO_REDUCE:
        return _as_flat(watched, now_s)
    if answer.result is Result.TAKEN and watched.qty is not None:
        left = max(ZERO, watched.qty - answer.filled_qty)
        return _with(watched, qty=left) if left else _as_flat(watched, now_s)
    return watched


# --- what was read ------------------------------------------------------------------------------


def on_position_read(
    watched: Watched, positions: Iterable[PositionReport], *, asked_s: float, now_s: float
) -> Watched:
    """Take in the account's positions, as asked for at `asked_s`."""
    if asked_s < watched.moved_s or watched.is_closing:
        return watched
    qty = _qty_of(positions, watched.plan)
    if not qty:
        return _with(_as_flat(watched, now_s), is_read_flat=True)
    watched = _with(watched, qty=qty, flat_s=None, is_read_flat=False, leftovers=())
    return watched if watched.stop is Stop.STANDS else _exposed(watched, now_s)


def on_stops_read(
    watched: Watched, orders: Iterable[OrderReport], *, asked_s: float, now_s: float
) -> Watched:
    """Take in the symbol's open orders, as asked for at `asked_s`."""
    found = [order for order in orders if _protects(order, watched.plan)]
    if watched.qty == ZERO and watched.is_exclusive:
        return watched
    if watched.qty == ZERO:
        left = tuple(order.client_id for order in found if is_guards(order.client_id))
        return _with(watched, leftovers=left)
    if any(order.status is OrderStatus.NEW for order in found):
        return _with(_as_confirmed(watched, now_s), confirmed_s=watched.confirmed_s)
    if found:
        return _exposed(_with(watched, stop=Stop.TRIGGERING), now_s)
    is_believed = asked_s - watched.confirmed_s >= INVISIBLE_S
    if watched.stop is Stop.STANDS and not is_believed:
        if watched.is_hearsay and asked_s >= watched.confirmed_s:
            # One of two words is wrong: asking again by another stop can do no harm.
            return _with(watched, stop=Stop.UNKNOWN)
        return watched
    watched = _with(watched, stop=Stop.NONE)
    return _exposed(watched, now_s) if watched.qty else watched


def on_entry_read(watched: Watched, report: OrderReport) -> Watched:
    """Take in the state of the entry; what it filled before it ended is still to be read."""
    if watched.is_entry_final or not report.status.is_final:
        return watched
    qty = watched.qty or (None if report.filled_qty else watched.qty)
    return _with(watched, is_entry_final=True, qty=qty, is_read_flat=False)


def _qty_of(positions: Iterable[PositionReport], plan: Plan) -> Decimal:
    sign = 1 if plan.direction is Direction.LONG else -1
    signed = sum((p.qty for p in positions if p.symbol == plan.symbol), ZERO)
    return max(ZERO, sign * signed)


def _protects(order: OrderReport, plan: Plan) -> bool:
    return (
        order.symbol == plan.symbol
        and order.type is OrderType.STOP_MARKET
        and order.is_close_position
        and order.side is plan.direction.exit_side
        and not order.status.is_final
    )


def _as_confirmed(watched: Watched, now_s: float) -> Watched:
    return _with(
        watched,
        stop=Stop.STANDS,
        is_crossed=False,
        is_hearsay=False,
        exposed_s=None,
        confirmed_s=now_s,
    )


def _as_flat(watched: Watched, now_s: float) -> Watched:
    # A stop ends with its position: what may still fill needs one of its own.
    flat_s = now_s if watched.flat_s is None else watched.flat_s
    return _with(watched, qty=ZERO, stop=Stop.NONE, is_crossed=False, exposed_s=None, flat_s=flat_s)


def _exposed(watched: Watched, now_s: float) -> Watched:
    # That nothing was open does not say that nothing is: an entry may have filled since.
    exposed_s = now_s if watched.exposed_s is None else watched.exposed_s
    return _with(watched, qty=watched.qty or None, is_read_flat=False, exposed_s=exposed_s)


def _with(watched: Watched, **changes: object) -> Watched:
    return dataclasses.replace(watched, **changes)  # type: ignore[arg-type]
