"""The embedded exchange as a process: find it, start it, ask it, end it.

It is always a process of its own and outlives a crash of the engine; it writes its address and keys
to `exchange.json` in its state folder, readable by its owner only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp

from milo.clock import monotonic_s
from milo.config import child_environment
from milo.errors import ConfigError, EngineError

ADDRESS_FILE = "exchange.json"
LOG_FILE = "exchange.log"
TOKEN_HEADER = "X-Milo-Token"  # noqa: S105 - a header's name
START_TIMEOUT_S = 60.0
"""Generous: a large market file is read first."""
LINGER_S = 60.0
"""An exchange that a command started ends this long after its last client is gone."""
_POLL_S = 0.02
_END_TIMEOUT_S = 10.0
_PROJECT = Path(__file__).resolve().parents[2]
_REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What `exchange.json` says of a running exchange."""

    pid: int
    rest_url: str
    ws_url: str
    api_key: str
    api_secret: str
    control_token: str
    identity: str
    title: str
    speed: str
    """A number, or `max`."""
    base_interval: str
    account: str
    """Random, made with the account."""

    def __repr__(self) -> str:
        return f"Address(pid={self.pid}, rest_url={self.rest_url!r})"


class EmbeddedExchange:
    """A running embedded exchange, and whether this process started it."""

    def __init__(self, address: Address, process: asyncio.subprocess.Process | None) -> None:
        self.address = address
        self._process = process

    async def wait(self) -> int:
        """Wait until the process that this one started has ended; return its exit code."""
        assert self._process is not None
        return await self._process.wait()

    async def status(self) -> dict[str, Any]:
        """Return clock, speed, title, symbols, finished and the rest of /milo/status."""
        return await _request(self.address, "GET", "/milo/status")

    async def stop(self) -> None:
        """End the exchange that this process started; it saves its state first."""
        if self._process is None or self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def shut_down(self, state_dir: Path) -> None:
        """Ask an exchange that nobody runs any more to save its state and end; wait for that."""
        await _request(self.address, "POST", "/milo/shutdown")
        async with asyncio.timeout(_END_TIMEOUT_S):
            while await attach(state_dir) is not None:  # noqa: ASYNC110 - another process
                await asyncio.sleep(_POLL_S)

    @contextlib.asynccontextmanager
    async def control(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open the control socket on which a stepped exchange is told that the engine is idle."""
        url = self.address.rest_url + "/milo/control"
        headers = {TOKEN_HEADER: self.address.control_token}
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, headers=headers, max_msg_size=1 << 20) as socket,
        ):
            yield socket


async def attach(state_dir: Path) -> EmbeddedExchange | None:
    """Return the exchange that runs on this folder, or None."""
    address = _read_address(state_dir)
    if address is None:
        return None
    try:
        await _request(address, "GET", "/milo/status")
    except EngineError:
        return None
    return EmbeddedExchange(address, None)


async def launch(state_dir: Path, arguments: Sequence[str]) -> EmbeddedExchange:
    """Start an exchange on this folder and wait until it answers.

    Raises ConfigError or EngineError with the process's own last line where it does not start.
    """
    with _log_file(state_dir) as log_file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "milo.exchange",
            "--state-dir",
            str(state_dir),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            # A file, not a pipe: the exchange outlives a crash of ours.
            stderr=log_file,
            cwd=_PROJECT,
            env=child_environment(),
            # Ctrl-C in the terminal is for the engine; it ends the exchange itself, in order.
            start_new_session=True,
        )
    try:
        address = await _wait_for_address(state_dir, process)
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    return EmbeddedExchange(address, process)


async def _wait_for_address(state_dir: Path, process: asyncio.subprocess.Process) -> Address:
    deadline_s = monotonic_s() + START_TIMEOUT_S
    while monotonic_s() < deadline_s:
        if process.returncode is not None:
            _raise_start_failure(state_dir, process.returncode)
        address = _read_address(state_dir)
        if address is not None and address.pid == process.pid:
            return address
        await asyncio.sleep(_POLL_S)
    raise EngineError(f"the embedded exchange did not start within {START_TIMEOUT_S:g} s")


def _raise_start_failure(state_dir: Path, exit_code: int) -> None:
    text = (state_dir / LOG_FILE).read_text(encoding="utf-8", errors="replace").strip()
    line = text.splitlines()[-1] if text else f"exit code {exit_code}, no message"
    line = line.removeprefix("milo.exchange: ")
    kind = ConfigError if exit_code == ConfigError.exit_code else EngineError
    raise kind(line)


def _log_file(state_dir: Path) -> BinaryIO:
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        return (state_dir / LOG_FILE).open("wb")
    except OSError as error:
        raise ConfigError(f"cannot write to {state_dir}: {error.strerror}") from None


def _read_address(state_dir: Path) -> Address | None:
    try:
        raw = json.loads((state_dir / ADDRESS_FILE).read_text(encoding="utf-8"))
        return Address(
            pid=int(raw["pid"]),
            rest_url=raw["rest_url"],
            ws_url=raw["ws_url"],
            api_key=raw["api_key"],
            api_secret=raw["api_secret"],
            control_token=raw["control_token"],
            identity=raw["identity"],
            title=raw["title"],
            speed=str(raw["speed"]),
            base_interval=raw["base_interval"],
            account=raw["account"],
        )
    except (OSError, ValueError, KeyError):
        # Absent, or left half-written by a crash: nobody can be reached through it.
        return None


async def _request(address: Address, method: str, path: str) -> dict[str, Any]:
    headers = {TOKEN_HEADER: address.control_token}
    try:
        async with (
            aiohttp.ClientSession(timeout=_REQUEST_TIMEOUT) as session,
            session.request(method, address.rest_url + path, headers=headers) as answer,
        ):
            if answer.status != 200:
                raise EngineError(f"the embedded exchange answered {answer.status}")
            content: dict[str, Any] = await answer.json()
            return content
    except (aiohttp.ClientError, TimeoutError) as error:
        raise EngineError(f"the embedded exchange does not answer: {error}") from error
