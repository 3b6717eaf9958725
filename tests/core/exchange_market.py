"""A small market for tests of the embedded exchange: hand-written minutes in a real recording."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from milo.exchange.access import KeyPair, ListenKeys
from milo.exchange.api import Answer, Api, Call
from milo.exchange.feed import E8
from milo.exchange.filters import read_algo, read_order
from milo.exchange.market import Market, Recording, open_market
from milo.exchange.notices import Notice
from milo.exchange.params import Params
from milo.exchange.quota import Instant
from milo.exchange.state import Algo, ExchangeState, Order
from milo.exchange.venue import Venue

START_MS = 1_767_225_600_000  # 2026-01-01T00:00Z
MINUTE_MS = 60_000
KEYS = KeyPair(
    api_key="dbefbc809e3e83c283a984c3a1459732ea7db1360ca80c5c2c8867408d28cc83",
    api_secret="2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9",
)

Minute = tuple[str, str, str, str]
"""Open, high, low, close."""


def e8(text: str) -> int:
    """Return a decimal as e8."""
    whole, _, fraction = text.partition(".")
    sign = -1 if whole.startswith("-") else 1
    return int(whole) * E8 + sign * int(fraction.ljust(8, "0") or 0)


def flat(price: str, count: int = 1) -> list[Minute]:
    return [(price, price, price, price)] * count


def market_of(
    folder: Path, minutes: Sequence[Minute], symbol: str = "BTCUSDT", start_ms: int = START_MS
) -> Market:
    """Return a market that plays these minutes, from the first point of the first."""
    lines = ["open_time_ms,open,high,low,close,volume"]
    for number, (first, high, low, close) in enumerate(minutes):
        lines.append(f"{start_ms + number * MINUTE_MS},{first},{high},{low},{close},12")
    path = folder / f"{symbol}-{len(minutes)}.csv"
    path.write_text("\n".join(lines) + "\n")
    return open_market(recording=Recording(path=path, symbol=symbol, start_ms=start_ms))


class Exchange:
    """A venue with the few calls that tests repeat."""

    def __init__(
        self,
        folder: Path,
        minutes: Sequence[Minute],
        *,
        symbol: str = "BTCUSDT",
        balance: str = "10000",
        start_ms: int = START_MS,
    ) -> None:
        self.market = market_of(folder, minutes, symbol, start_ms)
        self.symbol = symbol
        self.state = ExchangeState()
        self.state.open_account(e8(balance), start_ms)
        self.venue = Venue(self.market.feed, self.market.table, self.state, start_ms)
        self.api = Api(self.venue, KEYS, ListenKeys(KEYS))
        self.notices: list[Notice] = []

    def order(self, **params: str) -> Order:
        """Place a regular order (`symbol` filled in) and keep its notices."""
        values = {"symbol": self.symbol} | params
        self.venue.prepare(self.symbol)
        request = read_order(Params(values), self.venue.rules[self.symbol])
        order = self.venue.orders.place(request)
        self._settle()
        return order

    def buy(self, quantity: str) -> Order:
        return self.order(side="BUY", type="MARKET", quantity=quantity)

    def sell(self, quantity: str) -> Order:
        return self.order(side="SELL", type="MARKET", quantity=quantity)

    def limit(self, side: str, quantity: str, price: str, **params: str) -> Order:
        values = {"timeInForce": "GTC"} | params
        return self.order(side=side, type="LIMIT", quantity=quantity, price=price, **values)

    def algo(self, side: str, kind: str, **params: str) -> Algo:
        """Place a conditional order and keep its notices."""
        values = {"symbol": self.symbol, "algoType": "CONDITIONAL", "side": side, "type": kind}
        self.venue.prepare(self.symbol)
        request = read_algo(Params(values | params), self.venue.rules[self.symbol])
        algo = self.venue.algos.place(request)
        self._settle()
        return algo

    def bracket(self, side: str, stop: str, target: str) -> tuple[Algo, Algo]:
        """Place stop and target that close the position."""
        return (
            self.algo(side, "STOP_MARKET", triggerPrice=stop, closePosition="true"),
            self.algo(side, "TAKE_PROFIT_MARKET", triggerPrice=target, closePosition="true"),
        )

    def leverage(self, leverage: int) -> None:
        self.venue.clearing.set_leverage(self.symbol, leverage)
        self._settle()

    def play(self, minutes: float | None = None) -> None:
        """Play the market for so many minutes, or to its end."""
        until_ms = None if minutes is None else self.venue.now_ms + int(minutes * MINUTE_MS)
        self.venue.watch([self.symbol])
        while (next_ms := self.venue.next_ms()) is not None:
            if until_ms is not None and next_ms > until_ms:
                self.venue.set_clock(until_ms)
                return
            for move in self.venue.play_next(next_ms):
                self.notices += move.notices

    def take_notices(self) -> list[Notice]:
        notices, self.notices = self.notices, []
        return notices

    def instant(self, *, speed: float = 1.0, safety_ms: int = START_MS) -> Instant:
        now_ms = self.venue.now_ms
        return Instant(now_ms=now_ms, due_ms=now_ms, safety_ms=safety_ms, speed=speed)

    def call(
        self,
        method: str,
        target: str,
        *,
        body: bytes = b"",
        key: bool = True,
        at: Instant | None = None,
    ) -> Answer:
        """Send a request through the door, as it is."""
        call = Call.of_target(
            method,
            target,
            body=body,
            api_key=KEYS.api_key if key else None,
            at=at or self.instant(),
        )
        answer = self.api.answer(call)
        self._settle()
        return answer

    def _settle(self) -> None:
        self.notices += self.venue.clearing.take_notices()
        self.venue.follow_exposure()
