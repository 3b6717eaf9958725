"""The embedded exchange as a process of its own, for tests."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

PROJECT = Path(__file__).resolve().parents[2]
DEADLINE_S = 30


class Process:
    """A running exchange and what its address file says."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.popen = start(folder, *arguments)
        self.address = self._wait_for_address()

    def _wait_for_address(self) -> dict[str, Any]:
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline and self.popen.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                address: dict[str, Any] = json.loads((self.folder / "exchange.json").read_text())
                if address["pid"] == self.popen.pid:
                    return address
            time.sleep(0.01)  # another process's file: there is no event to wait for
        self.popen.kill()
        raise AssertionError(self.popen.communicate()[1])

    def ask(self, method: str, path: str, *, token: str | None = None) -> Any:
        request = urllib.request.Request(self.address["rest_url"] + path, method=method)
        if token is not None:
            request.add_header("X-Milo-Token", token)
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return json.load(answer)

    def signed(self, method: str, path: str, **params: str) -> Any:
        now = self.ask("GET", "/fapi/v1/time")["serverTime"]
        payload = urlencode(params | {"timestamp": str(now)})
        secret = self.address["api_secret"].encode()
        signature = hmac.new(secret, payload.encode(), hashlib.sha256).hexdigest()
        url = f"{self.address['rest_url']}{path}?{payload}&signature={signature}"
        request = urllib.request.Request(url, method=method)
        request.add_header("X-MBX-APIKEY", self.address["api_key"])
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return json.load(answer)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.popen.send_signal(number)
        return self.popen.wait(DEADLINE_S)

    def status(self) -> Any:
        return self.ask("GET", "/milo/status", token=self.address["control_token"])


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "milo.exchange", "--state-dir", str(folder), *arguments],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Process]:
    process = Process(folder, *arguments)
    try:
        yield process
    finally:
        if process.popen.poll() is None:
            process.popen.kill()
        process.popen.communicate()
