"""The chart page's view of a running session: snapshots of what the engine holds."""

from __future__ import annotations

from decimal import Decimal

from milo.candles import Candles
from milo.charts.snapshot import (
    ChartPosition,
    ChartScript,
    ChartSnapshot,
    MarkKind,
    RunNumbers,
    RunState,
    TradeMark,
)
from milo.charts.trail import ScriptTrail
from milo.cli import backfill
from milo.cli.context import Slot
from milo.cli.live import LiveSession
from milo.cli.operator import Operator
from milo.clock import monotonic_s
from milo.commands import Trade
from milo.errors import ConfigError
from milo.intervals import INTERVALS, open_of
from milo.money import ZERO, decimals_of, nearest_to
from milo.orders.book import OpenTrade

CANDLES_SHOWN = 5000


class SessionChart:
    """A ChartSource over one LiveSession: the scripts' own series, and stored ones beside them."""

    def __init__(self, session: LiveSession, operator: Operator) -> None:
        self._session = session
        self._operator = operator
        self.is_finished = False
        self._stored: dict[tuple[str, str], tuple[int, Candles]] = {}
        """Series beside the scripts' own: the open time until which they hold, and candles."""

    async def snapshot(self, symbol: str | None, interval: str | None) -> ChartSnapshot:
        """Return the present state; see ChartSource."""
        session = self._session
        slot = self._slot(symbol, interval)
        symbols = tuple(dict.fromkeys(s.symbol for s in session.slots))
        shown_symbol = symbol or slot.symbol
        shown_interval = interval or slot.timeframe
        if shown_symbol not in symbols:
            raise ConfigError(f"no script runs on {shown_symbol}; shown are {', '.join(symbols)}")
        if shown_interval not in INTERVALS:
            names = " ".join(INTERVALS)
            raise ConfigError(f"unknown interval {shown_interval}; use one of {names}")
        is_own = (slot.symbol, slot.timeframe) == (shown_symbol, shown_interval)
        if is_own:
            candles = slot.candles
        else:
            candles = await self._stored_candles(shown_symbol, shown_interval)
        state = session.manager.book.symbols.get(shown_symbol)
        trade = None if state is None else state.trade
        tick = Decimal("0.01") if state is None else state.ready.instrument.tick
        last = session.last_market_s
        return ChartSnapshot(
            symbol=shown_symbol,
            interval=shown_interval,
            symbols=symbols,
            intervals=tuple(dict.fromkeys(s.timeframe for s in session.slots)),
            venue=session.venue.name,
            title=session.venue.title,
            is_simulated=session.venue.exchange is not None,
            is_real=session.venue.is_real,
            clock_ms=session.venue.clock.now_ms(),
            clock_speed=session.venue.clock.speed,
            market_age_ms=None if last is None else int((monotonic_s() - last) * 1000),
            price_decimals=decimals_of(tick),
            candles=candles,
            forming=slot.forming if is_own else None,
            state=self._state(slot),
            script=_script(slot, slot.trail if is_own else None),
            position=None if trade is None else self._position(trade, shown_symbol, tick),
            trades=_marks(session.manager.trades(), shown_symbol),
            log=tuple(self._operator.lines),
            alert=f"script {slot.name} is halted" if slot.is_halted else None,
            numbers=self._numbers(),
            unisolated=session.unisolated,
        )

    async def _stored_candles(self, symbol: str, interval: str) -> Candles:
        """Return the store's candles, read again only when another one has closed.

        They begin where they began before: the page knows them by their places.
        """
        venue = self._session.venue
        open_ms = open_of(venue.clock.now_ms(), interval)
        known = self._stored.get((symbol, interval))
        if known is None or known[0] != open_ms:
            if known is not None and len(known[1]):
                start_ms = int(known[1].open_ms[0])
                candles = await backfill.load(venue, symbol, interval, start_ms=start_ms)
            else:
                candles = await backfill.load(venue, symbol, interval, count=CANDLES_SHOWN)
            known = (open_ms, candles)
            self._stored[symbol, interval] = known
        return known[1]

    def _slot(self, symbol: str | None, interval: str | None) -> Slot:
        for slot in self._session.slots:
            if symbol in (None, slot.symbol) and interval in (None, slot.timeframe):
                return slot
        for slot in self._session.slots:
            if symbol == slot.symbol:
                return slot
        return self._session.slots[0]

    def _state(self, slot: Slot) -> RunState:
        if self.is_finished:
            return RunState.FINISHED
        return RunState.HALTED if slot.is_halted else RunState.RUNNING

    def _position(self, trade: OpenTrade, symbol: str, tick: Decimal) -> ChartPosition:
        mark = self._session.engine.marks().get(symbol, trade.entry_price)
        return ChartPosition(
            direction=trade.direction,
            qty=trade.qty,
            entry_price=trade.entry_price,
            opened_ms=trade.entry_ms,
            stop_price=trade.stop_price if trade.is_stop_confirmed else None,
            target_price=trade.target_price,
            liquidation_price=None
            if trade.liquidation is None
            else nearest_to(trade.liquidation, tick),
            leverage=trade.leverage,
            unrealized=trade.direction.sign * trade.qty * (mark - trade.entry_price),
        )

    def _numbers(self) -> RunNumbers:
        session = self._session
        book = session.manager.book
        rows = session.manager.trades()
        account = book.account
        return RunNumbers(
            start_balance=session.start_wallet,
            wallet_balance=None if account is None else account.wallet,
            available_balance=None if account is None else account.available,
            unrealized=book.unrealized(session.engine.marks()),
            profit=sum((row.profit for row in rows), ZERO),
            closed_trades=sum(row.exit_ms is not None and bool(row.qty) for row in rows),
            candles=session.slots[0].closed_seen,
            evaluations=sum(slot.evaluations for slot in session.slots),
            signals=sum(slot.signals for slot in session.slots),
            script_errors=sum(slot.errors for slot in session.slots),
        )


def _script(slot: Slot, trail: ScriptTrail | None) -> ChartScript:
    result = slot.last_result
    return ChartScript(
        name=slot.name,
        symbol=slot.symbol,
        interval=slot.timeframe,
        last_action=None if result is None else result.action,
        last_condition=None if result is None else result.condition,
        trail=trail,
    )


def _marks(rows: tuple[Trade, ...], symbol: str) -> tuple[TradeMark, ...]:
    marks: list[TradeMark] = []
    for row in rows:
        if row.symbol != symbol or not row.qty:
            continue
        marks.append(
            TradeMark(
                time_ms=row.entry_ms,
                kind=MarkKind.ENTRY,
                side=row.direction.entry_side,
                price=row.entry_price,
                qty=row.qty,
            )
        )
        if row.exit_ms is not None and row.exit_price is not None:
            marks.append(
                TradeMark(
                    time_ms=row.exit_ms,
                    kind=MarkKind.EXIT,
                    side=row.direction.exit_side,
                    price=row.exit_price,
                    qty=row.qty,
                    reason=row.reason,
                    profit=row.profit,
                )
            )
    return tuple(sorted(marks, key=lambda mark: mark.time_ms))
