"""`--sweep` as a command: real processes, results that are those of plain backtests."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.shell.commands import command_line, environment, milo

SCRIPT = """
timeframe = "1h"
coin = "BTCUSDT"
fast = param("fast", 5, 2, 30)
stop = param("stop", 2.0, 0.5, 10.0)
average = await calculate_sma(data, fast)
condition_true = data[-1].close > average[-1] and data[-2].close <= average[-2]
action_if_true = long(risk=1, leverage=5, sl=f"{stop}%", rr=2)
"""
FAILING = SCRIPT.replace("condition_true =", "limit = 1 / (fast - 4)\ncondition_true =")
ACCOUNT = SCRIPT.replace(
    "condition_true =", "rich = available_balance > 10\ncondition_true = rich and"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    chance = random.Random(1)
    price, rows = 30_000.0, ["open_time,open,high,low,close,volume"]
    for hour in range(1_500):
        opened = price
        price *= 1 + chance.uniform(-0.01, 0.01) + 0.004 * math.sin(hour / 9)
        high, low = max(opened, price) * 1.003, min(opened, price) * 0.997
        values = ",".join(f"{value:.1f}" for value in (opened, high, low, price, 5))
        rows.append(f"{1_704_067_200_000 + hour * 3_600_000},{values}")
    file = tmp_path / "candles.csv"
    file.write_text("\n".join(rows))
    done = milo(tmp_path, "--import-klines", str(file), "--symbol", "BTCUSDT", "--interval", "1h")
    assert done.code == 0, done.err
    (tmp_path / "s.script").write_text(SCRIPT)
    return tmp_path


def swept(folder: Path, ranges: str, *more: str, script: str = "s.script") -> dict[str, Any]:
    result = milo(
        folder, "--backtest", "--script", script, "--sweep", ranges, "--json", "o.json", *more
    )
    assert result.code == 0, result.err
    found: dict[str, Any] = json.loads((folder / "o.json").read_text())
    return found


def plain(folder: Path, *more: str) -> dict[str, Any]:
    result = milo(folder, "--backtest", "--script", "s.script", "--json", "p.json", *more)
    assert result.code == 0, result.err
    found: dict[str, Any] = json.loads((folder / "p.json").read_text())
    return found


def test_each_combination_earns_what_a_plain_backtest_of_it_does(folder: Path) -> None:
    found = swept(folder, "fast=4|9,stop=1.5|3", "--slippage", "0.02", "--walk-forward", "2")
    window = found["out_of_sample"]["windows"][0]

    assert (found["done"], found["is_complete"]) == (4, True)
    for row in found["rows"]:
        flags = [f"--set={name}={value}" for name, value in row["inputs"].items()]
        stats = plain(folder, *flags, "--slippage", "0.02")["stats"]
        assert row["in_sample"]["total_return"] == pytest.approx(stats["return"], abs=1e-12)
        assert row["in_sample"]["trades"] == stats["trades"]["count"]
    start, end = window["test_ms"]
    flags = [f"--set={name}={value}" for name, value in window["inputs"].items()]
    stats = plain(
        folder, *flags, "--slippage", "0.02", "--timerange", f"{stamp(start)}-{stamp(end + 1)}"
    )["stats"]
    assert window["out_of_sample"]["total_return"] == pytest.approx(stats["return"], abs=1e-12)


def stamp(ms: int) -> str:
    return time.strftime("%Y%m%dT%H%M", time.gmtime((ms + 59_999) // 60_000 * 60))


def test_any_number_of_processes_finds_the_same_and_a_second_run_does_nothing(folder: Path) -> None:
    one = swept(folder, "fast=3:11:4", "--jobs", "1", "--html", "o.html")
    again = milo(folder, "--backtest", "--script", "s.script", "--sweep", "fast=3:11:4")
    (kept,) = (folder / "data" / "sweeps").iterdir()
    lines = kept.read_text().splitlines()
    # A line that was cut by a crash is done again.
    kept.write_text("\n".join([*lines[:1], lines[1][:50]]) + "\n")
    three = swept(folder, "fast=3:11:4", "--jobs", "3")

    assert "3 combinations done before" in again.out
    assert "Out of sample" in (folder / "o.html").read_text()
    assert len(lines) == 3
    for name in ("rows", "out_of_sample", "luck"):
        assert one[name] == three[name]


def test_scripts_that_fail_are_rows_and_scripts_that_read_the_account_work(folder: Path) -> None:
    (folder / "f.script").write_text(FAILING)
    (folder / "a.script").write_text(ACCOUNT)

    failed = swept(folder, "fast=4|5", script="f.script")
    account = swept(folder, "fast=6", "--walk-forward", "0", script="a.script")
    same = swept(folder, "fast=6", "--walk-forward", "0")

    rows = {row["inputs"]["fast"]: row for row in failed["rows"]}
    assert "division by zero" in rows[4]["first_failure"]
    assert (rows[4]["is_halted"], rows[4]["in_sample"]["trades"]) == (True, 0)
    assert rows[5]["failures"] == 0
    assert account["rows"][0]["in_sample"] == same["rows"][0]["in_sample"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--sweep", "slow=1"], "no input 'slow'"),
        (["--sweep", "fast=2:30:1,stop=0.5:10:0.001"], "--trials"),
        (["--sweep", "fast=5", "--walk-forward", "50", "--timerange", "-20240102"], "too few"),
    ],
)  # fmt: skip
def test_sweeps_that_cannot_be_are_told(folder: Path, arguments: list[str], reason: str) -> None:
    result = milo(folder, "--backtest", "--script", "s.script", *arguments)

    assert result.code == 2
    assert reason in result.err


def running(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command_line(folder, "--backtest", "--script", "s.script", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        cwd=folder,
    )


def until(ready: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        found = ready()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def rows_kept(folder: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in folder.glob("data/sweeps/*"))


def jobs_of(process: subprocess.Popen[str]) -> list[int]:
    found = []
    for child in children_of(process.pid):
        with open(f"/proc/{child}/cmdline", "rb") as file:
            if b"--sweep-job" in file.read():
                found.append(child)
    return found


def test_a_process_that_is_killed_is_replaced(folder: Path) -> None:
    process = running(folder, "--sweep", "fast=2:30:1", "--jobs", "1", "--json", "o.json")
    until(lambda: rows_kept(folder) >= 2)
    killed = until(lambda: jobs_of(process))
    os.kill(killed[0], signal.SIGKILL)
    _, err = process.communicate(timeout=120)

    assert process.returncode == 0, err
    found = json.loads((folder / "o.json").read_text())
    assert (found["done"], [row["error"] for row in found["rows"] if row["error"]]) == (29, [])


def test_ctrl_c_keeps_and_shows_what_is_done(folder: Path) -> None:
    process = running(folder, "--sweep", "--jobs", "1")
    until(lambda: rows_kept(folder) >= 2)
    jobs = jobs_of(process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)

    kept = rows_kept(folder)
    assert process.returncode == 130
    assert f"{kept} of 30 combinations" in out
    assert "OUT OF SAMPLE" in out
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in jobs))


def test_jobs_end_by_themselves_in_the_midst_of_work_if_the_sweep_is_killed(folder: Path) -> None:
    # A combination takes some ten seconds.
    (folder / "s.script").write_text(ACCOUNT + "slow = sum(range(150_000))\n")
    process = running(folder, "--sweep", "fast=2:30:1", "--jobs", "1")
    jobs = until(lambda: jobs_of(process))
    workers = until(lambda: [pid for pid in children_of(jobs[0]) if processor_s(pid) > 1.0])
    process.kill()
    process.communicate(timeout=60)

    assert rows_kept(folder) == 0
    until(lambda: not any(is_running(pid) for pid in [*jobs, *workers]), timeout_s=5.0)


def children_of(pid: int) -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def processor_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
