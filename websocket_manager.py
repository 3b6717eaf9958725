"""WebSocketManager: the venue's streams, each connection in a thread of its own.

A thread connects, reads frames, turns them into events and lays them into one bounded backlog; the
event loop takes them out in the order of arrival. A connection that is lost, silent or old is
opened again, for ever; once it is back a StreamReset comes before anything else, because what
happened meanwhile has to be read from REST.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import websocket
from yarl import URL

from milo.clock import VenueClock, monotonic_s
from milo.errors import InvariantBroken, ProtocolError, StreamGap
from milo.events import IgnoredEvent, StreamEvent, StreamReset
from milo.ops.dial import Cut, Dialler, NotReached, ReadAhead
from milo.ops.handover import Handover
from milo.wire.backlog import StreamItem
from milo.wire.dialects import Dialect, place_of
from milo.wire.liveness import Health, Liveness
from milo.wire.streams import market_paths, read_frame, user_path

__all__ = ["MARKET_ROUTE", "USER_ROUTE", "StreamItem", "WebSocketManager"]

logger = logging.getLogger(__name__)

MARKET_ROUTE = "market"
USER_ROUTE = "user"

ROTATION_S = 23.5 * 3600
"""Venues end connections after 24 h; ours are renewed before."""
CONNECT_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
YIELD_EVERY = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """How connections behave; all in wall seconds."""

    silence_s: float | None
    first_delay_s: float
    longest_delay_s: float
    rotation_s: float
    connect_timeout_s: float
    is_labelled: bool


class WebSocketManager:
    """All stream connections to one venue; create and use it inside a running event loop.

    `silence_s` is how long a market connection may bring nothing, and after how long a quiet user
    connection is tested with a ping; None, and a clock that stands still, switch both off.
    `labelled` names each connection to the embedded exchange, which counts frames by that name.
    """

    def __init__(
        self,
        *,
        dialect: Dialect,
        ws_url: str,
        clock: VenueClock,
        silence_s: float | None = 30.0,
        labelled: bool = False,
        queue_size: int = 10_000,
        rng: random.Random | None = None,
        backoff_s: tuple[float, float] = (0.5, 10.0),
        rotation_s: float = ROTATION_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> None:
        self._dialect = dialect
        self._base = ws_url.rstrip("/")
        self._place = place_of(self._base, schemes=("ws", "wss"))
        self._clock = clock
        self._rng = rng or random.SystemRandom()
        self._settings = _Settings(
            silence_s=silence_s,
            first_delay_s=backoff_s[0],
            longest_delay_s=backoff_s[1],
            rotation_s=rotation_s,
            connect_timeout_s=connect_timeout_s,
            is_labelled=labelled,
        )
        self._hub = Handover(queue_size)
        self._market: list[_Connection] = []
        self._user: _Connection | None = None
        self._replaced: list[_Connection] = []
        self._streams: set[str] = set()
        self._started = 0
        self._taken = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def open_market(self, streams: Sequence[str]) -> None:
        """Carry these streams from now on.

        Streams beyond those that are carried already get connections of their own, so that none is
        interrupted.
        """
        new = [stream for stream in dict.fromkeys(streams) if stream not in self._streams]
        self._streams.update(new)
        for path in market_paths(self._dialect, new):
            self._market.append(self._start(MARKET_ROUTE, path, reset_reason=None))

    def open_user(self, listen_key: str) -> None:
        """Carry the account's events by this key; an earlier connection is given up.

        From the second time on, a StreamReset comes once the new connection is open.
        """
        reason = None
        if self._user is not None:
            self._user.stop()
            self._replaced.append(self._user)
            reason = "listen key changed"
        path = user_path(self._dialect, listen_key)
        self._user = self._start(USER_ROUTE, path, reset_reason=reason)

    async def wait_open(self, timeout_s: float) -> None:
        """Wait until all connections are up; StreamGap says which is not, and why."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self.is_open:
                    await self._hub.changed()
        except TimeoutError as error:
            missing = next((link for link in self._connections() if not link.is_open), None)
            if missing is None:
                return
            raise StreamGap(
                f"no {missing.route} stream from {missing.place} within {timeout_s:g} s"
                f" ({missing.last_error or 'no answer'}): check the network and the venue's address"
            ) from error

    @property
    def is_open(self) -> bool:
        """Whether every connection is up; while one is not, events may be missing."""
        return all(link.is_open for link in self._connections())

    @property
    def is_drained(self) -> bool:
        """Whether nothing waits to be taken by `next`."""
        return self._hub.queued == 0

    @property
    def dropped(self) -> int:
        """How many events gave way to newer ones because the consumer was too slow."""
        return self._hub.dropped

    @property
    def invalid(self) -> int:
        """How many frames could not be read."""
        return self._hub.invalid

    async def next(self) -> StreamItem:
        """Return the next item in the order of arrival; for one consumer only.

        Sets the venue clock forward to the event's time. Raises StreamGap after `close`.
        """
        self._taken += 1
        if self._taken % YIELD_EVERY == 0:
            # A flood of events must not keep the rest of the program from running.
            await asyncio.sleep(0)
        while (item := self._hub.take()) is None:
            await self._hub.filled()
        if not isinstance(item.event, StreamReset | IgnoredEvent):
            self._clock.advance_to(item.event.event_ms)
        return item

    def consumed(self, item: StreamItem) -> None:
        """Note that the consumer is done with the item and with all that followed from it."""
        self._hub.consume(item)

    def consumed_counts(self) -> dict[str, int]:
        """Return the consumed text frames by the id of each live connection."""
        return self._hub.consumed()

    def arrived_counts(self) -> dict[str, int]:
        """Return the text frames that arrived by the id of each live connection."""
        return self._hub.arrived()

    async def close(self) -> None:
        """End all connections and their threads, within a second even where one is stuck."""
        links = [*self._connections(), *self._replaced]
        self._hub.end(StreamGap("the streams are closed"))
        for link in links:
            link.stop()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                while any(link.is_running for link in links):
                    await self._hub.changed()
        except TimeoutError:
            stuck = ",".join(link.name for link in links if link.is_running)
            logger.warning("stream_threads_stuck names=%s", stuck)
        for link in links:
            if not link.is_running:
                link.join()
        self._market, self._user, self._replaced = [], None, []

    def _connections(self) -> list[_Connection]:
        return self._market if self._user is None else [*self._market, self._user]

    def _start(self, route: str, path: str, *, reset_reason: str | None) -> _Connection:
        self._hub.attach(asyncio.get_running_loop())
        self._replaced = [link for link in self._replaced if link.is_running]
        self._started += 1
        link = _Connection(
            name=f"ws-{route}-{self._started}",
            route=route,
            place=self._place,
            url=URL(f"{self._base}{path}", encoded=True),
            hub=self._hub,
            clock=self._clock,
            settings=self._settings,
            rng=random.Random(self._rng.random()),  # noqa: S311 - jitter, no secret
            reset_reason=reset_reason,
        )
        link.start()
        return link


class _Lost(Exception):
    """A connection is of no more use; the text says why."""

    def __init__(self, reason: str, *, is_planned: bool = False) -> None:
        super().__init__(reason)
        self.is_planned = is_planned


class _Connection:
    """One connection in its own thread, opened again until it is stopped."""

    def __init__(
        self,
        *,
        name: str,
        route: str,
        place: str,
        url: URL,
        hub: Handover,
        clock: VenueClock,
        settings: _Settings,
        rng: random.Random,
        reset_reason: str | None,
    ) -> None:
        self.name = name
        self.route = route
        self.place = place
        self.is_open = False
        self.is_running = True
        self.last_error = ""
        self._url = url
        self._hub = hub
        self._clock = clock
        self._settings = settings
        self._rng = rng
        self._gap = reset_reason
        self._label = ""
        self._dialler = Dialler()
        # Not a daemon: it owns a socket, and ends soon after `stop`.
        self._thread = threading.Thread(target=self._run, name=name, daemon=False)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Make the thread end soon, wherever it is; returns at once."""
        self._dialler.cut()

    def join(self) -> None:
        self._thread.join()

    # --- in the thread

    def _run(self) -> None:
        delay_s = self._settings.first_delay_s
        try:
            while not self._is_over():
                started_s = monotonic_s()
                is_planned = self._live_once()
                if monotonic_s() - started_s >= self._settings.longest_delay_s:
                    delay_s = self._settings.first_delay_s
                if not is_planned and not self._is_over():
                    self._dialler.pause(delay_s * self._rng.uniform(0.5, 1.0))
                    delay_s = min(2 * delay_s, self._settings.longest_delay_s)
        finally:
            self.is_running = False
            if not self._is_over():
                broken = InvariantBroken(f"the thread {self.name} ended by an error of its own")
                self._hub.call(self._hub.end, broken)
            self._hub.announce()

    def _is_over(self) -> bool:
        return self._dialler.is_cut or not self._hub.is_alive

    def _live_once(self) -> bool:
        """Connect and read until the connection is lost; say whether that was our own will."""
        try:
            self._serve(self._connected())
        except _Lost as lost:
            self._note(str(lost), is_planned=lost.is_planned)
            return lost.is_planned
        except Cut:
            return True
        except NotReached as error:
            self._note(str(error))
        except websocket.WebSocketBadStatusException as error:
            self._note(f"refused with HTTP {error.status_code}")
        except (websocket.WebSocketTimeoutException, TimeoutError):
            self._note(f"no answer within {self._settings.connect_timeout_s:g} s")
        except (websocket.WebSocketException, OSError, ValueError) as error:
            # ValueError: websocket-client's reading of what is no WebSocket at all.
            self._note(_reason_of(error))
        finally:
            self._leave()
        return False

    def _connected(self) -> websocket.WebSocket:
        """Return a new connection; raises what the dialler and the library raise."""
        assert self._url.host is not None
        assert self._url.port is not None
        self._label = secrets.token_hex(8)
        dialled = self._dialler.connect(
            self._url.host,
            self._url.port,
            is_secure=self._url.scheme == "wss",
            timeout_s=self._settings.connect_timeout_s,
        )
        # The JSON reader checks the text's encoding, and much faster.
        ws = websocket.WebSocket(skip_utf8_validation=True)
        ws.connect(  # type: ignore[no-untyped-call]  # the library leaves it untyped
            str(self._url),
            socket=ReadAhead(dialled),
            header=[f"X-Milo-Stream: {self._label}"] if self._settings.is_labelled else [],
            suppress_origin=True,
            redirect_limit=0,
        )
        return ws

    def _serve(self, ws: websocket.WebSocket) -> None:
        """Read frames until _Lost or an error of the library is raised."""
        reset = None if self._gap is None else StreamReset(route=self.route, reason=self._gap)
        self._hub.open(self._label, self.route, reset)
        self._gap = None
        self.is_open = True
        self._hub.announce()
        logger.info("stream_open route=%s place=%s", self.route, self.place)
        # Not all connections are renewed in the same minute.
        lifetime_s = self._settings.rotation_s * self._rng.uniform(0.99, 1.0)
        liveness = Liveness(
            is_market=self.route == MARKET_ROUTE,
            silence_s=self._settings.silence_s,
            lifetime_s=lifetime_s,
            now_s=monotonic_s(),
        )
        ws.settimeout(liveness.check_every_s)
        while True:
            self._read_one(ws, liveness)
            if liveness.is_due(monotonic_s()):
                self._look_after(ws, liveness)

    def _read_one(self, ws: websocket.WebSocket, liveness: Liveness) -> None:
        try:
            # The library answers pings itself; they are returned because they show life.
            opcode, content = ws.recv_data(control_frame=True)
        except websocket.WebSocketTimeoutException:
            return
        liveness.heard(monotonic_s(), is_text=opcode == _TEXT)
        if opcode == _TEXT:
            self._hub.put(StreamItem(connection=self._label, event=self._event(content)))
        elif opcode == _CLOSE:
            raise _Lost("closed by the venue")

    def _look_after(self, ws: websocket.WebSocket, liveness: Liveness) -> None:
        if self._is_over():
            raise _Lost("stopped", is_planned=True)
        match liveness.verdict(monotonic_s(), is_clock_still=self._clock.speed == 0):
            case Health.FINE:
                return
            case Health.QUIET:
                ws.ping()
            case Health.SILENT:
                raise _Lost(f"silent for {self._settings.silence_s:g} s")
            case Health.OLD:
                raise _Lost("renewed because of its age", is_planned=True)

    def _leave(self) -> None:
        was_open, self.is_open = self.is_open, False
        self._dialler.drop()
        if was_open:
            self._gap = self.last_error
            self._hub.lose(self._label)
            self._hub.announce()

    def _note(self, reason: str, *, is_planned: bool = False) -> None:
        self.last_error = reason
        if not self._dialler.is_cut:
            level = logging.INFO if is_planned else logging.WARNING
            logger.log(
                level, "stream_lost route=%s place=%s reason=%r", self.route, self.place, reason
            )

    def _event(self, frame: bytes) -> StreamEvent:
        try:
            return read_frame(frame)
        except ProtocolError as error:
            count = self._hub.count_invalid()
            if count <= 10 or count % 1000 == 0:
                logger.warning(
                    "frame_unreadable route=%s count=%d error=%r", self.route, count, str(error)
                )
        if self.route == USER_ROUTE:
            # It may have been a fill: the account has to be read again.
            return StreamReset(route=USER_ROUTE, reason="unreadable frame")
        return IgnoredEvent(name="invalid")


_TEXT = websocket.ABNF.OPCODE_TEXT
_CLOSE = websocket.ABNF.OPCODE_CLOSE


def _reason_of(error: Exception) -> str:
    if isinstance(error, websocket.WebSocketConnectionClosedException):
        return "connection lost"
    if (
        isinstance(error, OSError)
        and error.errno is not None
        and not isinstance(error, ssl.SSLError)
    ):
        return os.strerror(error.errno).lower()
    return f"{type(error).__name__}: {error}"[:120]
