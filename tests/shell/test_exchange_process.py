"""The embedded exchange as a process: start, stop, crash, lock, errors, memory of its account."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from milo.exchange.__main__ import main

from .exchange_client import START_MS, market_file
from .exchange_process import DEADLINE_S, PROJECT, Process, running, start

FLAT = ("60000.0", "60000.0", "60000.0", "60000.0")


def failed(folder: Path, *arguments: str) -> tuple[int, str]:
    process = start(folder, *arguments)
    _, err = process.communicate(timeout=DEADLINE_S)
    return process.returncode, err


def test_it_says_where_it_is_and_only_its_owner_can_read_the_keys(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "state"
    with running(folder, "--speed", "max") as process:
        line = process.popen.stdout.readline() if process.popen.stdout else ""
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
        status = process.status()
        code = process.end()
        address = process.address

    assert code == 0
    assert address["rest_url"] in line
    assert "simulated" in line
    assert address.keys() == {
        "pid", "port", "rest_url", "ws_url", "api_key", "api_secret", "control_token", "identity",
        "title", "speed", "base_interval", "account",
    }  # fmt: skip
    assert set(modes.values()) == {0o600}
    assert (status["speed"], status["identity"], status["finished"]) == ("max", "seed-1", False)
    assert not (folder / "exchange.json").exists()


def test_it_listens_on_loopback_only(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        listening = [
            line.split()[1]
            for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
            if line.split()[1].endswith(f":{process.address['port']:04X}")
            and line.split()[3] == "0A"
        ]

    assert listening == [f"0100007F:{process.address['port']:04X}"]


def test_the_control_routes_need_the_token(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        for method, path in (("GET", "/milo/status"), ("POST", "/milo/shutdown")):
            for token in (None, "wrong"):
                with pytest.raises(urllib.error.HTTPError, match="403"):
                    process.ask(method, path, token=token)
        process.ask("POST", "/milo/shutdown", token=process.address["control_token"])

        assert process.popen.wait(DEADLINE_S) == 0


def test_a_second_exchange_on_the_folder_is_refused(tmp_path: Path) -> None:
    with running(tmp_path):
        code, err = failed(tmp_path)

    assert (code, err.count("\n")) == (1, 1)
    assert "another embedded exchange" in err


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, err = failed(tmp_path, "--port", str(taken.getsockname()[1]))

    assert code == 1
    assert "cannot listen" in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--speed", "0"],
        ["--speed", "fast"],
        ["--port", "70000"],
        ["--balance-start", "-5"],
        ["--market", "x.csv"],
        ["--symbol", "BTCUSDT"],
        ["--resume", "--fresh"],
        ["--market", "missing.csv", "--symbol", "BTCUSDT"],
        ["--exchange-info", "missing.json"],
        ["--linger", "0"],
        ["--start", "5", "--speed", "60"],
    ],
)
def test_wrong_use_is_exit_code_2(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["--state-dir", str(tmp_path), *arguments])
    except SystemExit as end:  # argparse's own way out
        code = end.code if isinstance(end.code, int) else 1

    assert code == 2
    assert capsys.readouterr().err


def test_a_damaged_database_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "exchange.db").write_bytes(b"this is no database" * 100)

    code, err = failed(tmp_path)

    assert (code, err.count("\n")) == (1, 1)
    assert "exchange.db" in err


def test_a_folder_of_another_market_is_refused_unless_fresh(tmp_path: Path) -> None:
    with running(tmp_path, "--speed", "max") as process:
        process.end()
    code, err = failed(tmp_path, "--seed", "2")
    with running(tmp_path, "--seed", "2", "--fresh", "--speed", "max") as process:
        identity = process.status()["identity"]

    assert code == 1
    assert "another market" in err
    assert identity == "seed-2"


def _trade(process: Process) -> None:
    process.signed("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage="10")
    process.signed(
        "POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01"
    )
    price = float(process.ask("GET", "/fapi/v1/ticker/price?symbol=BTCUSDT")["price"])
    process.signed(
        "POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="LIMIT", timeInForce="GTC",
        quantity="0.01", price=f"{price * 0.97:.1f}", newClientOrderId="resting",
    )  # fmt: skip
    process.signed(
        "POST", "/fapi/v1/algoOrder", algoType="CONDITIONAL", symbol="BTCUSDT", side="SELL",
        type="STOP_MARKET", triggerPrice=f"{price * 0.95:.1f}", closePosition="true",
        clientAlgoId="stop",
    )  # fmt: skip


def _account(process: Process) -> list[Any]:
    paths = ("/fapi/v3/account", "/fapi/v3/positionRisk", "/fapi/v1/openOrders",
             "/fapi/v1/openAlgoOrders", "/fapi/v1/symbolConfig", "/fapi/v1/income")  # fmt: skip
    answers = [process.signed("GET", path) for path in paths]
    for asset in answers[0]["assets"]:
        asset.pop("updateTime")
    return [*answers, process.signed("GET", "/fapi/v1/userTrades", symbol="BTCUSDT")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_account_survives_any_end(tmp_path: Path, number: int) -> None:
    with running(tmp_path, "--speed", "max") as process:
        _trade(process)
        before, keys = _account(process), process.address["api_key"]
        code = process.end(number)
    with running(tmp_path, "--speed", "max") as process:
        after = _account(process)

    assert code == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    assert after == before
    assert process.address["api_key"] == keys


def test_a_fresh_start_forgets_the_account_and_keeps_the_keys(tmp_path: Path) -> None:
    with running(tmp_path, "--speed", "max") as process:
        _trade(process)
        process.end()
        keys = process.address["api_key"]
    with running(tmp_path, "--speed", "max", "--fresh", "--balance-start", "500") as process:
        account = process.signed("GET", "/fapi/v3/account")

    assert (account["totalWalletBalance"], account["positions"]) == ("500.00000000", [])
    assert process.address["api_key"] == keys


def test_a_recording_starts_afresh_unless_resumed(tmp_path: Path) -> None:
    file = market_file(tmp_path, [FLAT] * 50)
    market = ("--market", str(file), "--symbol", "BTCUSDT", "--speed", "max")
    folder = tmp_path / "state"
    with running(folder, *market) as process:
        process.signed(
            "POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01"
        )
        start_ms = process.status()["clock"]
        process.end()
    with running(folder, *market, "--resume") as process:
        resumed = process.signed("GET", "/fapi/v3/positionRisk")
        process.end()
    with running(folder, *market) as process:
        fresh = process.signed("GET", "/fapi/v3/positionRisk")

    assert start_ms == START_MS + 10 * 60_000
    assert [position["positionAmt"] for position in resumed] == ["0.010"]
    assert fresh == []


def test_on_the_wall_clock_it_shows_the_time_of_day_and_catches_up(tmp_path: Path) -> None:
    with running(tmp_path, "--wall-clock") as process:
        shown = process.ask("GET", "/fapi/v1/time")["serverTime"]
        wall = time.time() * 1000
        _trade(process)
        process.end()
    with running(tmp_path, "--wall-clock") as process:
        again = process.ask("GET", "/fapi/v1/time")["serverTime"]
        wall_again = time.time() * 1000
        held = process.signed("GET", "/fapi/v3/positionRisk")

    assert abs(shown - wall) < 1_000
    assert abs(again - wall_again) < 1_000
    assert len(held) == 1


def test_other_speeds_go_on_from_the_clock_that_was_reached(tmp_path: Path) -> None:
    with running(tmp_path, "--speed", "100000") as process:
        reached = process.ask("GET", "/fapi/v1/time")["serverTime"]
        process.end()
    with running(tmp_path, "--speed", "max") as process:
        resumed = process.status()["clock"]

    assert reached > START_MS
    assert resumed >= reached


def test_it_plays_no_faster_than_its_speed(tmp_path: Path) -> None:
    with running(tmp_path, "--speed", "1000") as process:
        first, t0 = process.ask("GET", "/fapi/v1/time")["serverTime"], time.monotonic()
        time.sleep(0.3)  # the passing of wall time is what is measured
        second, t1 = process.ask("GET", "/fapi/v1/time")["serverTime"], time.monotonic()

    assert 0.25 * 1_000_000 < second - first < (t1 - t0 + 0.2) * 1_000_000


def test_nobody_there_for_the_linger_time_ends_it(tmp_path: Path) -> None:
    with running(tmp_path, "--linger", "0.3") as process:
        assert process.popen.wait(DEADLINE_S) == 0
        assert not (tmp_path / "exchange.json").exists()


def test_an_open_websocket_keeps_it_alive_beyond_the_linger_time(tmp_path: Path) -> None:
    with running(tmp_path, "--linger", "0.2") as process:
        port = process.address["port"]
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(
                b"GET /market/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            assert client.recv(12) == b"HTTP/1.1 101"
            with pytest.raises(subprocess.TimeoutExpired):
                process.popen.wait(1.0)

        assert process.popen.wait(DEADLINE_S) == 0


def test_help_is_quick(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPROFILEIMPORTTIME": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "milo.exchange", "--help"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )

    assert "numpy" not in done.stderr
    assert "aiohttp" not in done.stderr
