"""What goes into the executions of a recorded session: its prices, decisions, funding (layer 1)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal

import numpy as np

from milo.backtest.decisions import Decisions
from milo.backtest.path import Asked, Funded, PathExecution, Told
from milo.backtest.recorded import RecordedRun
from milo.backtest.session import RecordedPrice, RecordedSession
from milo.backtest.slot import FundingHistory, settlements_of
from milo.candles import Candles
from milo.exchange.feed import DEFAULT_FUNDING_E8, E8
from milo.exchange.instruments import to_e8
from milo.inbox import Signal
from milo.intervals import MINUTE_MS
from milo.money import from_float
from milo.script.actions import parse_action
from milo.ta import atr

_ATR_PERIOD = 14


class Path:
    """The prices of a session as the venue told them, in order of time; `markets` in theirs."""

    def __init__(self, sessions: Sequence[RecordedSession], stored: Sequence[Candles]) -> None:
        """`stored`: of each session, the closed candles from the start of its history on."""
        self.sessions = sessions
        self.stored = stored
        self.told: list[Told] = []
        self.late = 0
        """Candles that were read afterwards, because the stream had not told them."""
        self._marks: list[tuple[int, str, Decimal]] = []
        self._atrs = [atr(c.high, c.low, c.close, _ATR_PERIOD) for c in stored]
        for market, session in enumerate(sessions):
            for price, is_jump in self._moves(session):
                candle = price.candle
                self.told.append(
                    Told(price.time_ms, market, round(candle.close * E8), candle.open_ms, is_jump)
                )
                mark = (price.number, session.history.symbol, from_float(candle.close))
                self._marks.append(mark)
        self._marks.sort()
        self.last_ms = {
            session.history.symbol: max(
                (told.time_ms for told in self.told if told.market == market), default=-1
            )
            for market, session in enumerate(sessions)
        }

    def _moves(self, session: RecordedSession) -> Iterable[tuple[RecordedPrice, bool]]:
        """Yield each new price, and whether it opens a candle of the venue's shortest interval.

        A state that was told before says nothing new: the stream repeats itself where it is
        quiet, and a state on which a script was still at work is on record twice.
        """
        newest_ms = before_ms = -1
        seen: set[object] = set()
        for price in session.prices.values():
            candle = price.candle
            if candle.open_ms < newest_ms:
                self.late += price.is_closed and candle not in seen
                continue
            if candle.open_ms > newest_ms:
                newest_ms = candle.open_ms
                seen.clear()
            if candle in seen:
                continue
            seen.add(candle)
            # The last price of any candle comes in the last millisecond of a minute.
            yield price, (before_ms + 1) % MINUTE_MS == 0
            before_ms = price.time_ms

    def atr_before(self, market: int, open_ms: int, *, is_forming: bool) -> Decimal | None:
        """Return ATR(14) of the last closed candle that a decision on `open_ms` knew."""
        times = self.stored[market].open_ms
        side = "left" if is_forming else "right"
        row = int(np.searchsorted(times, open_ms, side=side)) - 1  # type: ignore[call-overload]
        value = float(self._atrs[market][row]) if row >= 0 else float("nan")
        return from_float(value) if value == value else None

    def marks_at(self, number: int) -> dict[str, Decimal]:
        """Return each symbol's last price that was told before a record of that number."""
        found: dict[str, Decimal] = {}
        for told, symbol, price in self._marks:
            if told > number:
                break
            found[symbol] = price
        return found


def closed_span(session: RecordedSession, candles: Candles, from_ms: int = 0) -> tuple[int, int]:
    """Return which stored candles [first, end) the session saw close, from a time on."""
    closed = [price.candle.open_ms for price in session.closed if price.time_ms >= from_ms]
    if not closed:
        return 0, 0
    first = int(np.searchsorted(candles.open_ms, min(closed)))
    return first, int(np.searchsorted(candles.open_ms, max(closed), side="right"))


def asked_again(path: Path, recorded: RecordedRun) -> list[Asked]:
    """Return the recorded decisions; of each the prices by which the engine valued the account."""
    known: dict[tuple[str, int, str, Decimal], list[tuple[int, Signal]]] = defaultdict(list)
    for time_ms, signal in recorded.signals:
        key = (signal.symbol, signal.candle_open_ms, signal.action, signal.price)
        known[key].append((time_ms, signal))
    found: list[tuple[int, Asked]] = []
    for market, session in enumerate(path.sessions):
        for one in session.evaluations:
            intent = None if one.action is None else parse_action(one.action)
            close = _close_of(path, market, one.price, one.open_ms)
            if one.action is None or intent is None or close is None:
                continue
            if one.time_ms < recorded.from_ms:
                continue
            price = from_float(close)
            signals = known.get((session.history.symbol, one.open_ms, one.action, price), [])
            marks = path.marks_at(one.number)
            if signals:
                # At running speed a price can be told that the engine has not looked at yet.
                _, signal = min(signals, key=lambda item: abs(item[0] - one.time_ms))
                marks = dict(signal.marks)
            asked = Asked(
                time_ms=one.time_ms,
                market=market,
                open_ms=one.open_ms,
                action=one.action,
                intent=intent,
                price=price,
                atr=path.atr_before(market, one.open_ms, is_forming=one.price is not None),
                marks=marks,
            )
            found.append((one.number, asked))
    return [asked for _, asked in sorted(found, key=lambda item: item[0])]


def _close_of(path: Path, market: int, number: int | None, open_ms: int) -> float | None:
    """Return the close of the newest candle that was seen."""
    if number is not None:
        return path.sessions[market].prices[number].candle.close
    candles = path.stored[market]
    row = int(np.searchsorted(candles.open_ms, open_ms))
    if row == len(candles) or candles.open_ms.item(row) != open_ms:
        return None
    return candles.close.item(row)


def asked_closed(path: Path, recorded: RecordedRun, closed: Sequence[Decisions]) -> list[Asked]:
    """Return what a backtest decides on the closed candles, when the stream told their close."""
    found: list[tuple[int, Asked]] = []
    for market, session in enumerate(path.sessions):
        times = path.stored[market].open_ms
        for price in session.closed:
            row = int(np.searchsorted(times, price.candle.open_ms))
            if row == len(times) or price.time_ms < recorded.from_ms:
                continue
            action = closed[market].action_at(row)
            intent = parse_action(action)
            if intent is None:
                continue
            asked = Asked(
                time_ms=price.time_ms,
                market=market,
                open_ms=price.candle.open_ms,
                action=action,
                intent=intent,
                price=from_float(price.candle.close),
                atr=path.atr_before(market, price.candle.open_ms, is_forming=False),
                marks=path.marks_at(price.number),
            )
            found.append((price.number, asked))
    return [asked for _, asked in sorted(found, key=lambda item: item[0])]


def paid(path: Path, recorded: RecordedRun) -> list[Funded]:
    """Return the settlements on record, with what they moved."""
    places = {session.history.symbol: n for n, session in enumerate(path.sessions)}
    return [
        Funded(time_ms, places[symbol], paid=to_e8(amount))
        for (time_ms, symbol), amount in sorted(recorded.payments.items())
        if symbol in places and time_ms >= recorded.from_ms
    ]


def rates(path: Path, again: PathExecution) -> list[FundingHistory]:
    """Return the rates that were paid while a position was open, of each session."""
    histories = []
    for market in range(len(path.sessions)):
        known = sorted((ms, rate) for (ms, place), rate in again.rates.items() if place == market)
        histories.append(
            FundingHistory(
                times_ms=np.array([ms for ms, _ in known], np.int64),
                rates=np.array([rate / E8 for _, rate in known]),
            )
        )
    return histories


def due(path: Path, funding: Sequence[FundingHistory]) -> list[Funded]:
    """Return all settlements in the time of the prices; at 0.01 % where the rate is unknown."""
    found = []
    for market, history in enumerate(funding):
        times = [told.time_ms for told in path.told if told.market == market]
        if not times:
            continue
        due = settlements_of(
            history, from_ms=times[0], until_ms=times[-1], assumed_e8=DEFAULT_FUNDING_E8
        )
        found += [
            Funded(ms, market, rate=rate)
            for ms, rate in zip(due.times_ms, due.rates_e8, strict=True)
        ]
    return found
