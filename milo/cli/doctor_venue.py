"""The doctor's checks of the venue and the account. They change nothing there.

The one request that could place something, the stop, is built so that the venue must refuse it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal

from milo.cli.context import App
from milo.cli.findings import Finding, fail, ok, skip, warn
from milo.cli.protection import Shield, closing_stop_of, shield_of
from milo.cli.venue import OpenVenue
from milo.clock import monotonic_s, wall_ms
from milo.errors import ConfigError, EngineError, OutcomeUnknown, Refused, VenueError
from milo.model import NewOrder, OrderReport, OrderType, PositionReport, Side
from milo.money import floor_to, plain
from milo.ops.folder_lock import FolderLock
from milo.orders.ids import Leg, client_id, run_id_of, signal_key
from milo.wire.dialects import VENUES
from milo.wire.rest import RECV_WINDOW_MS

CLOCK_SAMPLES = 5
AHEAD_MS = 1000
"""How far ahead of its own clock a venue lets a request's timestamp be."""
HIGH_WEIGHT_SHARE = 0.5
NO_POSITION = -4509
STOP_EXISTS = -4130
_FAR = Decimal("0.98")

_KEYS_ADVICE = "see --set-keys; a key belongs to one venue"


@dataclass(frozen=True, slots=True)
class _Sample:
    """One round trip: how far our clocks were ahead of the venue's in its middle, in wall ms."""

    round_trip_ms: float
    from_computer_ms: float
    from_estimate_ms: float


class VenueChecks:
    """Runs the checks of one open venue, in the order in which they are shown."""

    def __init__(self, app: App, venue: OpenVenue) -> None:
        self._app = app
        self._venue = venue
        self._client = venue.client
        self._symbol = app.config.only_symbol

    async def run(self) -> list[Finding]:
        """Return what each check found; a request that fails is a finding too."""
        public: list[tuple[str, Callable[[], Awaitable[Finding]]]] = [
            ("reachable", self._reachable),
            ("clock", self._clock),
            ("symbol", self._has_symbol),
        ]
        signed: list[tuple[str, Callable[[], Awaitable[Finding]]]] = [
            ("keys", self._keys),
            ("trading", self._trading),
            ("withdrawal", self._withdrawal),
            ("position mode", self._position_mode),
            ("asset mode", self._asset_mode),
            ("margin mode", self._margin_mode),
            ("brackets", self._brackets),
            ("user stream", self._user_stream),
            ("stop", self._stop),
            ("positions", self._positions),
        ]
        found = [await _told(name, check) for name, check in public]
        if self._venue.signer is None:
            # Why there are no keys has been told already, when the venue was opened.
            found += [skip(name, "needs keys that can be used") for name, _ in signed[1:]]
        else:
            found += [await _told(name, check) for name, check in signed]
        return [*found, self._weight()]

    async def _reachable(self) -> Finding:
        before_s = monotonic_s()
        await self._client.server_time()
        took_ms = (monotonic_s() - before_s) * 1000
        return ok("reachable", f"{self._venue.title} answers in {took_ms:.0f} ms")

    async def _clock(self) -> Finding:
        samples = [await self._sample() for _ in range(CLOCK_SAMPLES)]
        best = min(samples, key=lambda sample: sample.round_trip_ms)
        corrected = f"request times are {best.from_estimate_ms:+.0f} ms off"
        window = f"the venue takes -{RECV_WINDOW_MS} to +{AHEAD_MS} ms"
        if not _is_inside(best.from_estimate_ms):
            return fail("clock", f"{corrected}; {window}", "set this computer's clock, by NTP")
        if self._venue.exchange is not None:
            return ok("clock", f"its own clock; {corrected}, inside: {window}")
        seen = f"this computer is {best.from_computer_ms:+.0f} ms off, corrected: {corrected}"
        if not _is_inside(best.from_computer_ms):
            return warn("clock", f"{seen}; {window}", "set this computer's clock, by NTP")
        return ok("clock", f"{seen}, inside: {window}")

    async def _sample(self) -> _Sample:
        computer_ms, estimate_ms, sent_s = wall_ms(), self._venue.clock.now_ms(), monotonic_s()
        venue_ms = await self._client.server_time()
        round_trip_ms = (monotonic_s() - sent_s) * 1000
        # An embedded exchange's clock is faster, and its window for timestamps wider as well.
        speed = self._venue.clock.speed or 1.0
        return _Sample(
            round_trip_ms=round_trip_ms,
            from_computer_ms=computer_ms + round_trip_ms / 2 - venue_ms,
            from_estimate_ms=(estimate_ms - venue_ms) / speed + round_trip_ms / 2,
        )

    async def _has_symbol(self) -> Finding:
        instrument = await self._venue.instrument(self._symbol)
        if not instrument.is_trading:
            seen = f"{self._symbol} is {instrument.status}"
            return warn("symbol", seen, "no entry is possible now; exits may be")
        return ok("symbol", f"{self._symbol} trades, tick {plain(instrument.tick)}")

    async def _keys(self) -> Finding:
        balance = await self._client.balance()
        return ok("keys", f"accepted; wallet {plain(balance.wallet)} USDT")

    async def _trading(self) -> Finding:
        if not self._venue.dialect.has_account_config:
            return skip("trading", f"{self._venue.title} does not tell what a key may do")
        config = await self._client.account_config()
        if not config.can_trade:
            return fail("trading", "the account may not trade", "allow futures for this account")
        return ok("trading", "the account may trade")

    async def _withdrawal(self) -> Finding:
        venue = VENUES.get(self._venue.name)
        if self._venue.exchange is not None:
            return skip("withdrawal", "the embedded exchange holds nothing to withdraw")
        if venue is None or venue.permissions_url is None:
            return skip(
                "withdrawal",
                f"{self._venue.title} cannot be asked: see that its page forbids withdrawing",
            )
        async with self._app.make.client(
            dialect=self._venue.dialect,
            rest_url=venue.permissions_url,
            clock=self._venue.clock,
            signer=self._venue.signer,
        ) as client:
            rights = await client.key_permissions()
        if rights.can_withdraw:
            return fail("withdrawal", "the key may withdraw", "switch that off on the key's page")
        if not rights.can_trade_futures:
            return fail("withdrawal", "the key may not trade futures", "allow futures for the key")
        if not rights.is_ip_bound:
            return warn(
                "withdrawal",
                "off; but the key works from any address",
                "bind it to this computer's IP address",
            )
        return ok("withdrawal", "off; futures allowed; bound to IP addresses")

    async def _position_mode(self) -> Finding:
        if await self._client.is_hedge_mode():
            return fail("position mode", "hedge", "switch to one-way: no position may be open")
        return ok("position mode", "one-way")

    async def _asset_mode(self) -> Finding:
        if await self._client.is_multi_assets():
            return fail(
                "asset mode", "multi-assets", "switch to single-asset: isolated margin needs it"
            )
        return ok("asset mode", "single-asset")

    async def _margin_mode(self) -> Finding:
        config = await self._client.symbol_config(self._symbol)
        if config.is_isolated:
            return ok("margin mode", f"{self._symbol} isolated, {config.leverage}x")
        if any(p.symbol == self._symbol and p.qty for p in await self._client.positions()):
            seen = f"{self._symbol} crossed, with an open position"
            return fail("margin mode", seen, "close it: the mode cannot change before")
        return ok("margin mode", f"{self._symbol} crossed: set to isolated before the first entry")

    async def _brackets(self) -> Finding:
        brackets = (await self._client.leverage_brackets()).get(self._symbol)
        if not brackets:
            return fail("brackets", f"none for {self._symbol}", "choose a symbol that is traded")
        highest = max(bracket.max_leverage for bracket in brackets)
        return ok("brackets", f"{len(brackets)} for {self._symbol}, at most {highest}x")

    async def _user_stream(self) -> Finding:
        # The venue gives the key in force: the stream of an engine that runs is not disturbed.
        await self._client.new_listen_key()
        return ok("user stream", "a listen key is given")

    async def _stop(self) -> Finding:
        try:
            with FolderLock(self._venue.folder):
                return await self._try_stop()
        except ConfigError:
            # A position may be opened at any moment: then the trial would be its stop.
            return skip("stop", "an engine runs on this venue: its own stops show it")

    async def _try_stop(self) -> Finding:
        positions = [p for p in await self._client.positions() if p.qty]
        held = next((p for p in positions if p.symbol == self._symbol), None)
        if held is None:
            mark = (await self._client.mark_price(self._symbol)).mark
            tick = (await self._venue.instrument(self._symbol)).tick
            order = self._trial(Side.SELL, floor_to(mark * _FAR, tick))
            wanted, state = NO_POSITION, "flat"
        else:
            standing = closing_stop_of(held, await self._client.open_orders(self._symbol))
            if standing is None:
                return skip("stop", f"{self._symbol} is open without a stop that closes it all")
            order = self._trial(standing.side, standing.trigger_price)
            wanted, state = STOP_EXISTS, "stopped"
        if not self._venue.dialect.has_algo_service:
            await self._client.try_order(order)
            return ok("stop", f"the venue's own test takes a stop of {self._symbol}")
        return await self._send_trial(order, wanted, state)

    def _trial(self, side: Side, trigger_price: Decimal) -> NewOrder:
        now_ms = wall_ms()
        key = signal_key("doctor", self._symbol, now_ms, "stop")
        return NewOrder(
            symbol=self._symbol,
            side=side,
            type=OrderType.STOP_MARKET,
            client_id=client_id(run_id_of(now_ms), key, Leg.STOP),
            trigger_price=trigger_price,
            is_close_position=True,
        )

    async def _send_trial(self, order: NewOrder, wanted: int, state: str) -> Finding:
        """Send a stop that the venue must refuse with `wanted`; whatever stands is cancelled."""
        try:
            await self._client.place_order(order)
        except Refused as error:
            if error.code == wanted:
                return ok(
                    "stop",
                    f"refused with {wanted}, as it must be while {order.symbol} is {state}: route, "
                    "key, permission and filters are good",
                )
            return fail("stop", f"{error} (expected {wanted})", "no position could be protected")
        except OutcomeUnknown as error:
            await self._cancel(order)
            return warn("stop", str(error), "ask again; what may stand of it was cancelled")
        await self._cancel(order)
        return fail(
            "stop",
            f"taken although {order.symbol} is {state}, and cancelled again",
            "the venue has changed its rules: do not trade before Milo knows them",
        )

    async def _cancel(self, order: NewOrder) -> None:
        with contextlib.suppress(VenueError):
            await self._client.cancel_order(order.symbol, order.client_id, is_conditional=True)

    async def _positions(self) -> Finding:
        positions = [p for p in await self._client.positions() if p.qty]
        if not positions:
            return ok("positions", "none open")
        orders = await self._client.open_orders()
        bare = [p for p in positions if shield_of(p, orders) is not Shield.WHOLE]
        if bare:
            named = ", ".join(_position_words(p, orders) for p in bare)
            return fail("positions", named, "place a stop, or close: --closeposition SYMBOL")
        return ok("positions", f"{len(positions)} open, each with a stop")

    def _weight(self) -> Finding:
        used, cap = self._client.weight_used, self._client.weight_cap
        seen = f"{used:,} of {cap:,} in the last minute, {max(cap - used, 0):,} left"
        if used > cap * HIGH_WEIGHT_SHARE:
            return warn("request weight", seen, "other programs use this IP address as well")
        return ok("request weight", seen)


def _is_inside(off_ms: float) -> bool:
    return -RECV_WINDOW_MS < off_ms < AHEAD_MS


def _position_words(position: PositionReport, orders: tuple[OrderReport, ...]) -> str:
    shield = shield_of(position, orders)
    return f"{position.symbol} {position.direction} {plain(abs(position.qty))}: {shield}"


async def _told(name: str, check: Callable[[], Awaitable[Finding]]) -> Finding:
    try:
        return await check()
    except EngineError as error:
        return fail(name, str(error), _KEYS_ADVICE if name == "keys" else "")
