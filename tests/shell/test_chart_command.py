"""`--chart` and `--listen` as commands: stored candles on the real server, and who sees them."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shell.commands import command_line, environment, milo

HEADER = "open_time,open,high,low,close,volume\n"
ELSEWHERE = "127.0.0.5"
"""An address of this computer that stands for one of its network."""
PASSWORD = "a long password"


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A folder with candles of two symbols."""
    for symbol, interval, step_ms, count in (
        ("BTCUSDT", "1h", 3_600_000, 300),
        ("BTCUSDT", "4h", 14_400_000, 40),
        ("PEPEUSDT", "1m", 60_000, 50),
    ):
        price = 30_000.0 if symbol == "BTCUSDT" else 0.00001234
        rows = "".join(
            f"{1_767_225_600_000 + i * step_ms},{price},{price * 1.01:.8f},{price * 0.99:.8f},"
            f"{price},5\n"
            for i in range(count)
        )
        file = tmp_path / f"{symbol}-{interval}.csv"
        file.write_text(HEADER + rows)
        done = milo(
            tmp_path, "--import-klines", str(file), "--symbol", symbol, "--interval", interval
        )
        assert done.code == 0, done.err
    return tmp_path


@contextlib.contextmanager
def running(folder: Path, *arguments: str, text: str = "") -> Iterator[str]:
    """Run `--chart` and yield the address that it prints."""
    process = subprocess.Popen(
        command_line(folder, "--chart", "--port", "0", "--no-browser", *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment({"PYTHONUNBUFFERED": "1"}),
        cwd=folder,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(text)
        process.stdin.flush()
        for line in process.stdout:
            found = re.search(r"chart: (http://\S+)", line)
            if found:
                yield found[1]
                break
        else:
            raise AssertionError(process.communicate()[1])
    finally:
        process.terminate()
        process.communicate(timeout=20)


def status_of(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers),
            timeout=10,
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def header_of(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        body = answer.read()
    header: dict[str, object] = json.loads(body[4 : 4 + int.from_bytes(body[:4], "little")])
    return header


def test_stored_candles_are_shown_without_a_run(stored: Path) -> None:
    with running(stored) as url:
        assert header_of(f"{url}/history")["total"] == 300
        with urllib.request.urlopen(f"{url}/data?symbol=PEPEUSDT", timeout=10) as answer:
            meta = json.loads(answer.read())["meta"]
        assert header_of(f"{url}/history?interval=4h")["total"] == 40
        for wrong in ("symbol=NOPE", "interval=7m", "interval=5m"):
            assert status_of(f"{url}/history?{wrong}") == 404

    assert meta["symbols"] == ["BTCUSDT", "PEPEUSDT"]
    assert (meta["interval"], meta["intervals"]) == ("1m", ["1m"])
    assert meta["priceDecimals"] >= 8
    assert (meta["state"], meta["isSimulated"]) == ("viewing", False)


def test_nothing_stored_says_how_to_store_some(tmp_path: Path) -> None:
    result = milo(tmp_path, "--chart", "--port", "0")

    assert result.code == 2
    assert "--import-klines" in result.err


def test_another_address_is_behind_the_password(stored: Path) -> None:
    with running(stored, "--listen", ELSEWHERE, text=f"{PASSWORD}\n") as url:
        assert url.startswith(f"http://{ELSEWHERE}:")
        base = url.split("/?")[0]
        token = (stored / "data" / "chart-token").read_text()
        assert (stored / "data" / "chart-token").stat().st_mode & 0o777 == 0o600

        assert status_of(f"{base}/data") == 401
        assert status_of(f"{base}/data", Authorization=f"Bearer {token}") == 200
        assert status_of(f"{base}/data", Host="localhost") == 421

    assert not (stored / "data" / "chart-token").exists()


def test_short_password_is_refused(stored: Path) -> None:
    result = milo(stored, "--chart", "--listen", ELSEWHERE, text="short\n")

    assert result.code == 2
    assert "12 characters" in result.err


def test_live_account_on_another_address_needs_to_be_meant(stored: Path) -> None:
    result = milo(stored, "--chart", "--live", "--listen", ELSEWHERE)

    assert result.code == 2
    assert "--i-know" in result.err
