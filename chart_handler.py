"""The web server of the chart: one page, its files and `GET /data`, for this computer only."""

from __future__ import annotations

import asyncio
import errno
import logging
import secrets
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from aiohttp import web

from milo.charts.series import SeriesEncoder
from milo.charts.snapshot import ChartSource
from milo.errors import ConfigError, EngineError
from milo.web.access import AccessRules, access_middleware, add_security_headers
from milo.web.static_files import StaticFile, load_static_files, static_response

log = logging.getLogger(__name__)

DEFAULT_PORT: Final = 8080
STATIC_FOLDER: Final = Path(__file__).resolve().parent / "static"
_LOOPBACK: Final = "127.0.0.1"
_SNAPSHOT_TIMEOUT_S = 5.0
# Requests under way get this long when the server stops, twice over: the library waits once for
# them and once more after it has cancelled them. Idle connections end at once.
_STOP_GRACE_S = 0.2
_MAX_BODY_BYTES = 256 * 1024
_MAX_NAME = 64
_LAST_PORT = 65_535


class ChartHandler:
    """Serves what a `ChartSource` knows; start it once, stop it once.

    It only reads. Overlays and JSON are computed in a thread of its own, so that a chart with
    many candles does not delay the loop that trades.
    """

    def __init__(
        self,
        source: ChartSource,
        *,
        host: str = _LOOPBACK,
        port: int = DEFAULT_PORT,
        static_folder: Path = STATIC_FOLDER,
    ) -> None:
        """Prepare a server on `port` (0: any free one); ConfigError unless `host` is loopback."""
        if host != _LOOPBACK:
            raise ConfigError(f"the chart is served on {_LOOPBACK} only, not on {host}")
        self._source = source
        self._host = host
        self._port = port
        self._static_folder = static_folder
        self._files: dict[str, StaticFile] = {}
        self._runner: web.AppRunner | None = None
        self._encoder = SeriesEncoder(secrets.token_hex(4))
        self._encoder_thread: ThreadPoolExecutor | None = None

    @property
    def port(self) -> int:
        """The port that the server listens on, known once it has started."""
        return self._port

    @property
    def url(self) -> str:
        """The address for people, such as `http://localhost:8080`."""
        return f"http://localhost:{self._port}"

    async def start(self) -> None:
        """Listen. Raises ConfigError where the port cannot be had or the files are missing."""
        self._files = dict(load_static_files(self._static_folder))
        listener = _listen(self._host, self._port)
        self._port = listener.getsockname()[1]
        self._encoder_thread = ThreadPoolExecutor(1, thread_name_prefix="chart-encoder")
        self._runner = web.AppRunner(
            self._application(),
            handle_signals=False,
            access_log=None,
            shutdown_timeout=_STOP_GRACE_S,
        )
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()
        log.info("chart_started url=%s", self.url)

    async def stop(self) -> None:
        """End within a second, whoever is connected; stopping twice is fine."""
        runner, self._runner = self._runner, None
        thread, self._encoder_thread = self._encoder_thread, None
        if runner is not None:
            await runner.cleanup()
        if thread is not None:
            thread.shutdown(wait=False, cancel_futures=True)

    def _application(self) -> web.Application:
        rules = AccessRules.for_port(self._port)
        app = web.Application(
            middlewares=[access_middleware(rules)], client_max_size=_MAX_BODY_BYTES
        )
        app.on_response_prepare.append(add_security_headers)
        app.router.add_get("/", self._page)
        app.router.add_get("/data", self._data)
        app.router.add_get("/static/{name:.+}", self._static)
        return app

    async def _page(self, request: web.Request) -> web.Response:
        return static_response(request, self._files["index.html"])

    async def _static(self, request: web.Request) -> web.Response:
        file = self._files.get(request.match_info["name"])
        if file is None:
            return _failure(404, "there is no such file")
        return static_response(request, file)

    async def _data(self, request: web.Request) -> web.Response:
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
        body = await asyncio.get_running_loop().run_in_executor(
            self._encoder_thread, self._encoder.body, snapshot, request.query.get("since")
        )
        return web.Response(body=body, content_type="application/json", charset="utf-8")


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
