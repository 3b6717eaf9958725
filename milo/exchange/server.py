"""The doors of the embedded exchange: REST and WebSocket on loopback, and the control routes."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import WSCloseCode, WSMsgType, web

from milo.clock import monotonic_s
from milo.errors import StoreError
from milo.exchange.access import KeyPair, ListenKeys
from milo.exchange.api import Answer, Api, Call
from milo.exchange.connections import PRIVATE, UNROUTED, Connection, Delivery
from milo.exchange.free_running import FreeRunner
from milo.exchange.market_frames import MARKET, PUBLIC
from milo.exchange.pace import Pace
from milo.exchange.playing import Player
from milo.exchange.state_db import Secrets, StateDb
from milo.exchange.stepping import Stepper
from milo.exchange.streams import StreamHub, reply_to
from milo.exchange.troubles import Plan, Troubles
from milo.exchange.venue import Venue

HOST = "127.0.0.1"
TOKEN_HEADER = "X-Milo-Token"  # noqa: S105 - a header's name
LABEL_HEADER = "X-Milo-Stream"

_LOG = logging.getLogger(__name__)
_PING_S = 180.0
_CLOSE_S = 1.0
_LOOK_S = 0.5
_MOST_BODY = 1 << 20
_MOST_MESSAGE = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long the exchange stays without clients: None for ever."""

    linger_s: float | None = None
    parent_pid: int | None = None
    """The process without which it has nobody to serve; None: it stands alone."""


class ExchangeServer:
    """The exchange as a web application; `serve` runs it until it is told to stop."""

    def __init__(
        self,
        venue: Venue,
        store: StateDb,
        secrets: Secrets,
        pace: Pace,
        limits: Limits,
        plan: Plan | None = None,
    ) -> None:
        """`plan` says what is to go wrong and where that is written down; None: nothing."""
        keys = KeyPair(api_key=secrets.api_key, api_secret=secrets.api_secret)
        self.listen_keys = ListenKeys(keys)
        self.venue = venue
        self.secrets = secrets
        self.pace = pace
        self._limits = limits
        self._hub = StreamHub(venue, self.listen_keys)
        self.player = Player(venue, self._hub, store, self.listen_keys)
        self._api = Api(venue, keys, self.listen_keys)
        self._stepper = Stepper(self.player, self._hub, pace)
        self._runner = FreeRunner(self.player, pace)
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self._sockets: set[web.WebSocketResponse] = set()
        self._stream_requests: dict[Connection, web.Request] = {}
        self._plan = plan
        self.troubles = None if plan is None else Troubles(plan, self.player, self._hub, pace)
        if self.troubles is not None:
            self.troubles.drop_streams = self._drop_streams
        self._last_request_s = monotonic_s()
        self._connections_made = 0

    # --- life ---------------------------------------------------------------------------------

    async def serve(self, port: int, on_ready: Callable[[int], None]) -> None:
        """Listen on loopback and run until `stop`; `on_ready` gets the port.

        OSError where the port cannot be had, StoreError where the account can no longer be stored.
        """
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=_CLOSE_S,
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, HOST, port)
            await site.start()
            if self.troubles is not None:
                self.troubles.start(os.getpid())
            on_ready(runner.addresses[0][1])
            try:
                await self._live()
            except* StoreError as group:
                self._failure = group.exceptions[0]
            await self._close_sockets()
            if self.troubles is not None:
                self.troubles.end()
        finally:
            await runner.cleanup()
        if self._failure is not None:
            raise self._failure

    async def _live(self) -> None:
        """Let time pass until somebody says stop."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._linger())]
            if not self.pace.is_stepped:
                tasks.append(group.create_task(self._runner.run()))
            if self.troubles is not None:
                tasks.append(group.create_task(self.troubles.run()))
            await self._stop.wait()
            for task in tasks:
                task.cancel()

    def stop(self) -> None:
        """Ask `serve` to end."""
        self._stop.set()

    def _fail(self, error: StoreError) -> None:
        """End: nothing that is said while the account cannot be stored would be true tomorrow."""
        self._failure = error
        self.stop()

    async def _linger(self) -> None:
        """Stop once nobody has been there for the time that the exchange stays alone."""
        parent_pid, linger_s = self._limits.parent_pid, self._limits.linger_s
        while linger_s is not None or parent_pid is not None:
            if parent_pid is not None and os.getppid() != parent_pid:
                _LOG.info("exchange_ends reason=supervisor_gone")
                self.stop()
                return
            if linger_s is None:
                await asyncio.sleep(_LOOK_S)
                continue
            if self._sockets:
                self._last_request_s = monotonic_s()
            rest_s = self._last_request_s + linger_s - monotonic_s()
            if rest_s <= 0:
                _LOG.info("exchange_ends reason=nobody_there linger_s=%g", linger_s)
                self.stop()
                return
            await asyncio.sleep(min(rest_s, _LOOK_S))

    async def _close_sockets(self) -> None:
        closings = [
            socket.close(code=WSCloseCode.GOING_AWAY, message=b"the exchange ends", drain=False)
            for socket in self._sockets
        ]
        await asyncio.gather(*closings)

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=_MOST_BODY)
        control = [
            web.get("/milo/status", self._guarded(self._status)),
            web.post("/milo/shutdown", self._guarded(self._shutdown)),
            web.get("/milo/control", self._guarded(self._control)),
        ]
        app.add_routes(control)
        for root in (UNROUTED, PUBLIC, MARKET, PRIVATE):
            prefix = f"/{root}" if root else ""
            app.router.add_get(f"{prefix}/ws", self._raw_door(root))
            app.router.add_get(f"{prefix}/ws/{{names:.*}}", self._raw_door(root))
            app.router.add_get(f"{prefix}/stream", self._combined_door(root))
        app.router.add_route("*", "/{path:.*}", self._rest)
        return app

    # --- REST ---------------------------------------------------------------------------------

    async def _rest(self, request: web.Request) -> web.Response:
        self._last_request_s = monotonic_s()
        body = await request.read()
        if self.troubles is not None:
            try:
                return await self.troubles.answer(request, body, self._execute)
            except StoreError as error:
                self._fail(error)
                raise
        answer = await self._execute(request, body)
        return web.Response(
            status=answer.status,
            body=answer.body,
            content_type="application/json",
            headers=answer.headers,
        )

    async def _execute(self, request: web.Request, body: bytes, hiding: int = 0) -> Answer:
        """Carry a request out; what it places is hidden by the fault `hiding`, unless 0."""
        if not self.pace.is_stepped:
            await self._runner.catch_up()
        call = Call.of_target(
            request.method,
            request.raw_path,
            body=body,
            api_key=request.headers.get("X-MBX-APIKEY"),
            at=self.pace.instant(self.venue.now_ms),
        )
        self.venue.hiding = hiding
        try:
            answer = self._api.answer(call)
            self.player.settle()
        except StoreError as error:
            self._fail(error)
            raise
        finally:
            self.venue.hiding = 0
        return answer

    # --- control ------------------------------------------------------------------------------

    def _guarded(
        self, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Let in only who has the control token."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            self._last_request_s = monotonic_s()
            token = request.headers.get(TOKEN_HEADER, "")
            if not hmac.compare_digest(token.encode(), self.secrets.control_token.encode()):
                return web.json_response(
                    {"error": f"{TOKEN_HEADER} is missing or wrong"}, status=403
                )
            return await handler(request)

        return guarded

    async def _status(self, request: web.Request) -> web.StreamResponse:
        feed, plan = self.venue.feed, self._plan
        ledger = None if plan is None or plan.ledger is None else str(plan.ledger.path)
        return web.json_response(
            {
                "faults": None if plan is None else plan.faults,
                "fault_seed": None if plan is None else plan.fault_seed,
                "ledger": ledger,
                "clock": self.venue.now_ms,
                "speed": self.pace.shown_speed,
                "identity": feed.identity,
                "title": feed.title,
                "symbols": list(feed.symbols),
                "base_interval": feed.base_interval,
                "finished": self.venue.is_finished,
                "start_ms": self.venue.state.start_ms,
                "uptime_s": round(self.pace.uptime_s(), 3),
                "lag_ms": 0 if self.pace.is_stepped else self._runner.lag_ms,
                "account": self.venue.state.account_id,
                "lingers": self._limits.linger_s is not None,
                "simulated": True,
            }
        )

    async def _shutdown(self, request: web.Request) -> web.StreamResponse:
        _LOG.info("exchange_ends reason=shutdown_asked")
        asyncio.get_running_loop().call_soon(self.stop)
        return web.json_response({"ok": True})

    async def _control(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(timeout=_CLOSE_S, compress=False, max_msg_size=_MOST_MESSAGE)
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await socket.send_str(await self._stepper.on_message(message.data))
        except ConnectionError:
            _LOG.info("control_socket_lost")
        except StoreError as error:
            self._fail(error)
            raise
        finally:
            self._sockets.discard(socket)
        return socket

    # --- streams ------------------------------------------------------------------------------

    def _raw_door(self, root: str) -> Callable[[web.Request], Awaitable[web.WebSocketResponse]]:
        async def door(request: web.Request) -> web.WebSocketResponse:
            names = [name for name in request.match_info.get("names", "").split("/") if name]
            return await self._stream(request, root, names, is_combined=False)

        return door

    def _combined_door(
        self, root: str
    ) -> Callable[[web.Request], Awaitable[web.WebSocketResponse]]:
        async def door(request: web.Request) -> web.WebSocketResponse:
            names = [name for name in request.query.get("streams", "").split("/") if name]
            return await self._stream(request, root, names, is_combined=True)

        return door

    async def _stream(
        self, request: web.Request, root: str, names: list[str], *, is_combined: bool
    ) -> web.WebSocketResponse:
        """Serve one client's socket until it is closed."""
        if self._hub.disturbance.refuses:
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse(
            timeout=_CLOSE_S, heartbeat=_PING_S, compress=False, max_msg_size=_MOST_MESSAGE
        )
        await socket.prepare(request)
        self._connections_made += 1
        connection = Connection(
            socket,
            self._connections_made,
            root=root,
            label=request.headers.get(LABEL_HEADER, ""),
            combined=is_combined,
        )
        self._sockets.add(socket)
        self._stream_requests[connection] = request
        self._hub.add(connection)
        try:
            self._hub.subscribe(connection, names)
            if root == PRIVATE:
                self._follow_query(connection, request)
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(connection.write()),
                    group.create_task(connection.cut_off()),
                ]
                await self._read(socket, connection)
                for task in tasks:
                    task.cancel()
        finally:
            self._sockets.discard(socket)
            self._stream_requests.pop(connection, None)
            self._hub.drop(connection)
        return socket

    def _drop_streams(self) -> None:
        """Cut all streams at once, without a farewell."""
        for request in list(self._stream_requests.values()):
            if request.transport is not None:
                request.transport.abort()

    def _follow_query(self, connection: Connection, request: web.Request) -> None:
        """Take `listenKey=..&events=A/B`, each events after its key, as /private has it."""
        listen_key = ""
        for name, value in request.query.items():
            if name == "listenKey":
                listen_key = value
                connection.user_events[listen_key] = frozenset()
            elif name == "events" and listen_key:
                events = frozenset(event for event in value.split("/") if event)
                connection.user_events[listen_key] = events

    async def _read(self, socket: web.WebSocketResponse, connection: Connection) -> None:
        """Carry out what the client sends, until it goes."""
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            if not connection.count_inbound(monotonic_s()):
                await connection.close(WSCloseCode.POLICY_VIOLATION, b"Too many requests")
                return
            reply = reply_to(self._hub, connection, message.data)
            connection.push(Delivery(reply, "", is_final=True))
