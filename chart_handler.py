"""The web server of the chart: a page, its files, candles and what changes, for this computer."""

from __future__ import annotations

import asyncio
import errno
import logging
import secrets
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from aiohttp import hdrs, web

from milo.charts.history import MOST_ROWS, HistoryRequest, history_body
from milo.charts.live import LiveFeed
from milo.charts.members import meta_item
from milo.charts.series import SeriesEncoder
from milo.charts.snapshot import ChartSnapshot, ChartSource
from milo.charts.views import SeriesViews
from milo.clock import monotonic_s
from milo.errors import ConfigError, EngineError
from milo.web.access import (
    LOOPBACK_NAMES,
    AccessRules,
    access_middleware,
    add_security_headers,
    bearer_of,
)
from milo.web.pushing import Pages, Watch
from milo.web.sessions import IDLE_S, Sessions
from milo.web.static_files import StaticFile, load_static_files, static_response

log = logging.getLogger(__name__)

_T = TypeVar("_T")

DEFAULT_PORT: Final = 8080
STATIC_FOLDER: Final = Path(__file__).resolve().parent / "static"
_LOOPBACK: Final = "127.0.0.1"
_SNAPSHOT_TIMEOUT_S = 5.0
# Pages that look at the same series share a snapshot for so long.
_FRESH_S = 0.05
# Requests under way get this long when the server stops, twice over: the library waits once for
# them and once more after it has cancelled them. Idle connections end at once.
_STOP_GRACE_S = 0.2
_MAX_BODY_BYTES = 256 * 1024
_MAX_NAME = 64
_LAST_PORT = 65_535


class ChartHandler:
    """Serves what a `ChartSource` knows; start it once, stop it once.

    It only reads. Overlays and answers are computed in a thread of its own, so that a chart with
    many candles does not delay the loop that trades.
    """

    def __init__(
        self,
        source: ChartSource,
        *,
        host: str = _LOOPBACK,
        port: int = DEFAULT_PORT,
        static_folder: Path = STATIC_FOLDER,
        sessions: Sessions | None = None,
    ) -> None:
        """Prepare a server on `port` (0: any free one).

        With `sessions` candles and account are shown only to who has the link, the password or
        the bearer token; another `host` than loopback is refused (ConfigError) without a password.
        """
        if host != _LOOPBACK and not (sessions is not None and sessions.has_password):
            raise ConfigError(f"the chart is served on {host} only behind a password")
        self._source = source
        self._host = host
        self._port = port
        self._static_folder = static_folder
        self._sessions = sessions
        self._files: dict[str, StaticFile] = {}
        self._runner: web.AppRunner | None = None
        self._views = SeriesViews(secrets.token_hex(4))
        self._encoder = SeriesEncoder()
        self._thread: ThreadPoolExecutor | None = None
        self._pages = Pages(self._told)
        self._shared: dict[tuple[str | None, str | None], tuple[float, ChartSnapshot]] = {}

    @property
    def port(self) -> int:
        """The port that the server listens on, known once it has started."""
        return self._port

    @property
    def url(self) -> str:
        """The address for people, such as `http://localhost:8080`; one-use where it has a token."""
        name = "localhost" if self._host == _LOOPBACK else self._host
        token = None if self._sessions is None else self._sessions.link_token
        return f"http://{name}:{self._port}" + ("" if token is None else f"/?token={token}")

    async def start(self) -> None:
        """Listen. Raises ConfigError where the port cannot be had or the files are missing."""
        self._files = dict(load_static_files(self._static_folder))
        listener = _listen(self._host, self._port)
        self._port = listener.getsockname()[1]
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="chart-encoder")
        self._runner = web.AppRunner(
            self._application(),
            handle_signals=False,
            access_log=None,
            shutdown_timeout=_STOP_GRACE_S,
        )
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()
        log.info("chart_started host=%s port=%d", self._host, self._port)

    async def stop(self) -> None:
        """End within a second, whoever is connected; stopping twice is fine."""
        runner, self._runner = self._runner, None
        thread, self._thread = self._thread, None
        await self._pages.close()
        if runner is not None:
            await runner.cleanup()
        if thread is not None:
            thread.shutdown(wait=False, cancel_futures=True)

    def _application(self) -> web.Application:
        names = LOOPBACK_NAMES if self._host == _LOOPBACK else (self._host,)
        rules = AccessRules.for_port(self._port, names)
        app = web.Application(
            middlewares=[access_middleware(rules)], client_max_size=_MAX_BODY_BYTES
        )
        app.on_response_prepare.append(add_security_headers)
        app.router.add_get("/", self._page)
        app.router.add_get("/data", self._data)
        app.router.add_get("/history", self._history)
        app.router.add_get("/live", self._live)
        app.router.add_post("/login", self._login)
        app.router.add_get("/static/{name:.+}", self._static)
        return app

    # --- routes -------------------------------------------------------------------------------

    async def _page(self, request: web.Request) -> web.Response:
        token = request.query.get("token")
        if token is None or self._sessions is None:
            return static_response(request, self._files["index.html"])
        session = self._sessions.open_link(token, monotonic_s())
        if session is None:
            log.warning("chart_link_refused")
        # In any case the token leaves the address, and with it the browser's history.
        response = web.Response(status=303, headers={hdrs.LOCATION: "/"})
        return response if session is None else self._let_in(response, session, "link")

    async def _static(self, request: web.Request) -> web.Response:
        file = self._files.get(request.match_info["name"])
        if file is None:
            return _failure(404, "there is no such file")
        return static_response(request, file)

    async def _data(self, request: web.Request) -> web.Response:
        since = request.query.get("since")

        def body(snapshot: ChartSnapshot) -> bytes:
            return self._encoder.body(snapshot, self._views.of(snapshot), since)

        return await self._answer(request, body, "application/json", charset="utf-8")

    async def _history(self, request: web.Request) -> web.Response:
        try:
            wanted = _history_request(request)
        except ValueError as error:
            return _failure(400, str(error))

        def body(snapshot: ChartSnapshot) -> bytes:
            trail = None if snapshot.script is None else snapshot.script.trail
            meta = meta_item(snapshot, MOST_ROWS)
            return history_body(self._views.of(snapshot), wanted, trail, meta)

        return await self._answer(request, body, "application/octet-stream")

    async def _live(self, request: web.Request) -> web.StreamResponse:
        if not self._is_let_in(request):
            return self._locked()
        return await self._pages.serve(request)

    async def _login(self, request: web.Request) -> web.Response:
        sessions = self._sessions
        if sessions is None or not sessions.has_password:
            return _failure(404, "there is no password here")
        if request.content_type != "application/json":
            return _failure(415, "only JSON is read here")
        try:
            found: Any = await request.json()
        except (ValueError, RecursionError):
            return _failure(400, "that is no JSON")
        password = found.get("password") if isinstance(found, dict) else None
        if not isinstance(password, str):
            return _failure(400, "a password is needed")
        now_s = monotonic_s()
        session = sessions.log_in(password, now_s)
        if session is None:
            wait_s = sessions.wait_s(now_s)
            log.warning("chart_login_refused wait_s=%.0f", wait_s)
            if not wait_s:
                return _failure(403, "that is not the password")
            refusal = _failure(429, f"too many wrong tries: wait {wait_s:.0f} s")
            refusal.headers[hdrs.RETRY_AFTER] = f"{wait_s:.0f}"
            return refusal
        return self._let_in(web.json_response({"ok": True}), session, "password")

    # --- who is let in ------------------------------------------------------------------------

    def _is_let_in(self, request: web.Request) -> bool:
        if self._sessions is None:
            return True
        cookie = request.cookies.get(self._cookie_name)
        return self._sessions.is_known(cookie, bearer_of(request), monotonic_s())

    @property
    def _cookie_name(self) -> str:
        # Cookies do not know ports: two servers of one computer must not share one.
        return f"milo_{self._port}"

    def _let_in(self, response: web.Response, session: str, how: str) -> web.Response:
        log.info("chart_session_opened by=%s", how)
        response.set_cookie(
            self._cookie_name, session,
            max_age=int(IDLE_S), httponly=True, samesite="Strict", path="/",
        )  # fmt: skip
        return response

    def _locked(self) -> web.Response:
        assert self._sessions is not None
        text = "open the link that Milo printed when it started"
        if self._sessions.has_password:
            text += ", or give the password"
        return web.json_response(
            {"error": text, "hasPassword": self._sessions.has_password}, status=401
        )

    # --- snapshots ----------------------------------------------------------------------------

    async def _answer(
        self,
        request: web.Request,
        body: Callable[[ChartSnapshot], bytes],
        content_type: str,
        charset: str | None = None,
    ) -> web.Response:
        """Make an answer of a snapshot, in the encoder's thread."""
        if not self._is_let_in(request):
            return self._locked()
        symbol = request.query.get("symbol") or None
        interval = request.query.get("interval") or None
        if max(len(symbol or ""), len(interval or "")) > _MAX_NAME:
            return _failure(404, "there is no such symbol or interval")
        try:
            async with asyncio.timeout(_SNAPSHOT_TIMEOUT_S):
                snapshot = await self._source.snapshot(symbol, interval)
        except ConfigError as error:
            return _failure(404, str(error))
        except TimeoutError:
            return _failure(503, "the engine is busy")
        except EngineError as error:
            return _failure(503, str(error))
        content = await self._in_thread(lambda: body(snapshot))
        return web.Response(body=content, content_type=content_type, charset=charset)

    async def _told(self, watch: Watch, feed: LiveFeed) -> bytes | None:
        """Return the next message of a page's feed; see `milo.web.pushing`."""
        async with asyncio.timeout(_SNAPSHOT_TIMEOUT_S):
            snapshot = await self._fresh(watch.symbol, watch.interval)
        now_ms = int(monotonic_s() * 1000)
        return await self._in_thread(
            lambda: feed.message(snapshot, self._views.of(snapshot), now_ms)
        )

    async def _fresh(self, symbol: str | None, interval: str | None) -> ChartSnapshot:
        now_s = monotonic_s()
        known = self._shared.get((symbol, interval))
        if known is not None and now_s - known[0] < _FRESH_S:
            return known[1]
        snapshot = await self._source.snapshot(symbol, interval)
        self._shared = {
            key: kept for key, kept in self._shared.items() if now_s - kept[0] < _FRESH_S
        }
        self._shared[symbol, interval] = (now_s, snapshot)
        return snapshot

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _history_request(request: web.Request) -> HistoryRequest:
    """Return what the query asks for; raises ValueError."""
    asked = {"end": "end", "count": "count", "overview": "buckets"}
    numbers = {}
    for name, member in asked.items():
        text = request.query.get(name)
        if text is not None:
            if not (text.isascii() and text.isdecimal() and len(text) <= 12):
                raise ValueError(f"{name} must be a whole number")
            numbers[member] = int(text)
    return HistoryRequest(**numbers)


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= _LAST_PORT:
        raise ConfigError(f"port {port} does not exist: choose 1 to {_LAST_PORT} with --port")
    try:
        return socket.create_server((host, port), backlog=128)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = f"port {port} is in use"
        elif error.errno == errno.EACCES:
            reason = f"port {port} needs more rights than this user has"
        else:
            reason = f"port {port} cannot be opened ({error.strerror})"
        message = f"cannot serve the chart: {reason}; choose another one with --port"
        raise ConfigError(message) from error


def _failure(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)
