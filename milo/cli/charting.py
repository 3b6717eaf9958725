"""The chart's server around a command: where it listens, who is let in, the browser."""

from __future__ import annotations

import asyncio
import contextlib
import webbrowser
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from milo.cli.context import App
from milo.config import has_display
from milo.errors import ConfigError, StoreError
from milo.store.files import make_private_folder, write_atomically

if TYPE_CHECKING:
    from milo.charts.snapshot import ChartSource

CHART_PORT: Final = 8080
LOOPBACK: Final = "127.0.0.1"
TOKEN_FILE: Final = "chart-token"  # noqa: S105 - a file's name
MIN_PASSWORD: Final = 12


def check_listening(app: App) -> None:
    """Raise ConfigError where --listen would show a live account to others."""
    config = app.config
    if config.listen is not None and config.live and not config.i_know:
        raise ConfigError(
            "--listen with --live shows a live account beyond this computer, unencrypted; "
            "give --i-know as well if that is what you want"
        )


@contextlib.asynccontextmanager
async def serving_chart(
    app: App, source: ChartSource, *, folder: Path, is_public: bool
) -> AsyncIterator[str]:
    """Serve a chart meanwhile, and yield its address; opens a browser on a desktop.

    `is_public`: whoever uses this computer may see it without the printed link. In `folder` the
    token for programs is written.
    """
    from milo.web.sessions import Sessions

    config = app.config
    host = LOOPBACK if config.listen is None else config.listen
    sessions = None
    if config.listen is not None:
        app.console.warn(
            f"the chart listens on {host}: whoever reaches that address and knows the password "
            "sees it, and whoever is on the way sees all of it, for it is not encrypted"
        )
        sessions = Sessions(password=_asked_password(app))
    elif not is_public:
        sessions = Sessions()
    port = CHART_PORT if config.port is None else config.port
    chart = app.make.chart(source, host=host, port=port, sessions=sessions)
    await chart.start()
    token = folder / TOKEN_FILE
    try:
        if sessions is not None:
            await asyncio.to_thread(_write_token, token, sessions.bearer)
        # Printed before it is opened: the link is for one use, and a browser may be the first.
        url = chart.url
        if not config.no_browser and has_display():
            await asyncio.to_thread(webbrowser.open, url)
        yield url
    finally:
        await chart.stop()
        if sessions is not None:
            token.unlink(missing_ok=True)


def _asked_password(app: App) -> str:
    password = app.console.ask_secret("Password of the chart: ")
    text = password.text()
    password.forget()
    if len(text) < MIN_PASSWORD:
        raise ConfigError(f"the chart's password needs {MIN_PASSWORD} characters or more")
    return text


def _write_token(path: Path, bearer: str) -> None:
    try:
        make_private_folder(path.parent)
        write_atomically(path, bearer.encode(), mode=0o600)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error
