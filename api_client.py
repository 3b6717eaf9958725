"""ApiClient: the venue's REST side over aiohttp.

What a request is and how its answer reads stands in `milo.wire`; here it is sent. A request waits
for its share of the rate limits, then for one of a few slots; protective ones overtake. Errors of
the library and of the venue are translated once, here. Reads and settings are repeated after
failures; an order request never is: what cannot be told about it goes up as OutcomeUnknown.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self, TypeVar

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from yarl import URL

from milo import __version__
from milo.clock import VenueClock, monotonic_s
from milo.errors import (
    Busy,
    ClockSkew,
    OutcomeUnknown,
    ProtocolError,
    RateLimited,
    Refused,
    Retryable,
    Unauthorized,
    VenueError,
)
from milo.events import MarkPriceEvent
from milo.model import (
    AccountConfig,
    Balance,
    CommissionRate,
    Fill,
    FundingPayment,
    FundingRate,
    Instrument,
    KeyPermissions,
    LeverageBracket,
    NewOrder,
    OrderReport,
    PositionReport,
    SymbolConfig,
)
from milo.ops.shared_pause import SharedPause
from milo.ops.slots import RESERVED, Slots
from milo.ports import Signer
from milo.wire import account, income, market, orders
from milo.wire.answers import Answer, error_in, is_order_limit
from milo.wire.codes import Reaction, reaction_of
from milo.wire.dialects import Dialect, place_of
from milo.wire.limits import DEFAULT_LIMITS, WEIGHT_WINDOW_S, Lane, Limit, LimitKind, RateBudget
from milo.wire.market import BEST_KLINES, KlineRow
from milo.wire.rest import Effect, Request, Security, timed
from milo.wire.sign import KEY_HEADER, encode_params, with_signature, without_echo

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_AT_ONCE = 5
RETRY_DELAYS_S = (0.2, 0.4, 0.8)
PATIENCE_S = 90.0
"""How long a read or a setting waits for the rate limits before it gives up."""
ORDER_PATIENCE_S = 2.0
"""The same for orders: what a strategy wanted some seconds ago may be wrong by now."""
FIREWALL_PAUSE_S = 60.0
ORDER_LIMIT_PAUSE_S = 10.0
CLOCK_SAMPLES = 3
GOOD_ROUND_TRIP_S = 0.1

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ApiClient:
    """One venue's REST interface; use it as an async context manager."""

    def __init__(
        self,
        *,
        dialect: Dialect,
        rest_url: str,
        clock: VenueClock,
        signer: Signer | None,
        timeout_s: float = 10.0,
        connect_timeout_s: float | None = None,
        limits: Iterable[Limit] = DEFAULT_LIMITS,
        pause_folder: Path | None = None,
    ) -> None:
        """`pause_folder`: where processes on this venue tell one another of pauses.

        `timeout_s` holds for a whole request; with `connect_timeout_s`, for its answer only.
        """
        self._dialect = dialect
        self._base = rest_url.rstrip("/")
        self._place = place_of(self._base, schemes=("http", "https"))
        self._clock = clock
        self._signer = signer
        if connect_timeout_s is None:
            self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=timeout_s / 2)
        else:
            self._timeout = aiohttp.ClientTimeout(
                total=timeout_s + connect_timeout_s,
                sock_connect=connect_timeout_s,
                sock_read=timeout_s,
            )
        self._budget = RateBudget(limits)
        self._shared_pause = None if pause_folder is None else SharedPause(pause_folder)
        self._slots = Slots(MAX_AT_ONCE)
        self._in_flight = 0
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MAX_AT_ONCE + RESERVED),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"milo/{__version__}"},
            timeout=self._timeout,
            middlewares=(_never_resend,),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Drop all connections; requests under way fail."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def in_flight(self) -> int:
        """How many requests are under way, those that wait for a limit or a retry included."""
        return self._in_flight

    @property
    def weight_used(self) -> int:
        """Return the request weight of the last minute: ours, or the venue's count where higher."""
        return self._budget.used(LimitKind.WEIGHT, WEIGHT_WINDOW_S, monotonic_s())

    @property
    def weight_cap(self) -> int:
        """Return the weight that the venue allows in a minute."""
        weights = [limit for limit in self._budget.limits if limit.kind is LimitKind.WEIGHT]
        return next(limit.cap for limit in weights if limit.window_s == WEIGHT_WINDOW_S)

    @property
    def pause_left_s(self) -> float:
        """What is left of a pause that the venue asked for, in wall seconds; 0.0 without one."""
        return max(self._budget.pause_left_s(monotonic_s()), self._shared_wait_s(Lane.NORMAL))

    @property
    def dialect(self) -> Dialect:
        return self._dialect

    # --- market data ----------------------------------------------------------------------------

    async def ping(self) -> None:
        await self.send(market.ping())

    async def server_time(self) -> int:
        """Return the venue's time in ms UTC."""
        return await self.send(market.server_time())

    async def sync_clock(self) -> None:
        """Set the venue clock; call it at start and every half hour.

        Takes the fastest of a few round trips, because its midpoint errs least. Raises as any read.
        """
        await self._sync_clock(Lane.NORMAL)

    async def exchange_info(self) -> dict[str, Instrument]:
        """Return the perpetual instruments by symbol; the venue's limits are taken over."""
        info = await self.send(market.exchange_info())
        self._budget.learn(info.limits)
        if info.skipped:
            logger.warning("instruments_skipped symbols=%s", ",".join(info.skipped))
        return info.instruments

    async def klines(
        self,
        symbol: str,
        interval: str,
        *,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = BEST_KLINES,
    ) -> list[KlineRow]:
        """Return a page of candles, oldest first; the last one may still be forming.

        Nothing before 2019 is asked for. Raises ValueError for an unknown interval or a bad limit.
        """
        request = market.klines(symbol, interval, start_ms=start_ms, end_ms=end_ms, limit=limit)
        return [] if request is None else await self.send(request)

    async def mark_price(self, symbol: str) -> MarkPriceEvent:
        return await self.send(market.mark_price(symbol))

    async def funding_rates(
        self,
        symbol: str,
        *,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 100,
    ) -> list[FundingRate]:
        """Return funding settlements, oldest first; without times the newest ones."""
        return await self.send(
            market.funding_rates(symbol, start_ms=start_ms, end_ms=end_ms, limit=limit)
        )

    # --- account --------------------------------------------------------------------------------

    async def leverage_brackets(self) -> dict[str, tuple[LeverageBracket, ...]]:
        return await self.send(account.leverage_brackets())

    async def commission_rate(self, symbol: str) -> CommissionRate:
        return await self.send(account.commission_rate(symbol))

    async def balance(self) -> Balance:
        return await self.send(account.balance(self._dialect))

    async def positions(self) -> tuple[PositionReport, ...]:
        """Return every open position of the account."""
        return await self.send(account.positions(self._dialect))

    async def symbol_config(self, symbol: str) -> SymbolConfig:
        return await self.send(account.symbol_config(self._dialect, symbol))

    async def is_hedge_mode(self) -> bool:
        return await self.send(account.is_hedge_mode())

    async def set_hedge_mode(self, is_hedge: bool) -> None:
        """Set the account's position mode; Refused while it has positions or open orders."""
        await self._set(account.set_hedge_mode(is_hedge))

    async def set_leverage(self, symbol: str, leverage: int) -> int:
        """Set a symbol's leverage and return the one in force."""
        return await self.send(account.set_leverage(symbol, leverage))

    async def set_isolated(self, symbol: str, is_isolated: bool = True) -> None:
        """Set a symbol's margin type; Refused while it has a position or open orders."""
        await self._set(account.set_isolated(symbol, is_isolated))

    async def is_multi_assets(self) -> bool:
        return await self.send(account.is_multi_assets())

    async def account_config(self) -> AccountConfig:
        """Return the account's modes; only where the dialect has such a request."""
        return await self.send(account.account_config())

    async def key_permissions(self) -> KeyPermissions:
        """Return the key's own rights; only on a venue's `permissions_url`."""
        return await self.send(account.key_permissions())

    async def new_listen_key(self) -> str:
        """Return the key of the user stream: the one in force, or a new one."""
        return await self.send(account.new_listen_key())

    async def keep_listen_key(self, key: str) -> None:
        """Give the key another hour; Refused with code -1125 if it is gone: get a new one."""
        await self.send(account.keep_listen_key(key))

    async def close_listen_key(self, key: str) -> None:
        await self.send(account.close_listen_key(key))

    # --- orders ---------------------------------------------------------------------------------

    async def place_order(self, order: NewOrder) -> OrderReport:
        """Place an order once, conditional ones through the service that takes them.

        Raises Refused (not placed), Retryable (not placed, may be tried again) or OutcomeUnknown
        (query by client id, never send again); ValueError where the order contradicts itself.
        """
        return await self.send(orders.place_order(self._dialect, order))

    async def try_order(self, order: NewOrder) -> None:
        """Have a regular order checked; nothing is placed. Raises Refused as placing it would."""
        await self.send(orders.try_order(self._dialect, order))

    async def cancel_order(self, symbol: str, client_id: str, *, is_conditional: bool) -> None:
        """Cancel an order. OrderNotFound does not say whether it was filled or never there."""
        await self.send(
            orders.cancel_order(self._dialect, symbol, client_id, is_conditional=is_conditional)
        )

    async def query_order(
        self, symbol: str, client_id: str, *, is_conditional: bool, is_urgent: bool = False
    ) -> OrderReport:
        """Return an order's state; OrderNotFound is not proof that it never will appear.

        `is_urgent`: a protection waits for the answer.
        """
        request = orders.query_order(
            self._dialect, symbol, client_id, is_conditional=is_conditional
        )
        return await self.send(replace(request, lane=Lane.URGENT) if is_urgent else request)

    async def open_orders(self, symbol: str | None = None) -> tuple[OrderReport, ...]:
        """Return all open orders, regular and conditional; one may appear in both states."""
        found: tuple[OrderReport, ...] = ()
        for request in orders.open_orders(self._dialect, symbol):
            found += await self.send(request)
        return found

    async def recent_orders(
        self, symbol: str, *, is_conditional: bool, start_ms: int | None = None
    ) -> tuple[OrderReport, ...]:
        """Return a symbol's newest orders of one service, whatever their state, oldest first."""
        return await self.send(
            orders.recent_orders(
                self._dialect, symbol, is_conditional=is_conditional, start_ms=start_ms
            )
        )

    async def funding_payments(self, symbol: str, *, start_ms: int) -> tuple[FundingPayment, ...]:
        """Return the symbol's funding payments since a time, oldest first, at most 1,000."""
        return await self.send(income.funding_payments(symbol, start_ms=start_ms))

    async def user_trades(
        self,
        symbol: str,
        *,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 500,
        order_id: int | None = None,
    ) -> tuple[Fill, ...]:
        """Return our fills, oldest first; their client id is empty, the venue gives none."""
        return await self.send(
            orders.user_trades(
                symbol, start_ms=start_ms, end_ms=end_ms, limit=limit, order_id=order_id
            )
        )

    # --- sending --------------------------------------------------------------------------------

    async def send(self, request: Request[T]) -> T:
        """Send a request and return its parsed answer; the one way out of this process.

        Reads and settings are repeated after failures, and so is anything whose timestamp the
        venue refused, once, after the clock was set.
        """
        self._in_flight += 1
        try:
            return await self._send_with_retries(request)
        finally:
            self._in_flight -= 1

    async def _set(self, request: Request[None]) -> None:
        try:
            await self.send(request)
        except Refused as error:
            if reaction_of(error) is not Reaction.OK:
                raise

    async def _send_with_retries(self, request: Request[T]) -> T:
        delays_s = deque(() if request.effect is Effect.ORDER else RETRY_DELAYS_S)
        is_clock_set = False
        while True:
            try:
                return await self._send_once(request)
            except ClockSkew:
                if is_clock_set:
                    raise
                is_clock_set = True
                logger.warning("clock_skew request=%r", request.title)
                await self._sync_clock(request.lane)
            except (Retryable, OutcomeUnknown) as error:
                was_sent = error.http_status != 0 or not isinstance(error, RateLimited)
                if not delays_s or not was_sent:
                    _raise_final(error, request)
                logger.warning("request_retried request=%r error=%s", request.title, error)
                await asyncio.sleep(delays_s.popleft())

    async def _send_once(self, request: Request[T]) -> T:
        await self._admit(request)
        try:
            answer = await self._exchange(request)
        finally:
            self._slots.release()
        logger.debug("request_answered request=%r status=%d", request.title, answer.status)
        return self._read(request, answer)

    async def _admit(self, request: Request[T]) -> None:
        """Wait for the rate limits and a slot; RateLimited where that would take too long."""
        patience_s = ORDER_PATIENCE_S if request.effect is Effect.ORDER else PATIENCE_S
        deadline_s = monotonic_s() + patience_s
        while True:
            await self._slots.acquire(request.lane)
            now_s = monotonic_s()
            wait_s = self._shared_wait_s(request.lane)
            if wait_s == 0.0:
                wait_s = self._budget.take(request.cost, request.lane, now_s)
            if wait_s == 0.0:
                return
            self._slots.release()
            if now_s + wait_s > deadline_s:
                raise RateLimited(
                    f"{request.title}: not sent, the rate limits leave no room for {wait_s:.0f} s",
                    retry_after_ms=int(wait_s * 1000),
                )
            logger.info("request_waits request=%r wait_s=%.1f", request.title, wait_s)
            await asyncio.sleep(wait_s)

    def _shared_wait_s(self, lane: Lane) -> float:
        """Return what is left of a pause that another process of ours was told."""
        if self._shared_pause is None or lane is Lane.PROTECTIVE:
            return 0.0
        return self._shared_pause.left_s()

    async def _exchange(self, request: Request[T]) -> Answer:
        """Send the request over HTTP; Busy where nothing went out, OutcomeUnknown after that."""
        if self._session is None:
            raise RuntimeError("ApiClient is used outside of its context")
        url, body, headers = self._wire_form(request)
        try:
            async with self._session.request(
                request.method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                content = without_echo(
                    await response.read(),
                    sent=body or url.raw_query_string.encode("ascii"),
                    api_key=headers.get(KEY_HEADER, ""),
                )
                return Answer(status=response.status, headers=response.headers, body=content)
        # None of them is chained: the text of some is the whole URL, signature included.
        except aiohttp.ClientConnectorError as error:
            raise Busy(self._unreachable(error)) from None
        except aiohttp.ConnectionTimeoutError:
            raise Busy(
                f"cannot reach {self._place}: no connection within {self._timeout.sock_connect} s; "
                "check the network"
            ) from None
        except TimeoutError:
            raise OutcomeUnknown(
                f"{request.title}: no answer within {self._timeout.total} s"
            ) from None
        except aiohttp.ClientError as error:
            raise OutcomeUnknown(
                f"{request.title}: the connection broke before the answer ({type(error).__name__})"
            ) from None

    def _wire_form(self, request: Request[T]) -> tuple[URL, bytes | None, Mapping[str, str]]:
        """Return the URL, body and headers of a request, signed now if it must be."""
        headers: dict[str, str] = {}
        params = request.params
        if request.security is Security.SIGNED:
            params = timed(params, self._clock.now_ms())
        encoded = encode_params(params)
        if request.security is not Security.NONE:
            signer = self._needed_signer(request)
            headers[KEY_HEADER] = signer.api_key
            if request.security is Security.SIGNED:
                encoded = with_signature(encoded, signer)
        address = f"{self._base}{request.path}"
        if request.is_in_body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            return URL(address, encoded=True), encoded.encode("ascii"), headers
        return URL(f"{address}?{encoded}" if encoded else address, encoded=True), None, headers

    def _needed_signer(self, request: Request[T]) -> Signer:
        if self._signer is None:
            raise Unauthorized(f"{request.title}: this needs API keys; store them with --set-keys")
        return self._signer

    def _read(self, request: Request[T], answer: Answer) -> T:
        """Return the parsed answer or raise its error; the rate budget learns from both."""
        now_s = monotonic_s()
        self._budget.correct(answer.headers, now_s)
        error = error_in(
            answer, request=request.title, venue_ms=self._clock.now_ms(), speed=self._clock.speed
        )
        if error is not None:
            self._hold_back(error, now_s)
            raise error
        if request.lane is Lane.NORMAL:
            self._budget.settle(now_s)
        try:
            return request.parse(answer.body)
        except ProtocolError as unreadable:
            if request.effect is not Effect.ORDER:
                raise
            # It was accepted; what became of it has to be asked.
            raise OutcomeUnknown(
                f"{request.title}: {unreadable}", http_status=answer.status
            ) from unreadable

    def _hold_back(self, error: VenueError, now_s: float) -> None:
        """Pause the normal lane where the venue asks for it, and tell the caller for how long."""
        if isinstance(error, RateLimited) and is_order_limit(error):
            pause_s = error.retry_after_ms / 1000 or ORDER_LIMIT_PAUSE_S
            self._budget.pause_orders(now_s=now_s, wait_s=pause_s)
            error.retry_after_ms = int(pause_s * 1000)
            logger.warning("orders_paused pause_s=%.1f code=%d", pause_s, error.code)
        elif isinstance(error, RateLimited):
            asked_s = error.retry_after_ms / 1000 or None
            is_ban = error.http_status == 418
            pause_s = self._budget.pause(now_s=now_s, wait_s=asked_s, is_ban=is_ban)
            error.retry_after_ms = int(pause_s * 1000)
            if self._shared_pause is not None:
                self._shared_pause.extend(pause_s)
            logger.warning(
                "requests_paused pause_s=%.1f status=%d code=%d",
                pause_s, error.http_status, error.code,
            )  # fmt: skip
        elif error.http_status == 403:
            self._budget.pause(now_s=now_s, wait_s=FIREWALL_PAUSE_S)
            logger.warning("requests_paused pause_s=%.1f status=403", FIREWALL_PAUSE_S)

    async def _sync_clock(self, lane: Lane) -> None:
        request = replace(market.server_time(), lane=lane)
        best_s = float("inf")
        for _ in range(CLOCK_SAMPLES):
            await self._admit(request)
            try:
                sent_s = monotonic_s()
                answer = await self._exchange(request)
                received_s = monotonic_s()
            finally:
                self._slots.release()
            venue_ms = self._read(request, answer)
            if received_s - sent_s < best_s:
                best_s = received_s - sent_s
                before_ms = self._clock.now_ms()
                self._clock.sync(venue_ms, at_s=(sent_s + received_s) / 2)
                change_ms = self._clock.now_ms() - before_ms
            if best_s < GOOD_ROUND_TRIP_S:
                break
        logger.info("clock_set change_ms=%d round_trip_ms=%.0f", change_ms, best_s * 1000)

    def _unreachable(self, error: aiohttp.ClientConnectorError) -> str:
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return f"cannot find {self._place}: check the network and the venue's address"
        if isinstance(error, aiohttp.ClientSSLError):
            return (
                f"cannot trust {self._place} ({type(error).__name__}): its certificate does not "
                "fit; check this computer's clock and what filters its traffic"
            )
        cause = error.os_error
        reason = os.strerror(cause.errno) if cause.errno else type(cause).__name__
        if (URL(self._base).host or "") in _LOOPBACK:
            return (
                f"cannot reach {self._place} ({reason}): nothing answers there; "
                "start the embedded exchange (main.py --serve-exchange)"
            )
        return f"cannot reach {self._place} ({reason}): check the network and the venue's address"


class _Sent(aiohttp.ClientError):
    """A connection broke after the request went out."""


async def _never_resend(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Keep aiohttp from sending a request again by itself when a kept connection breaks.

    It does so for GET, PUT and DELETE; a cancel sent twice is not ours to allow.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Sent(type(error).__name__) from error


def _raise_final(error: VenueError, request: Request[T]) -> NoReturn:
    # A read changes nothing, so its outcome is never unknown: it only failed.
    if isinstance(error, OutcomeUnknown) and request.effect is Effect.READ:
        raise Busy(str(error), code=error.code, http_status=error.http_status) from error
    raise error
