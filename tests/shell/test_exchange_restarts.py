"""An exchange that a fault ends, and that comes back: address, account, schedule and ledger."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .commands import milo
from .exchange_client import market_file
from .exchange_process import DEADLINE_S, Process, running, start

FLAT = ("60000.0", "60000.0", "60000.0", "60000.0")
ENTRY = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.010"}
STOP = {"symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET", "algoType": "CONDITIONAL",
        "triggerPrice": "50000", "closePosition": "true"}  # fmt: skip


def arguments(folder: Path, *faults: dict[str, Any]) -> list[str]:
    schedule = folder / "schedule.json"
    schedule.write_text(
        json.dumps({"seed": 1, "faults": [{"id": n, **f} for n, f in enumerate(faults, 1)]})
    )
    return [
        "--market", str(market_file(folder, [FLAT] * 400)), "--symbol", "BTCUSDT",
        "--faults", str(schedule), "--ledger", str(folder / "ledger.jsonl"),
    ]  # fmt: skip


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]


def eventually(is_so: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline_s, f"never: {what}"
        time.sleep(0.01)  # another process: there is no event to wait for


def faults_of(folder: Path, at: str) -> list[int]:
    return [line["id"] for line in lines(folder) if line["kind"] == "fault" and line["at"] == at]


def test_a_restart_keeps_address_account_and_schedule(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    restart = {"name": "restart", "at_ms": 1_500, "down_ms": 300}
    spanning = {"name": "clock_skew", "at_ms": 1_000, "for_ms": 60_000, "skew_ms": 1}
    given = arguments(tmp_path, restart, spanning)
    with running(folder, *given, "--restart-on-fault") as process:
        process.signed("POST", "/fapi/v1/order", **ENTRY)
        process.signed("POST", "/fapi/v1/algoOrder", **STOP)
        before = process.status()
        eventually(lambda: faults_of(tmp_path, "begin") == [2, 1], "the restart begins")
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            process.status()
        held_address = json.loads((folder / "exchange.json").read_text())
        eventually(lambda: faults_of(tmp_path, "end") == [1], "the restart ends")
        after = process.status()
        positions = process.signed("GET", "/fapi/v3/positionRisk")
        algos = process.signed("GET", "/fapi/v1/openAlgoOrders")
        address = json.loads((folder / "exchange.json").read_text())
        code = process.end()

    assert code == 0
    assert not (folder / "exchange.json").exists()
    assert held_address == process.address
    assert address == process.address
    assert address["pid"] == process.popen.pid
    assert after["account"] == before["account"] == address["account"]
    assert after["clock"] >= before["clock"]
    assert [position["positionAmt"] for position in positions] == ["0.010"]
    assert len(algos) == 1
    starts = [line for line in lines(tmp_path) if line["kind"] == "start"]
    assert [line["account"] for line in starts] == [address["account"]] * 2
    assert starts[0]["pid"] != starts[1]["pid"]
    assert faults_of(tmp_path, "begin") == [2, 1]  # the one that spans the restart began once
    began, ended = [line for line in lines(tmp_path) if line["kind"] == "fault" and line["id"] == 1]
    assert {began["blocks"], ended["blocks"]} == {"all"}
    assert ended["t"] - began["t"] >= 300
    numbers = [line["n"] for line in lines(tmp_path) if line["kind"] == "request"]
    assert len(set(numbers)) == len(numbers)
    assert [line["kind"] for line in lines(tmp_path)].count("end") == 1


def test_what_was_left_of_an_order_in_pieces_fills_after_a_restart(tmp_path: Path) -> None:
    pieces = {"name": "partial_fill", "at_ms": 0, "for_ms": 60_000, "parts": 4, "pause_ms": 20_000}
    restart = {"name": "restart", "at_ms": 1_500, "down_ms": 10}
    given = arguments(tmp_path, pieces, restart)
    with running(tmp_path / "state", *given, "--restart-on-fault") as process:
        process.signed("POST", "/fapi/v1/order", **ENTRY)
        eventually(lambda: faults_of(tmp_path, "end") == [2], "the restart ends")
        (position,) = process.signed("GET", "/fapi/v3/positionRisk")
        process.end()

    assert position["positionAmt"] == "0.010"
    assert [line["qty"] for line in lines(tmp_path) if line["kind"] == "trade"] == [
        "0.002", "0.008",
    ]  # fmt: skip


def test_it_can_be_ended_while_it_is_down(tmp_path: Path) -> None:
    restart = {"name": "restart", "at_ms": 300, "down_ms": 60_000}
    given = arguments(tmp_path, restart)
    with running(tmp_path / "state", *given, "--restart-on-fault") as process:
        eventually(lambda: faults_of(tmp_path, "begin") == [1], "the restart begins")
        eventually(lambda: not _is_reachable(process), "it is down")

        assert process.end() == 0
        assert not (tmp_path / "state" / "exchange.json").exists()


def _is_reachable(process: Process) -> bool:
    with contextlib.suppress(urllib.error.URLError, ConnectionError):
        process.status()
        return True
    return False


def test_without_a_supervisor_it_ends_with_75_and_its_account_is_stored(tmp_path: Path) -> None:
    restart = {"name": "restart", "at_ms": 800}
    given = arguments(tmp_path, restart)
    with running(tmp_path / "state", *given) as process:
        process.signed("POST", "/fapi/v1/order", **ENTRY)
        code = process.popen.wait(DEADLINE_S)
    with running(tmp_path / "state", *given, "--resume") as process:
        (position,) = process.signed("GET", "/fapi/v3/positionRisk")

    assert code == 75
    assert position["positionAmt"] == "0.010"
    assert faults_of(tmp_path, "begin") == faults_of(tmp_path, "end") == [1]


def test_an_exchange_whose_supervisor_was_killed_ends(tmp_path: Path) -> None:
    given = arguments(tmp_path, {"name": "ws_duplicate", "at_ms": 60_000, "for_ms": 1})
    with running(tmp_path / "state", *given, "--restart-on-fault") as process:
        (child,) = [line["pid"] for line in lines(tmp_path) if line["kind"] == "start"]
        process.popen.send_signal(signal.SIGKILL)
        process.popen.wait(DEADLINE_S)
        eventually(lambda: not _is_alive(child), "the exchange ends")

    assert lines(tmp_path)[-1]["kind"] == "end"


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    return False


def test_a_new_account_has_another_name_and_an_old_one_keeps_its_own(tmp_path: Path) -> None:
    names = []
    for more in ([], [], ["--fresh"]):
        with running(tmp_path, "--speed", "max", *more) as process:
            names.append(process.status()["account"])
            assert process.address["account"] == names[-1]
            process.end()

    assert names[0] == names[1] != names[2]
    assert all(len(name) == 16 and int(name, 16) >= 0 for name in names)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--faults", "nothing-like-this"], "lossy"),
        (["--faults", "lossy", "--speed", "max"], "--speed X"),
        (["--ledger", "/proc/nothing/ledger"], "ledger"),
    ],
)
def test_what_cannot_be_is_one_clear_line(tmp_path: Path, more: list[str], text: str) -> None:
    process = start(tmp_path, *more)
    _, err = process.communicate(timeout=DEADLINE_S)

    assert process.returncode in (1, 2)
    assert text in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_run_outlives_a_restart_of_its_exchange(tmp_path: Path) -> None:
    given = arguments(tmp_path, {"name": "restart", "at_ms": 7_000, "down_ms": 2_000})
    script = tmp_path / "s.script"
    script.write_text('timeframe = "1m"\ncoin = "BTCUSDT"\ncondition_true = False\n')
    with running(tmp_path / "data" / "sim", *given, "--restart-on-fault", "--speed", "60"):
        done = milo(
            tmp_path, "--script", "s.script", "--loop", "--no-chart", "--seconds", "11",
            "--history", "20",
        )  # fmt: skip

    assert done.code == 0, done.err
    assert "connection lost" in done.err
    assert "0 open" in done.out
