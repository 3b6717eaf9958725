"""The whole exchange as a state and operations: market, account, clock. Pure.

Only symbols that someone watches or holds are played; the others are read from the feed when asked
for. What happens to the account is collected as notices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from milo.exchange.account import bankruptcy_price
from milo.exchange.clearing import Clearing, CutOrder
from milo.exchange.desks import AlgoDesk, OrderDesk
from milo.exchange.feed import Feed
from milo.exchange.instruments import SymbolSpec
from milo.exchange.matching import Level, order_level, trail, trigger_level
from milo.exchange.notices import Notice
from milo.exchange.refusals import refusal
from milo.exchange.rules import SymbolRules, rules_of
from milo.exchange.state import Algo, ExchangeState, Order
from milo.exchange.tape import Move, Tape
from milo.intervals import DAY_MS
from milo.model import OrderStatus, OrderType

_LIQUIDATION_LAST = 1
_LIQUIDATION_FIRST = -1
_FUNDING_SEARCH_MS = 40 * DAY_MS


class _Hit(NamedTuple):
    """Something that the path meets, in the order in which it is met."""

    distance: int
    rank: int
    time_ms: int
    number: int
    at: int
    record: Order | Algo | None
    """None: the position's liquidation."""


@dataclass(frozen=True, slots=True)
class SymbolMove:
    """What one point of one symbol did: the move itself, and notices in order."""

    symbol: str
    move: Move
    notices: list[Notice]


class Venue:
    """The embedded exchange without its doors."""

    def __init__(
        self, feed: Feed, specs: Mapping[str, SymbolSpec], state: ExchangeState, now_ms: int
    ) -> None:
        self.feed = feed
        self.specs = {symbol: specs[symbol] for symbol in feed.symbols}
        self.rules: dict[str, SymbolRules] = {s: rules_of(spec) for s, spec in self.specs.items()}
        self.state = state
        self.clearing = Clearing(state, self.rules)
        self.orders = OrderDesk(self.clearing)
        self.algos = AlgoDesk(self.clearing, self.orders)
        self.tapes: dict[str, Tape] = {}
        self.skew_ms = 0
        """What the clock that clients are shown and judged by is ahead of the market's."""
        self.hiding = 0
        """The fault that hides what is placed now; 0 for none."""
        self.hidden: dict[int, int] = {}
        """Ids of orders that queries do not show, each with the fault that hides it."""
        self._watched: frozenset[str] = frozenset()
        self._bands: dict[str, tuple[int, int]] = {}
        self._funding_due: dict[str, int] = {}
        self.set_clock(now_ms)
        self.follow_exposure()

    # --- clock and market ---------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        return self.clearing.now_ms

    def set_clock(self, now_ms: int) -> None:
        """Say what time it is; all points until then must have been played."""
        self.clearing.now_ms = now_ms

    @property
    def is_finished(self) -> bool:
        """Return whether the market has come to its end."""
        return self.feed.end_ms is not None and self.now_ms >= self.feed.end_ms

    def rules_for(self, symbol: str) -> SymbolRules:
        """Return the symbol's rules; ApiRefusal -1121 where there is no such symbol."""
        rules = self.rules.get(symbol)
        if rules is None:
            raise refusal(-1121)
        return rules

    def price(self, symbol: str) -> int:
        """Return the last price; ApiRefusal -1122 before the symbol's first candle."""
        tape = self.tapes.get(symbol) or Tape(self.feed, symbol, self.now_ms)
        if tape.price is None:
            raise refusal(-1122)
        return tape.price

    def watch(self, symbols: Iterable[str]) -> None:
        """Play these symbols from now on, and those that the account holds."""
        self._watched = frozenset(symbols)
        self.follow_exposure()

    def follow_exposure(self) -> None:
        """Start the tapes of what is watched or held, and end those of the rest."""
        needed = self._watched | self.state.exposed_symbols()
        for symbol in needed - self.tapes.keys():
            self._start_tape(symbol)
        for symbol in self.tapes.keys() - needed:
            del self.tapes[symbol]
            del self.clearing.prices[symbol]
        for symbol in self.clearing.touched & self.tapes.keys():
            self._look_up(symbol)

    def prepare(self, symbol: str) -> None:
        """Make the symbol ready for an order: its price is known. Raises ApiRefusal."""
        if symbol not in self.tapes:
            self.price(symbol)
            self._start_tape(symbol)

    def _start_tape(self, symbol: str) -> None:
        tape = Tape(self.feed, symbol, self.now_ms)
        self.tapes[symbol] = tape
        self.clearing.prices[symbol] = tape.price or 0
        self.clearing.touched.add(symbol)

    def next_ms(self) -> int | None:
        """Return when the next point of a played symbol is due; None where there is none."""
        return min(
            (tape.next_ms for tape in self.tapes.values() if tape.next_ms is not None),
            default=None,
        )

    def play_next(self, time_ms: int) -> list[SymbolMove]:
        """Play the points of the instant `time_ms` = next_ms(), in the order of symbols."""
        self.set_clock(time_ms)
        due = [symbol for symbol, tape in self.tapes.items() if tape.next_ms == time_ms]
        if len(due) > 1:
            due.sort()
        moves = [self._play_symbol(symbol) for symbol in due]
        if any(move.notices for move in moves):
            self.follow_exposure()
        return moves

    def _play_symbol(self, symbol: str) -> SymbolMove:
        move = self.tapes[symbol].play()
        prices = self.clearing.prices
        start = prices[symbol]
        due_ms = self._funding_due.get(symbol)
        if due_ms is not None and due_ms <= move.time_ms:
            if due_ms == move.time_ms:
                prices[symbol] = move.price
            self._settle_funding(symbol, due_ms)
            prices[symbol] = start
            self.set_clock(move.time_ms)
        low, high = self._bands[symbol]
        if min(start, move.price) <= low or max(start, move.price) >= high:
            self._walk(symbol, start, move)
        prices[symbol] = move.price
        if symbol in self.clearing.touched:
            self._look_up(symbol)
        return SymbolMove(symbol, move, self.clearing.take_notices())

    # --- what a fault does to the account -------------------------------------------------------

    def fill_piece(self, cut_order: CutOrder) -> bool:
        """Fill the next piece of an order at the last price; return whether more are to come."""
        symbol = cut_order.order.symbol
        self.prepare(symbol)
        return self.clearing.fill_piece(cut_order, self.clearing.prices[symbol])

    def fill_rests(self) -> None:
        """Fill what an exchange that ended left of market orders in pieces, at the last price."""
        for order in list(self.state.all_open_orders()):
            if order.type is OrderType.MARKET:
                self.clearing.fill(order, self.clearing.prices[order.symbol], is_maker=False)

    def release_stuck(self) -> None:
        """Let the orders that are TRIGGERING become regular ones, at the last price."""
        for algo in list(self.state.algos.values()):
            if algo.status is OrderStatus.TRIGGERING:
                self.prepare(algo.symbol)
                self.algos.become_order(algo, self.clearing.prices[algo.symbol])

    def force_funding(self, rate: int) -> None:
        """Settle funding on every position now, at `rate` (e8)."""
        for position in self.state.held():
            self.clearing.settle_funding(position.symbol, rate)

    def force_liquidation(self) -> None:
        """Liquidate every position now, at the last price."""
        for position in self.state.held():
            self.clearing.liquidate(position.symbol, self.clearing.prices[position.symbol])

    # --- what waits on the path ---------------------------------------------------------------

    def _look_up(self, symbol: str) -> None:
        """Find the band in which nothing of ours happens, and the next funding time.

        At once after a change: a settlement a millisecond after an entry is its to pay.
        """
        self.clearing.touched.discard(symbol)
        low, high = -1, 1 << 100
        levels = [order_level(order) for order in self._resting(symbol)]
        for algo in self.state.algos_of(symbol):
            level = trigger_level(algo)
            if algo.is_trailing or level is None:
                low, high = high, low  # it moves with every price: always walk
                break
            levels.append(level)
        else:
            liquidation = self._liquidation_level(symbol)
            levels += [liquidation] if liquidation is not None else []
            low = max((level.price for level in levels if not level.is_up), default=low)
            high = min((level.price for level in levels if level.is_up), default=high)
        self._bands[symbol] = (low, high)
        self._note_funding(symbol)

    def _resting(self, symbol: str) -> list[Order]:
        """Return the orders that wait for a price; a market order in pieces waits for none."""
        orders = self.state.orders_of(symbol)
        return [order for order in orders if order.type is not OrderType.MARKET]

    def _note_funding(self, symbol: str) -> None:
        if not self.state.position(symbol).is_open:
            self._funding_due.pop(symbol, None)
        elif symbol not in self._funding_due:
            due_ms = self.next_funding_ms(symbol)
            if due_ms is not None:
                self._funding_due[symbol] = due_ms

    def next_funding_ms(self, symbol: str) -> int | None:
        """Return the next settlement after now; None where the market has no more."""
        now_ms = self.now_ms
        times = self.feed.funding_times(symbol, now_ms, now_ms + DAY_MS)
        if not times:
            times = self.feed.funding_times(symbol, now_ms, now_ms + _FUNDING_SEARCH_MS)
        return times[0] if times else None

    def _settle_funding(self, symbol: str, due_ms: int) -> None:
        self.set_clock(due_ms)
        del self._funding_due[symbol]
        self.clearing.settle_funding(symbol, self.feed.funding_rate(symbol, due_ms))
        self._look_up(symbol)

    def _liquidation_level(self, symbol: str) -> Level | None:
        position = self.state.position(symbol)
        price = self.clearing.liquidation_price(symbol) if position.is_open else 0
        return Level(price, is_up=position.qty < 0) if price else None

    def _walk(self, symbol: str, start: int, move: Move) -> None:
        """Take the price along its path, carrying out what it meets, nearest first."""
        at = start
        while (hit := self._next_hit(symbol, at, move)) is not None:
            at = hit.at
            market = move.price if move.is_jump else at
            self.clearing.prices[symbol] = market
            match hit.record:
                case Order():
                    self.clearing.fill(hit.record, hit.record.price, is_maker=True)
                case Algo():
                    self.algos.trigger(hit.record, market)
                case None:
                    self.clearing.liquidate(symbol, market)
        for algo in list(self.state.algos_of(symbol)):
            if algo.is_trailing:
                self._trail(algo, move.price)

    def _trail(self, algo: Algo, price: int) -> None:
        extreme, was_activated = algo.extreme, algo.is_activated
        trail(algo, price)
        if algo.is_activated and not was_activated:
            self.clearing.move_algo(algo, algo.status)
        elif algo.extreme != extreme:
            self.state.add_algo(algo)

    def _next_hit(self, symbol: str, at: int, move: Move) -> _Hit | None:
        hits: list[_Hit] = []
        for order in self._resting(symbol):
            _add_hit(hits, order_level(order), at, move, order, order.order_id)
        for algo in self.state.algos_of(symbol):
            level = trigger_level(algo)
            if level is not None:
                _add_hit(hits, level, at, move, algo, algo.algo_id)
        level = self._liquidation_level(symbol)
        if level is not None:
            hit = self._liquidation_hit(symbol, level, at, move)
            hits += [hit] if hit is not None else []
        return min(hits, key=lambda hit: hit[:4], default=None)

    def _liquidation_hit(self, symbol: str, level: Level, at: int, move: Move) -> _Hit | None:
        """Return when the position is liquidated: last of what is met at one price.

        A jump beyond the bankruptcy price leaves no order time to fill before it.
        """
        distance = level.distance(at, move.price)
        if distance is None:
            return None
        position = self.state.position(symbol)
        beyond = Level(bankruptcy_price(position), level.is_up)
        if move.is_jump and beyond.is_met_at(move.price):
            return _Hit(0, _LIQUIDATION_FIRST, 0, 0, at, None)
        return _Hit(distance, _LIQUIDATION_LAST, 0, 0, level.price if distance else at, None)


def _add_hit(
    hits: list[_Hit], level: Level, at: int, move: Move, record: Order | Algo, number: int
) -> None:
    distance = level.distance(at, move.price)
    if distance is not None:
        hits.append(
            _Hit(distance, 0, record.time_ms, number, level.price if distance else at, record)
        )
